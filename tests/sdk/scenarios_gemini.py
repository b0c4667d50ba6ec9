"""The official Google GenAI Python SDK."""

import asyncio
import base64

from google import genai
from google.genai import errors, types

from expect import PIXEL, WEATHER_ARGUMENTS, WEATHER_SCHEMA, Exchange, Outcome, scenario


def client(url: str, key: str) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url))


def exchange(method: str, last, **more) -> Exchange:
    usage = last.usage_metadata
    return Exchange(
        f"/models/mock:{method}",
        prompt=usage.prompt_token_count,
        completion=usage.candidates_token_count,
        total=usage.total_token_count,
        finish=last.candidates[0].finish_reason.value,
        **more,
    )


def whole(answer) -> Exchange:
    return exchange("generateContent", answer)


def streamed(last) -> Exchange:
    return exchange("streamGenerateContent", last, stream=True, stream_done=True)


def plain(answer) -> dict:
    # The response's headers carry dates.
    return answer.model_dump(mode="json", exclude={"sdk_http_response"})


@scenario
def gemini_content(url: str, key: str) -> Outcome:
    config = types.GenerateContentConfig(system_instruction="be kind")
    with client(url, key) as api:
        answer = api.models.generate_content(model="mock", contents="hello there", config=config)
    assert answer.text == "You said: hello there"
    return Outcome(plain(answer), [whole(answer)])


@scenario
def gemini_content_streamed(url: str, key: str) -> Outcome:
    with client(url, key) as api:
        parts = list(api.models.generate_content_stream(model="mock", contents="hello there"))
    assert "".join(part.text for part in parts) == "You said: hello there"
    return Outcome([plain(part) for part in parts], [streamed(parts[-1])])


@scenario
def gemini_content_streamed_async(url: str, key: str) -> Outcome:
    async def run() -> list:
        async with client(url, key).aio as asynchronous:
            stream = await asynchronous.models.generate_content_stream(model="mock", contents="hello")
            return [part async for part in stream]

    parts = asyncio.run(run())
    return Outcome([plain(part) for part in parts], [streamed(parts[-1])])


@scenario
def gemini_tool(url: str, key: str) -> Outcome:
    function = types.FunctionDeclaration(name="get_weather", parameters_json_schema=WEATHER_SCHEMA)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[function])])
    asked = [types.Content(role="user", parts=[types.Part.from_text(text="use get_weather")])]
    with client(url, key) as api:
        first = api.models.generate_content(model="mock", contents=asked, config=config)
        assert first.function_calls[0].args == WEATHER_ARGUMENTS
        response = types.Part.from_function_response(name="get_weather", response={"result": "rain"})
        asked += [first.candidates[0].content, types.Content(role="user", parts=[response])]
        parts = list(api.models.generate_content_stream(model="mock", contents=asked, config=config))
    assert "rain" in "".join(part.text for part in parts)
    return Outcome([plain(first), [plain(part) for part in parts]], [whole(first), streamed(parts[-1])])


@scenario
def gemini_image(url: str, key: str) -> Outcome:
    image = types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png")
    with client(url, key) as api:
        answer = api.models.generate_content(model="mock", contents=["what is this", image])
    assert "1 attachment" in answer.text
    return Outcome(plain(answer), [whole(answer)])


@scenario
def gemini_thinking_streamed(url: str, key: str) -> Outcome:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    with client(url, key) as api:
        parts = list(api.models.generate_content_stream(model="mock", contents="hello", config=config))
    assert parts[-1].usage_metadata.thoughts_token_count == 7
    return Outcome([plain(part) for part in parts], [streamed(parts[-1])])


@scenario
def gemini_counts_and_embeds(url: str, key: str) -> Outcome:
    with client(url, key) as api:
        counted = api.models.count_tokens(model="mock", contents="one two three")
        embedded = api.models.embed_content(model="mock", contents=["a", "b"])
    assert counted.total_tokens == 3
    assert len(embedded.embeddings) == 2
    loose = {"prompt": ..., "completion": ..., "total": ...}
    return Outcome(
        [plain(counted), plain(embedded)],
        [Exchange("/models/mock:countTokens", **loose), Exchange("/models/mock:batchEmbedContents", **loose)],
    )


@scenario
def gemini_rate_limited(url: str, key: str) -> Outcome:
    try:
        with client(url, key) as api:
            api.models.generate_content(model="error-429", contents="hello")
    except errors.ClientError as error:
        assert error.code == 429
        result = {"code": error.code, "status": error.status, "message": error.message}
        return Outcome(result, [Exchange("/models/error-429:generateContent", model="error-429", status=429)])
    raise AssertionError("no error")
