"""A data dir as a reader would have it: the demo's traffic of now, and a day of last week with the trace of the examples."""

import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

# The trace that the documents show, when it began, and the request before it.
EXAMPLE, PARENT = "01M84C6AGF00089QATARNNC9YD", "01M84C5AGE00089QATARNNC9YC"
EXAMPLE_DAY, EXAMPLE_TIME, PARENT_TIME = "2026-11-23", "14:15:37.743", "14:15:04.974"
# How the other ids of that day begin.
OF_THAT_DAY = "01M83"
SECONDS_OF_TRAFFIC = 4
# What the demo has none of.
TOOL_CALL = {
    "id": f"{OF_THAT_DAY}TC0C000089QATARNNC9YD",
    "v": 1,
    "ts_start": f"{EXAMPLE_DAY}T09:00:00.000Z",
    "ts_end": f"{EXAMPLE_DAY}T09:00:01.000Z",
    "client": "192.0.2.1:5000",
    "method": "POST",
    "path": "/v1/chat/completions",
    "upstream": "http://127.0.0.1:7860",
    "status": 200,
    "end": "complete",
    "key_hash": "4e0b1d0d3a854a67",
    "protocol": "chat",
    "req": {"headers": {}, "body": {"model": "gpt-5", "messages": [{"role": "user", "content": "Which river?"}]}},
    "resp": {
        "headers": {},
        "body": {
            "model": "gpt-5",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "tool_calls",
                    "message": {
                        "role": "assistant",
                        "tool_calls": [
                            {"id": "1", "type": "function", "function": {"name": "find_river", "arguments": "{}"}}
                        ],
                    },
                }
            ],
            "usage": {"prompt_tokens": 6, "completion_tokens": 9, "total_tokens": 15},
        },
    },
    "disconnected": False,
    "truncated_req": False,
    "truncated_resp": False,
}


def make(binary: Path, data: Path, environment: dict[str, str]) -> None:
    """Records, and shifts a copy of what was recorded to another day; the index is left to the recorder to make."""
    command = [binary, "demo", "--seconds", str(SECONDS_OF_TRAFFIC), "--data-dir", data]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"the demo failed:\n{done.stdout.decode(errors='replace')}"
    with closing(sqlite3.connect(f"file:{data}/index.sqlite?mode=ro", uri=True)) as index:
        found = index.execute(
            "SELECT id, parent_id FROM traces WHERE parent_id IS NOT NULL AND stream AND protocol = 'chat' AND status = 200"
        ).fetchone()
    assert found, "the demo has no streamed chat that continues another"
    names = {found[0]: (EXAMPLE, EXAMPLE_TIME), found[1]: (PARENT, PARENT_TIME)}
    for file in sorted(data.glob("*/*.jsonl")):
        shift(file, data / EXAMPLE_DAY, names)
    (data / EXAMPLE_DAY / f"{TOOL_CALL['key_hash'][:8]}.jsonl").write_text(json.dumps(TOOL_CALL) + "\n")
    for file in data.glob("index.sqlite*"):
        file.unlink()
    for it in (data / EXAMPLE_DAY).rglob("*"):
        it.chmod(0o700 if it.is_dir() else 0o600)
    (data / EXAMPLE_DAY).chmod(0o700)


def shift(file: Path, folder: Path, names: dict[str, str]) -> None:
    """Writes a file's lines, with their attachments, as those of another day."""
    folder.mkdir(exist_ok=True)
    lines = []
    for line in file.read_text().splitlines():
        was = json.loads(line)["id"]
        now, time = names.get(was, (OF_THAT_DAY + was[len(OF_THAT_DAY) :], None))
        line = line.replace(f'"id":"{was}"', f'"id":"{now}"', 1)
        line = re.sub(r'("ts_(?:start|end)":")[0-9-]+T', rf"\g<1>{EXAMPLE_DAY}T", line, count=2)
        if time:
            # The time that the id says.
            line = re.sub(r'("ts_(?:start|end)":"[0-9-]+T)[0-9:.]+Z', rf"\g<1>{time}Z", line, count=2)
        lines.append(line)
        media = file.parent / file.stem / "media" / was
        if media.exists():
            shutil.copytree(media, folder / file.stem / "media" / now)
    (folder / file.name).write_text("".join(f"{line}\n" for line in lines))
