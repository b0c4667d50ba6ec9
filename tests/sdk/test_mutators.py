"""Official SDKs take what mutators make of answers, streamed or not, for what it is."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

import record
import stack as stacks
from expect import WEATHER_ARGUMENTS, WEATHER_SCHEMA

ASKED = "hello codename"
# The code name is gone before the gateway sees it; what the gateway says back is rewritten across its words; no rule
# touches the arguments of tools, in which `mock` stands.
HEARD = "I heard: hi [x] (fin)"
INSTANCES = [
    {
        "type": "text-replace",
        "id": "names",
        "enabled": True,
        "config": {
            "up": [{"match": "codename", "replace": "[x]"}],
            "down": [
                {"match": "You said: hello", "replace": "I heard: hi"},
                {"match": "mock", "replace": "tampered"},
            ],
        },
    },
    {"type": "text-append", "id": "foot", "enabled": True, "config": {"down": {"suffix": " (fin)"}}},
]
CODINGS = ["identity", "gzip", "br", "zstd"]


@pytest.fixture(scope="module")
def mutating(stack):
    """A recorder of its own that rewrites, in front of the same gateway."""
    if stack.mock is None:
        pytest.skip("this recorder is not ours to configure")
    folder = Path(tempfile.mkdtemp(prefix="api-log-sdk-mutators-"))
    found = stacks.Stack(direct=stack.direct, data_dir=folder / "data", log=folder / "recorder.log")
    found.data_dir.mkdir(mode=0o700)
    overrides = {"plugins": {"instances": INSTANCES}}
    (found.data_dir / "runtime_overrides.json").write_text(json.dumps(overrides))
    stacks._start_recorder(found, os.environ.get("APILOG_BINARY", str(stacks.ROOT / "target/debug/api-log")))
    yield found
    found.stop()


def openai_client(url: str, key: str, coding: str) -> openai.OpenAI:
    wish = {"x-mock-encoding": coding}
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, default_headers=wish)


def messages() -> list[dict]:
    return [{"role": "user", "content": ASKED}]


def chat(url: str, key: str, coding: str) -> str:
    answer = openai_client(url, key, coding).chat.completions.create(model="mock", messages=messages())
    assert answer.choices[0].finish_reason == "stop" and answer.usage.total_tokens > 0
    return answer.choices[0].message.content


def chat_streamed(url: str, key: str, coding: str) -> str:
    stream = openai_client(url, key, coding).chat.completions.create(
        model="mock", messages=messages(), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[-1].usage.total_tokens > 0
    assert [it.choices[0].finish_reason for it in chunks if it.choices][-1] == "stop"
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def chat_stream_helper(url: str, key: str, coding: str) -> str:
    with openai_client(url, key, coding).chat.completions.stream(model="mock", messages=messages()) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        answer = stream.get_final_completion()
    assert answer.choices[0].message.content == text
    return text


def responses(url: str, key: str, coding: str) -> str:
    answer = openai_client(url, key, coding).responses.create(model="mock", input=ASKED)
    assert answer.status == "completed"
    return answer.output_text


def responses_streamed(url: str, key: str, coding: str) -> str:
    events = list(openai_client(url, key, coding).responses.create(model="mock", input=messages(), stream=True))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    copies = [event.text for event in events if event.type == "response.output_text.done"]
    copies += [event.part.text for event in events if event.type == "response.content_part.done"]
    copies += [event.item.content[0].text for event in events if event.type == "response.output_item.done"]
    copies.append(events[-1].response.output_text)
    assert copies == [text] * len(copies) and len(copies) >= 2
    return text


def responses_stream_helper(url: str, key: str, coding: str) -> str:
    with openai_client(url, key, coding).responses.stream(model="mock", input=ASKED) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text
    return text


def anthropic_client(url: str, key: str, coding: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        base_url=url, api_key=key, max_retries=0, default_headers={"x-mock-encoding": coding}
    )


def message(url: str, key: str, coding: str) -> str:
    answer = anthropic_client(url, key, coding).messages.create(model="mock", max_tokens=100, messages=messages())
    return answer.content[0].text


def message_streamed(url: str, key: str, coding: str) -> str:
    api = anthropic_client(url, key, coding)
    with api.messages.stream(model="mock", max_tokens=100, messages=messages()) as stream:
        text = "".join(stream.text_stream)
        answer = stream.get_final_message()
    assert (answer.content[0].text, answer.stop_reason) == (text, "end_turn")
    return text


def gemini_client(url: str, key: str, coding: str) -> genai.Client:
    options = types.HttpOptions(base_url=url, headers={"x-mock-encoding": coding})
    return genai.Client(api_key=key, http_options=options)


def gemini(url: str, key: str, coding: str) -> str:
    with gemini_client(url, key, coding) as api:
        return api.models.generate_content(model="mock", contents=ASKED).text


def gemini_streamed(url: str, key: str, coding: str) -> str:
    with gemini_client(url, key, coding) as api:
        parts = list(api.models.generate_content_stream(model="mock", contents=ASKED))
    assert parts[-1].candidates[0].finish_reason.value == "STOP"
    return "".join(part.text or "" for part in parts)


def node(name: str):
    def run(url: str, key: str, coding: str) -> str:
        done = subprocess.run(
            ["node", "mutators.mjs", name, url, key, coding, ASKED],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60, check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run.__name__ = f"node_{name}"
    return run


SPEAKERS = [
    chat, chat_streamed, chat_stream_helper, responses, responses_streamed, responses_stream_helper,
    message, message_streamed, gemini, gemini_streamed,
    node("chat"), node("chatStreamed"), node("responses"), node("responsesStreamed"),
]


@pytest.mark.recorded
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("speak", SPEAKERS, ids=lambda it: it.__name__)
def test_rewritten_answers_satisfy_the_sdk_and_are_recorded(mutating, run_id, speak, coding):
    key = f"sk-{speak.__name__}-{coding}-{run_id}"
    assert speak(mutating.recorded, key, coding) == HEARD
    [row] = record.rows_of(mutating, key, 1)
    line = mutating.get(f"/api/traces/{row['id']}")["trace"]
    assert line["end"] == "complete" and not line["disconnected"]
    assert "codename" not in json.dumps(line["req"]["body"])
    assert "You said" not in json.dumps(line["resp"])
    assert [(it["id"], it["hook"]) for it in line["plugins"]] == [
        ("names", "before"), ("names", "after"), ("foot", "after"),
    ]
    assert "plugin_errors" not in line


@pytest.mark.recorded
def test_the_arguments_of_tools_are_never_touched(mutating, run_id):
    key, url = f"sk-tools-{run_id}", mutating.recorded
    function = {"name": "get_weather", "parameters": WEATHER_SCHEMA}
    asked = [{"role": "user", "content": "use get_weather"}]
    api = openai_client(url, key, "gzip")
    tools = [{"type": "function", "function": function}]
    answer = api.chat.completions.create(model="mock", messages=asked, tools=tools)
    called = [answer.choices[0].message.tool_calls[0].function.arguments]
    with api.chat.completions.stream(model="mock", messages=asked, tools=tools) as stream:
        list(stream)
        called.append(stream.get_final_completion().choices[0].message.tool_calls[0].function.arguments)
    tools = [{"type": "function"} | function]
    answer = api.responses.create(model="mock", input=asked, tools=tools)
    called.append(next(it for it in answer.output if it.type == "function_call").arguments)
    events = list(api.responses.create(model="mock", input=asked, tools=tools, stream=True))
    called.append(next(it for it in events[-1].response.output if it.type == "function_call").arguments)
    called.append("".join(it.delta for it in events if it.type == "response.function_call_arguments.delta"))
    assert [json.loads(it) for it in called] == [WEATHER_ARGUMENTS] * 5

    api = anthropic_client(url, key, "gzip")
    ask = {
        "model": "mock", "max_tokens": 100, "messages": asked,
        "tools": [{"name": "get_weather", "input_schema": WEATHER_SCHEMA}],
    }
    inputs = [next(it for it in api.messages.create(**ask).content if it.type == "tool_use").input]
    with api.messages.stream(**ask) as stream:
        inputs.append(next(it for it in stream.get_final_message().content if it.type == "tool_use").input)
    declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema=WEATHER_SCHEMA)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    with gemini_client(url, key, "gzip") as api:
        answer = api.models.generate_content(model="mock", contents="use get_weather", config=config)
        inputs.append(answer.function_calls[0].args)
        parts = list(api.models.generate_content_stream(model="mock", contents="use get_weather", config=config))
        inputs.append(next(part.function_calls[0].args for part in parts if part.function_calls))
    assert inputs == [WEATHER_ARGUMENTS] * 4


@pytest.mark.recorded
def test_errors_pass_as_they_are(mutating, stack, run_id):
    def failed(url: str) -> str:
        with pytest.raises(openai.RateLimitError) as raised:
            openai_client(url, f"sk-errors-{run_id}", "gzip").chat.completions.create(
                model="error-429", messages=messages()
            )
        return json.dumps(raised.value.body)

    assert failed(mutating.recorded) == failed(stack.direct)
