"""Drives the dev stack as its users do: each protocol, streamed or not, through a restart and an end."""

import collections
import contextlib
import http.client
import json
import re
import sys
from pathlib import Path

from compose import Stack, lab, stack_of

FILE = lab.ROOT / "deploy/dev-stack/compose.yaml"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello"}]}
REQUESTS = [
    ("chat", "/v1/chat/completions", CHAT, {"Authorization": "Bearer sk-integration"}),
    ("chat", "/v1/chat/completions", CHAT | {"stream": True}, {"Authorization": "Bearer sk-integration"}),
    ("responses", "/v1/responses", {"model": "gpt-4o-mini", "input": "Hi"}, {"Authorization": "Bearer sk-other"}),
    (
        "messages",
        "/v1/messages",
        {"model": "claude-sonnet-4-5", "max_tokens": 64, "stream": True, "messages": CHAT["messages"]},
        {"x-api-key": "sk-ant-integration", "anthropic-version": "2023-06-01"},
    ),
    (
        "gemini",
        "/v1beta/models/gemini-2.5-flash:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
        {"x-goog-api-key": "AIza-integration"},
    ),
]


def post(port: int, path: str, body: dict, headers: dict) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=lab.PATIENCE_SECONDS)) as connection:
        connection.request("POST", path, json.dumps(body), headers | {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def send_all(proxy: int) -> None:
    for protocol, path, body, headers in REQUESTS:
        status, answer = post(proxy, path, body, headers)
        assert status == 200 and answer, f"{path}: {status} {answer!r}"
        is_stream = answer.startswith((b"data:", b"event:"))
        assert is_stream == body.get("stream", False), f"{protocol}: {answer[:200]!r}"


def rows(api: int, token: str, most: int) -> list[dict]:
    """What is recorded, once there is that much."""

    def enough():
        traces = lab.get_json("127.0.0.1", api, f"/api/traces?limit={most + 1}", token)["traces"]
        return traces if len(traces) >= most else None

    return lab.wait_until(enough, f"{most} traces are listed")


def check_rows(traces: list[dict], rounds: int) -> None:
    assert len(traces) == rounds * len(REQUESTS), [it["path"] for it in traces]
    seen = collections.Counter(it["path"].split("?")[0] for it in traces)
    assert seen == collections.Counter([path for _, path, _, _ in REQUESTS] * rounds), seen
    for trace in traces:
        assert trace["status"] == 200, trace


def main() -> None:
    with stack_of(FILE) as stack:
        is_native = isinstance(stack, Stack)
        print(f"the dev stack runs {'as processes: there is no container engine' if is_native else 'in containers'}")
        stack.up()
        proxy, api = stack.published("api-log", 7861), stack.published("api-log", 7862)
        token = stack.token()
        assert re.fullmatch(r"[0-9a-f]{64}", token), "the token is made at the first start"

        send_all(proxy)
        check_rows(rows(api, token, len(REQUESTS)), 1)
        one = rows(api, token, 1)[0]
        line = lab.get_json("127.0.0.1", api, f"/api/traces/{one['id']}", token)
        assert "integration" in json.dumps(line) or "sk-other" in json.dumps(line), "the line has the request"

        health = lab.get_json("127.0.0.1", api, "/healthz", token)
        ledger = health["ledger"]
        assert ledger["balanced"] and ledger["accepted"] == len(REQUESTS), ledger
        assert health["degraded"] == [], health["degraded"]

        stack.restart("api-log")
        assert stack.token() == token, "the token stays"
        # An engine may publish them elsewhere now.
        proxy, api = stack.published("api-log", 7861), stack.published("api-log", 7862)
        check_rows(rows(api, token, len(REQUESTS)), 1)
        send_all(proxy)
        check_rows(rows(api, token, 2 * len(REQUESTS)), 2)

        ended = stack.down()
        assert all(code == 0 for code in ended.values()), f"exit codes: {ended}"
        if is_native:
            lines = sum(len(it.read_bytes().splitlines()) for it in stack.volumes["recordings"].glob("*/*.jsonl"))
            assert lines == 2 * len(REQUESTS), f"{lines} lines are left in the volume"
    print(
        f"{2 * len(REQUESTS)} exchanges of {len({it[0] for it in REQUESTS})} protocols, a restart, an orderly end: ok"
    )


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"{Path(__file__).name}: {error}")
