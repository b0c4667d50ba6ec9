"""What a scenario saw, and what the recorder must have written about it."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Callable


@dataclass
class Exchange:
    """One exchange as its SDK saw it; the recorder's row and detail must say the same."""

    path: str
    model: str | None = "mock"
    status: int = 200
    stream: bool = False
    # None for an answer that is no event stream.
    stream_done: bool | None = None
    prompt: int | None = None
    completion: int | None = None
    total: int | None = None
    finish: str | None = None
    # Codings that the record must have undone, per side.
    request_codings: list[str] = field(default_factory=list)
    response_codings: list[str] | None = None
    # The request was JSON and must stand in the record as such.
    json_request: bool = True
    method: str = "POST"
    # One turn of a WebSocket, which has no HTTP status of its own.
    is_turn: bool = False


@dataclass
class Outcome:
    """What an SDK handed to its caller, as plain data, and the exchanges that it took."""

    result: Any
    exchanges: list[Exchange]


@dataclass(frozen=True)
class Scenario:
    """One use of one SDK: called with a base URL without a path, and an API key of its own."""

    name: str
    run: Callable[[str, str], Outcome]


SCENARIOS: list[Scenario] = []


def scenario(run: Callable[[str, str], Outcome]) -> Callable[[str, str], Outcome]:
    """Adds a function to the scenarios, under its own name."""
    assert all(known.name != run.__name__ for known in SCENARIOS), run.__name__
    SCENARIOS.append(Scenario(run.__name__, run))
    return run


# The mock numbers its ids and dates its answers one second apart; LiteLLM makes ids and dates itself.
_VARYING = [
    (re.compile(r"mock\d{12}"), "mock#"),
    (re.compile(r"\b17000\d{5}(\.0)?\b"), "0"),
    (re.compile(r'("created": )\d{10}\b'), r"\g<1>0"),
    (re.compile(r"chatcmpl-[0-9a-f]{8}-[0-9a-f-]{27}"), "chatcmpl-#"),
]


def normalised(result: Any) -> Any:
    """The result with ids and times made equal."""
    text = json.dumps(result, sort_keys=True, default=_plain)
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return json.loads(text)


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    raise TypeError(f"not plain: {type(value)}")


WEATHER_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
WEATHER_ARGUMENTS = {"city": "mock", "days": 1}

# One transparent pixel.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
