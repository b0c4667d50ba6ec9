"""LiteLLM as a client: one call, each provider's protocol."""

import os
from dataclasses import dataclass

# Its list of models comes with it; nothing is fetched.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402

from expect import WEATHER_SCHEMA, Exchange, Outcome, scenario  # noqa: E402

litellm.telemetry = False
litellm.suppress_debug_info = True

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "weather", "parameters": WEATHER_SCHEMA}}


@dataclass(frozen=True)
class Provider:
    """How LiteLLM reaches a provider, and what that provider's protocol looks like on the wire."""

    model: str
    mount: str
    path: str
    streamed_path: str
    finish: dict[str, str]


OPENAI = Provider(
    "openai/mock",
    "/v1",
    "/v1/chat/completions",
    "/v1/chat/completions",
    {"stop": "stop", "tool_calls": "tool_calls"},
)
ANTHROPIC = Provider(
    "anthropic/mock", "", "/v1/messages", "/v1/messages", {"stop": "end_turn", "tool_calls": "tool_use"}
)
GEMINI = Provider(
    "gemini/mock",
    "",
    "/models/mock:generateContent",
    "/models/mock:streamGenerateContent",
    {"stop": "STOP", "tool_calls": "STOP"},
)


def ask(url: str, key: str, provider: Provider, text: str, **more):
    return litellm.completion(
        model=provider.model,
        api_base=url + provider.mount,
        api_key=key,
        messages=[{"role": "user", "content": text}],
        max_tokens=100,
        num_retries=0,
        max_retries=0,
        **more,
    )


def exchange(provider: Provider, answer, **more) -> Exchange:
    usage = answer.usage
    return Exchange(
        provider.streamed_path if more.get("stream") else provider.path,
        prompt=usage.prompt_tokens,
        completion=usage.completion_tokens,
        total=usage.total_tokens,
        finish=provider.finish[answer.choices[0].finish_reason],
        **more,
    )


def run(url: str, key: str, provider: Provider) -> Outcome:
    whole = ask(url, key, provider, "hello there")
    assert whole.choices[0].message.content == "You said: hello there"
    called = ask(url, key, provider, "use get_weather", tools=[TOOL])
    assert called.choices[0].message.tool_calls[0].function.name == "get_weather"
    chunks = list(ask(url, key, provider, "hello there", stream=True, stream_options={"include_usage": True}))
    joined = litellm.stream_chunk_builder(chunks)
    assert joined.choices[0].message.content == "You said: hello there"
    return Outcome(
        [whole.model_dump(), called.model_dump(), joined.choices[0].message.model_dump()],
        [
            exchange(provider, whole),
            exchange(provider, called),
            exchange(provider, joined, stream=True, stream_done=True),
        ],
    )


@scenario
def litellm_openai(url: str, key: str) -> Outcome:
    return run(url, key, OPENAI)


@scenario
def litellm_anthropic(url: str, key: str) -> Outcome:
    return run(url, key, ANTHROPIC)


@scenario
def litellm_gemini(url: str, key: str) -> Outcome:
    return run(url, key, GEMINI)
