"""The official Anthropic Python SDK."""

import anthropic

from expect import PIXEL, WEATHER_ARGUMENTS, WEATHER_SCHEMA, Exchange, Outcome, scenario

MESSAGES = "/v1/messages"
TOOL = {"name": "get_weather", "input_schema": WEATHER_SCHEMA}


def client(url: str, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)


def ask(content, **more) -> dict:
    return {"model": "mock", "max_tokens": 100, "messages": [{"role": "user", "content": content}]} | more


def exchange(message, **more) -> Exchange:
    usage = message.usage
    return Exchange(
        MESSAGES,
        prompt=usage.input_tokens,
        completion=usage.output_tokens,
        total=usage.input_tokens + usage.output_tokens,
        finish=message.stop_reason,
        **more,
    )


def streamed(message) -> Exchange:
    return exchange(message, stream=True, stream_done=True)


@scenario
def anthropic_message(url: str, key: str) -> Outcome:
    message = client(url, key).messages.create(**ask("hello there", system="be kind"))
    assert message.content[0].text == "You said: hello there"
    return Outcome(message, [exchange(message)])


@scenario
def anthropic_message_streamed(url: str, key: str) -> Outcome:
    with client(url, key).messages.stream(**ask("hello there")) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    assert message.content[0].text == "You said: hello there"
    return Outcome([kinds, message], [streamed(message)])


@scenario
def anthropic_raw_events(url: str, key: str) -> Outcome:
    events = list(client(url, key).messages.create(**ask("hello"), stream=True))
    assert events[-1].type == "message_stop"
    start, delta = events[0].message.usage, events[-2]
    tokens = {"prompt": start.input_tokens, "completion": delta.usage.output_tokens}
    expected = Exchange(
        MESSAGES, stream=True, stream_done=True, finish="end_turn", total=sum(tokens.values()), **tokens
    )
    return Outcome(events, [expected])


@scenario
def anthropic_tool(url: str, key: str) -> Outcome:
    api = client(url, key)
    asked = ask("please use get_weather", tools=[TOOL])
    first = api.messages.create(**asked)
    assert first.content[0].input == WEATHER_ARGUMENTS
    result = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": "rain"}
    asked["messages"] += [
        {"role": "assistant", "content": [first.content[0].model_dump(exclude_none=True)]},
        {"role": "user", "content": [result]},
    ]
    second = api.messages.create(**asked)
    assert second.content[0].text == "The tool said: rain"
    return Outcome([first, second], [exchange(first), exchange(second)])


@scenario
def anthropic_tool_streamed(url: str, key: str) -> Outcome:
    with client(url, key).messages.stream(**ask("use the tool", tools=[TOOL])) as stream:
        message = stream.get_final_message()
    assert message.content[0].input == WEATHER_ARGUMENTS
    return Outcome(message, [streamed(message)])


@scenario
def anthropic_image(url: str, key: str) -> Outcome:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "what is this"}]
    message = client(url, key).messages.create(**ask(content))
    assert "1 attachment" in message.content[0].text
    return Outcome(message, [exchange(message)])


@scenario
def anthropic_thinking_and_cache_streamed(url: str, key: str) -> Outcome:
    system = [{"type": "text", "text": "a long instruction", "cache_control": {"type": "ephemeral"}}]
    asked = ask("hello", system=system, thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2048)
    with client(url, key).messages.stream(**asked) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.usage.cache_creation_input_tokens == 3
    return Outcome(message, [streamed(message)])


@scenario
def anthropic_count_tokens(url: str, key: str) -> Outcome:
    counted = client(url, key).messages.count_tokens(model="mock", messages=ask("one two three")["messages"])
    assert counted.input_tokens == 3
    # Whether a count has a model and tokens of its own is left to the recorder.
    return Outcome(counted, [Exchange(f"{MESSAGES}/count_tokens", model=...)])


@scenario
def anthropic_overloaded(url: str, key: str) -> Outcome:
    try:
        client(url, key).messages.create(**ask("hello", model="error-529"))
    except anthropic.APIStatusError as error:
        assert error.status_code == 529
        result = {"type": type(error).__name__, "message": str(error), "body": error.body}
        return Outcome(result, [Exchange(MESSAGES, model=..., status=529)])
    raise AssertionError("no error")


@scenario
def anthropic_fails_in_mid_stream(url: str, key: str) -> Outcome:
    kinds = []
    try:
        for event in client(url, key).messages.create(**ask("hello", model="error-mid-stream"), stream=True):
            kinds.append(event.type)
    except anthropic.APIStatusError as error:
        expected = Exchange(MESSAGES, model="error-mid-stream", stream=True, stream_done=False, prompt=1)
        # The stream began with a count of one token, and nothing corrected it.
        expected.completion, expected.total = ..., ...
        return Outcome([kinds, str(error)], [expected])
    raise AssertionError("no error")


@scenario
def anthropic_models(url: str, key: str) -> Outcome:
    models = list(client(url, key).models.list())
    assert models[0].id == "mock"
    return Outcome(models, [Exchange("/v1/models", method="GET", model=None, json_request=False)])
