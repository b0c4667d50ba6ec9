"""What schemathesis cannot know: which ids there are, and that a replay need not take its time.

As a program: `ready` says by its exit code whether the index is whole, `attach DIR` gives a trace of that data dir an
attachment, `document` prints the API's document.
"""

import json
import os
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

API = os.environ["APILOG_API"]
HEADERS = {"Authorization": f"Bearer {os.environ['APILOG_TOKEN']}"}


def get(path: str) -> dict:
    with urlopen(Request(f"{API}{path}", headers=HEADERS), timeout=10) as answer:
        return json.load(answer)


def is_ready() -> bool:
    """Whether everything that was recorded is in the index, its texts too."""
    try:
        return get("/api/index")["state"] == "current" and bool(get("/api/traces?q=the&limit=1"))
    except URLError:
        return False


def streams() -> list[dict]:
    """Rows of streams."""
    rows = [row for row in get("/api/traces?limit=500")["traces"] if row["first_event_ms"] is not None]
    assert rows, "no stream is recorded"
    return rows[:20]


def attach(data_dir: Path) -> None:
    """Puts a file where the attachments of the first stream stand."""
    row = streams()[0]
    folder = data_dir / row["jsonl_path"].split(".")[0] / "media" / row["id"]
    folder.mkdir(parents=True)
    (folder / "0.png").write_bytes(b"an attachment")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["ready"]:
            sys.exit(not is_ready())
        case ["attach", data_dir]:
            attach(Path(data_dir))
        case ["document"]:
            json.dump(get("/api/openapi.json"), sys.stdout)
else:
    import schemathesis

    IDS = [row["id"] for row in streams()]
    CURSOR = get("/api/traces?limit=1")["next_cursor"]
    # How often an id was asked for: every other one is one that there is.
    asked = 0

    @schemathesis.hook
    def filter_case(context, case):
        """Leaves out what the document cannot say of a schema: that an empty value is an absent parameter."""
        return not (isinstance(case.query, dict) and any(value in ("", [""]) for value in case.query.values()))

    @schemathesis.hook
    def before_call(context, case, kwargs):
        """Gives every other call the id of a trace that there is, and plays streams without their pauses."""
        global asked
        path = case.operation.path
        query = case.query if isinstance(case.query, dict) else {}
        is_positive = case.meta is None or case.meta.generation.mode.is_positive
        is_replay = path.endswith("/replay")
        for name in ("id", "trace_id"):
            if name in (case.path_parameters or {}) and path.startswith(("/api/traces/", "/api/media/")):
                asked += 1
                # Of what is no stream there is nothing to replay, and no word for that in a schema.
                if asked % 2 or (is_replay and is_positive):
                    case.path_parameters[name] = IDS[asked // 2 % len(IDS)]
        if path.startswith("/api/media/") and asked % 4 == 1:
            case.path_parameters.update(trace_id=IDS[0], idx=0)
        if is_replay:
            query["nodelay"] = "1"
        # Words that only the recorder knows. Wrong ones stay wrong.
        if is_positive:
            for name, word in (("cursor", CURSOR), ("redact", "credentials")):
                if name in query:
                    query[name] = word
