// The official OpenAI Node SDK behind mutators: `node mutators.mjs NAME URL KEY CODING TEXT` prints what the answer says.

import assert from "node:assert/strict";
import OpenAI from "openai";

const speakers = {
  async chat(client, messages) {
    const answer = await client.chat.completions.create({ model: "mock", messages });
    return answer.choices[0].message.content;
  },

  async chatStreamed(client, messages) {
    const stream = client.chat.completions.stream({ model: "mock", messages });
    let text = "";
    stream.on("content", (delta) => (text += delta));
    assert.equal(await stream.finalContent(), text);
    return text;
  },

  async responses(client, input) {
    const answer = await client.responses.create({ model: "mock", input });
    return answer.output_text;
  },

  async responsesStreamed(client, input) {
    const stream = client.responses.stream({ model: "mock", input });
    let text = "";
    stream.on("response.output_text.delta", (event) => (text += event.delta));
    const answer = await stream.finalResponse();
    assert.equal(answer.output_text, text);
    return text;
  },
};

const [name, url, key, coding, text] = process.argv.slice(2);
const client = new OpenAI({
  baseURL: `${url}/v1`,
  apiKey: key,
  maxRetries: 0,
  defaultHeaders: { "x-mock-encoding": coding },
});
process.stdout.write(JSON.stringify(await speakers[name](client, [{ role: "user", content: text }])));
