"""What the recorder wrote about a scenario, and whether it is right."""

import hashlib
import json
from urllib.parse import urlsplit

from expect import Exchange
from stack import Stack, wait_until


def rows_of(stack: Stack, key: str, count: int) -> list[dict]:
    """The rows of an API key, oldest first, once there are at least `count`."""
    found: list[dict] = []

    def are_there() -> bool:
        found.clear()
        # As `Authorization` and as any header that holds the bare key.
        for value in [f"Bearer {key}", key]:
            key_hash = hashlib.sha256(value.encode()).hexdigest()[:16]
            found.extend(stack.get("/api/traces", key_hash=key_hash, limit=500)["traces"])
        return len(found) >= count

    wait_until(are_there, f"{count} rows of {key}")
    return sorted(found, key=lambda row: (row["ts_start"], row["id"]))


def check(stack: Stack, row: dict, expected: Exchange) -> None:
    """Row, detail and line of one exchange say what the SDK saw."""
    check_row(row, expected)
    detail = stack.get(f"/api/traces/{row['id']}")
    assert detail["row"] == row
    check_line(detail["trace"], expected)
    if stack.data_dir is not None:
        with (stack.data_dir / row["jsonl_path"]).open("rb") as file:
            file.seek(row["jsonl_offset"])
            assert json.loads(file.readline()) == detail["trace"]


def check_row(row: dict, expected: Exchange) -> None:
    path = urlsplit(row["path"]).path
    assert path.endswith(expected.path), path
    assert row["method"] == expected.method
    same(row, "model", model_of(expected))
    same(row, "prompt_tokens", expected.prompt)
    same(row, "completion_tokens", expected.completion)
    same(row, "total_tokens", expected.total)
    same(row, "finish_reason", expected.finish)
    assert not row["disconnected"] and not row["truncated_req"] and not row["truncated_resp"]
    assert row["client_kind"], "an SDK is a known client"
    if not expected.is_turn:
        assert row["status"] == expected.status
        assert bool(row["stream"]) == expected.stream


def model_of(expected: Exchange):
    """Gemini's and Azure's paths name the model; elsewhere it is what the scenario says."""
    return expected.model


def same(row: dict, column: str, expected) -> None:
    """`...` leaves a column to the recorder."""
    if expected is not ...:
        assert row[column] == expected, f"{column}: {row[column]!r}, not {expected!r}"


def check_line(line: dict, expected: Exchange) -> None:
    assert line["v"] == 1
    assert line["end"] == "complete"
    for side in ["req", "resp"]:
        assert "parse_error" not in line[side], line[side]
    if expected.is_turn:
        return
    request, response = line["req"], line["resp"]
    if expected.json_request:
        assert isinstance(request["body"], dict), request
    assert request.get("content_decoded", []) == expected.request_codings
    if expected.response_codings is not None:
        assert response.get("content_decoded", []) == expected.response_codings
    if expected.stream_done is None:
        assert "events" not in response and "stream_done" not in response
        return
    if expected.stream_done is not ...:
        assert response["stream_done"] is expected.stream_done
    check_times(response["events"])


def check_times(events: list[dict]) -> None:
    """Every event has its moment, and none is before the one before it."""
    moments = [event["t_delta_ms"] for event in events]
    assert moments and moments == sorted(moments)
