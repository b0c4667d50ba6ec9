// Uses of the official OpenAI Node SDK. `node scenarios.mjs NAME URL KEY` prints what one saw.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";

const CHAT = "/v1/chat/completions";
const RESPONSES = "/v1/responses";
const SCHEMA = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city"],
};

const user = (content) => [{ role: "user", content }];

function chatExchange(usage, finish, more = {}) {
  const { prompt_tokens: prompt, completion_tokens: completion, total_tokens: total } = usage;
  return { path: CHAT, prompt, completion, total, finish, ...more };
}

function responsesExchange(response, more = {}) {
  const { input_tokens: prompt, output_tokens: completion, total_tokens: total } = response.usage;
  return { path: RESPONSES, prompt, completion, total, finish: response.status, ...more };
}

const streamed = { stream: true, stream_done: true };

const scenarios = {
  async chat(client) {
    const answer = await client.chat.completions.create({ model: "mock", messages: user("hello there") });
    assert.equal(answer.choices[0].message.content, "You said: hello there");
    return { result: answer, exchanges: [chatExchange(answer.usage, "stop")] };
  },

  async chatStreamed(client) {
    const stream = await client.chat.completions.create({
      model: "mock",
      messages: user("hello there"),
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
    assert.equal(text, "You said: hello there");
    return { result: chunks, exchanges: [chatExchange(chunks.at(-1).usage, "stop", streamed)] };
  },

  async chatToolStreamed(client) {
    const stream = client.chat.completions.stream({
      model: "mock",
      messages: user("use get_weather"),
      tools: [{ type: "function", function: { name: "get_weather", parameters: SCHEMA } }],
      stream_options: { include_usage: true },
    });
    const answer = await stream.finalChatCompletion();
    const { function: called } = answer.choices[0].message.tool_calls[0];
    assert.deepEqual(JSON.parse(called.arguments), { city: "mock", days: 1 });
    const usage = await stream.totalUsage();
    return { result: answer, exchanges: [chatExchange(usage, "tool_calls", streamed)] };
  },

  async responses(client) {
    const first = await client.responses.create({ model: "mock", input: "hello" });
    const second = await client.responses.create({ model: "mock", input: "more", previous_response_id: first.id });
    assert.equal(second.output_text, "You said: more [turn 2]");
    return { result: [first, second], exchanges: [responsesExchange(first), responsesExchange(second)] };
  },

  async responsesStreamed(client) {
    const stream = await client.responses.create({ model: "mock", input: user("hello there"), stream: true });
    const events = [];
    for await (const event of stream) events.push(event);
    const { response } = events.at(-1);
    assert.equal(response.output[0].content[0].text, "You said: hello there");
    return { result: events, exchanges: [responsesExchange(response, streamed)] };
  },

  async responsesSocket(client) {
    const socket = new ResponsesWS(client);
    const turns = [];
    const ask = (input) =>
      socket.send({ type: "response.create", model: "mock", input, previous_response_id: turns.at(-1)?.id });
    await new Promise((resolve, reject) => {
      socket.on("error", reject);
      socket.on("response.completed", (event) => {
        turns.push(event.response);
        if (turns.length === 2) resolve();
        else ask("second turn");
      });
      ask("first turn");
    });
    socket.close();
    assert.equal(turns[1].output[0].content[0].text, "You said: second turn [turn 2]");
    const turn = { method: "GET", is_turn: true };
    return { result: turns, exchanges: turns.map((response) => responsesExchange(response, turn)) };
  },
};

const [name, url, key] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
process.stdout.write(JSON.stringify(await scenarios[name](client)));
