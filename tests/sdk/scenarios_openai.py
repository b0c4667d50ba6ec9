"""The official OpenAI Python SDK."""

import asyncio
import json

import httpx
import openai
import zstandard

from expect import PIXEL, WEATHER_ARGUMENTS, WEATHER_SCHEMA, Exchange, Outcome, scenario

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER_SCHEMA}}
RESPONSES_TOOL = {"type": "function", "name": "get_weather", "parameters": WEATHER_SCHEMA}


def client(url: str, key: str, **options) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, **options)


def user(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def chat_exchange(usage, finish: str, **more) -> Exchange:
    return Exchange(
        CHAT,
        prompt=usage.prompt_tokens,
        completion=usage.completion_tokens,
        total=usage.total_tokens,
        finish=finish,
        **more,
    )


def responses_exchange(response, **more) -> Exchange:
    return Exchange(
        RESPONSES,
        prompt=response.usage.input_tokens,
        completion=response.usage.output_tokens,
        total=response.usage.total_tokens,
        finish=response.status,
        **more,
    )


@scenario
def openai_chat(url: str, key: str) -> Outcome:
    answer = client(url, key).chat.completions.create(model="mock", messages=user("hello there"))
    assert answer.choices[0].message.content == "You said: hello there"
    return Outcome(answer, [chat_exchange(answer.usage, "stop", response_codings=["gzip"])])


@scenario
def openai_chat_streamed(url: str, key: str) -> Outcome:
    chunks = list(
        client(url, key).chat.completions.create(
            model="mock", messages=user("hello there"), stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "You said: hello there"
    return Outcome(chunks, [chat_exchange(chunks[-1].usage, "stop", stream=True, stream_done=True)])


@scenario
def openai_chat_streamed_async(url: str, key: str) -> Outcome:
    async def run() -> list:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as asynchronous:
            stream = await asynchronous.chat.completions.create(model="mock", messages=user("hello"), stream=True)
            return [chunk async for chunk in stream]

    chunks = asyncio.run(run())
    assert chunks[-1].choices[0].finish_reason == "stop"
    # Without `include_usage` nobody counts.
    return Outcome(chunks, [Exchange(CHAT, stream=True, stream_done=True, finish="stop")])


@scenario
def openai_chat_of_three_turns(url: str, key: str) -> Outcome:
    messages, answers, exchanges = [], [], []
    for text in ["first question", "second question", "third question"]:
        messages += user(text)
        answer = client(url, key).chat.completions.create(model="mock", messages=messages)
        messages.append({"role": "assistant", "content": answer.choices[0].message.content})
        answers.append(answer)
        exchanges.append(chat_exchange(answer.usage, "stop"))
    return Outcome(answers, exchanges)


@scenario
def openai_chat_tool(url: str, key: str) -> Outcome:
    api = client(url, key)
    messages = user("please use get_weather")
    first = api.chat.completions.create(model="mock", messages=messages, tools=[CHAT_TOOL])
    call = first.choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments) == WEATHER_ARGUMENTS
    messages += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    second = api.chat.completions.create(model="mock", messages=messages, tools=[CHAT_TOOL])
    assert second.choices[0].message.content == "The tool said: rain"
    return Outcome([first, second], [chat_exchange(first.usage, "tool_calls"), chat_exchange(second.usage, "stop")])


@scenario
def openai_chat_tool_streamed(url: str, key: str) -> Outcome:
    with client(url, key).chat.completions.stream(
        model="mock", messages=user("use the tool"), tools=[CHAT_TOOL], stream_options={"include_usage": True}
    ) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_completion()
    assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments) == WEATHER_ARGUMENTS
    return Outcome([kinds, answer], [chat_exchange(answer.usage, "tool_calls", stream=True, stream_done=True)])


@scenario
def openai_chat_image(url: str, key: str) -> Outcome:
    content = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    answer = client(url, key).chat.completions.create(model="mock", messages=[{"role": "user", "content": content}])
    assert "1 attachment" in answer.choices[0].message.content
    return Outcome(answer, [chat_exchange(answer.usage, "stop")])


@scenario
def openai_chat_cut_by_max_tokens(url: str, key: str) -> Outcome:
    answer = client(url, key).chat.completions.create(model="mock", messages=user("a b c d"), max_completion_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    return Outcome(answer, [chat_exchange(answer.usage, "length")])


class ZstdTransport(httpx.HTTPTransport):
    """Sends request bodies compressed, as Codex does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        packed = zstandard.compress(request.read())
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        headers |= {"content-encoding": "zstd", "content-length": str(len(packed))}
        return super().handle_request(
            httpx.Request(request.method, request.url, headers=headers, content=packed, extensions=request.extensions)
        )


@scenario
def openai_responses_zstd_request(url: str, key: str) -> Outcome:
    with httpx.Client(transport=ZstdTransport()) as http:
        stream = client(url, key, http_client=http).responses.create(model="mock", input="packed", stream=True)
        events = list(stream)
    assert events[-1].response.output_text == "You said: packed"
    return Outcome(
        events, [responses_exchange(events[-1].response, stream=True, stream_done=True, request_codings=["zstd"])]
    )


def _encoded_stream(url: str, key: str, coding: str) -> Outcome:
    chunks = list(
        client(url, key).chat.completions.create(
            model="mock",
            messages=user("hello"),
            stream=True,
            stream_options={"include_usage": True},
            extra_headers={"x-mock-encoding": coding},
        )
    )
    expected = chat_exchange(chunks[-1].usage, "stop", stream=True, stream_done=True, response_codings=[coding])
    return Outcome(chunks, [expected])


@scenario
def openai_chat_gzip_stream(url: str, key: str) -> Outcome:
    return _encoded_stream(url, key, "gzip")


@scenario
def openai_chat_zstd_stream(url: str, key: str) -> Outcome:
    return _encoded_stream(url, key, "zstd")


def _failed(error: openai.APIStatusError) -> dict:
    return {"type": type(error).__name__, "status": error.status_code, "message": str(error)}


@scenario
def openai_chat_rate_limited(url: str, key: str) -> Outcome:
    try:
        client(url, key).chat.completions.create(model="error-429", messages=user("hello"))
    except openai.RateLimitError as error:
        return Outcome(_failed(error), [Exchange(CHAT, model="error-429", status=429)])
    raise AssertionError("no error")


@scenario
def openai_chat_server_error(url: str, key: str) -> Outcome:
    try:
        client(url, key).chat.completions.create(model="error-500", messages=user("hello"), stream=True)
    except openai.InternalServerError as error:
        return Outcome(_failed(error), [Exchange(CHAT, model="error-500", status=500, stream=True)])
    raise AssertionError("no error")


@scenario
def openai_chat_fails_in_mid_stream(url: str, key: str) -> Outcome:
    chunks = []
    try:
        for chunk in client(url, key).chat.completions.create(
            model="error-mid-stream", messages=user("hello"), stream=True
        ):
            chunks.append(chunk)
    except openai.APIError as error:
        expected = Exchange(CHAT, model="error-mid-stream", stream=True, stream_done=False)
        return Outcome([chunks, str(error)], [expected])
    raise AssertionError("no error")


@scenario
def openai_azure_chat(url: str, key: str) -> Outcome:
    azure = openai.AzureOpenAI(azure_endpoint=url, api_key=key, api_version="2024-10-21", max_retries=0)
    answer = azure.chat.completions.create(model="gpt-mock", messages=user("hello"))
    expected = chat_exchange(answer.usage, "stop")
    expected.path, expected.model = "/openai/deployments/gpt-mock/chat/completions", "gpt-mock"
    return Outcome(answer, [expected])


@scenario
def openai_completions(url: str, key: str) -> Outcome:
    api = client(url, key)
    whole = api.completions.create(model="mock", prompt="once upon a time")
    assert whole.choices[0].text == "You said: once upon a time"
    chunks = list(api.completions.create(model="mock", prompt="once upon a time", stream=True))
    expected = chat_exchange(whole.usage, "stop")
    expected.path = "/v1/completions"
    streamed = Exchange("/v1/completions", stream=True, stream_done=True, finish="stop")
    return Outcome([whole, chunks], [expected, streamed])


@scenario
def openai_responses(url: str, key: str) -> Outcome:
    api = client(url, key)
    first = api.responses.create(model="mock", input="hello", instructions="be kind")
    second = api.responses.create(model="mock", input="more", previous_response_id=first.id)
    assert second.output_text == "You said: more [turn 2]"
    return Outcome([first, second], [responses_exchange(first), responses_exchange(second)])


@scenario
def openai_responses_streamed(url: str, key: str) -> Outcome:
    with client(url, key).responses.stream(model="mock", input=user("hello there")) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert response.output_text == "You said: hello there"
    return Outcome([kinds, response], [responses_exchange(response, stream=True, stream_done=True)])


@scenario
def openai_responses_tool_streamed(url: str, key: str) -> Outcome:
    api = client(url, key)
    asked = user("call get_weather")
    first = list(api.responses.create(model="mock", input=asked, tools=[RESPONSES_TOOL], stream=True))
    call = first[-1].response.output[0]
    assert json.loads(call.arguments) == WEATHER_ARGUMENTS
    asked += [call.model_dump(exclude_none=True), {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}]
    second = api.responses.create(model="mock", input=asked, tools=[RESPONSES_TOOL])
    assert second.output_text == "The tool said: sun"
    return Outcome(
        [first, second],
        [responses_exchange(first[-1].response, stream=True, stream_done=True), responses_exchange(second)],
    )


@scenario
def openai_responses_cut_by_max_tokens(url: str, key: str) -> Outcome:
    response = client(url, key).responses.create(model="mock", input="a b c d", max_output_tokens=2)
    assert response.status == "incomplete"
    return Outcome(response, [responses_exchange(response)])


@scenario
def openai_responses_socket(url: str, key: str) -> Outcome:
    turns, previous = [], None
    with client(url, key).responses.connect() as socket:
        for text in ["first turn", "second turn", "third turn"]:
            asked = {"type": "response.create", "model": "mock", "input": text}
            socket.send(asked | ({"previous_response_id": previous} if previous else {}))
            for event in socket:
                if event.type == "response.completed":
                    turns.append(event.response)
                    previous = event.response.id
                    break
    assert turns[-1].output_text == "You said: third turn [turn 3]"
    return Outcome(turns, [responses_exchange(turn, method="GET", is_turn=True) for turn in turns])


@scenario
def openai_embeddings(url: str, key: str) -> Outcome:
    answer = client(url, key).embeddings.create(model="mock-embedding", input=["hello there", "you"])
    assert len(answer.data) == 2 and len(answer.data[0].embedding) == 8
    usage = answer.usage
    return Outcome(
        answer,
        [Exchange("/v1/embeddings", model="mock-embedding", prompt=usage.prompt_tokens, total=usage.total_tokens)],
    )


@scenario
def openai_images(url: str, key: str) -> Outcome:
    api = client(url, key)
    whole = api.images.generate(model="mock-image", prompt="a dot")
    assert whole.data[0].b64_json == PIXEL
    events = list(api.images.generate(model="mock-image", prompt="a dot", stream=True, partial_images=1))
    assert events[-1].type == "image_generation.completed"

    def expected(usage, **more) -> Exchange:
        tokens = {"prompt": usage.input_tokens, "completion": usage.output_tokens, "total": usage.total_tokens}
        return Exchange("/v1/images/generations", model="mock-image", **tokens, **more)

    return Outcome([whole, events], [expected(whole.usage), expected(events[-1].usage, stream=True, stream_done=...)])


@scenario
def openai_audio(url: str, key: str) -> Outcome:
    api = client(url, key)
    spoken = api.audio.speech.create(model="mock", voice="alloy", input="hello there").content
    assert len(spoken) == 11 * 16
    heard = api.audio.transcriptions.create(model="mock", file=("hello.mp3", spoken))
    assert heard.text == f"I heard {len(spoken)} bytes of hello.mp3"
    transcription = Exchange("/v1/audio/transcriptions", model=..., json_request=False)
    transcription.prompt, transcription.completion = heard.usage.input_tokens, heard.usage.output_tokens
    transcription.total = heard.usage.total_tokens
    return Outcome([spoken, heard], [Exchange("/v1/audio/speech"), transcription])


@scenario
def openai_models(url: str, key: str) -> Outcome:
    models = list(client(url, key).models.list())
    assert [model.id for model in models][0] == "mock"
    return Outcome(models, [Exchange("/v1/models", method="GET", model=None, json_request=False)])
