"""The mock gateway and the recorder: found in the environment, or started for this run."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 30.0
# Between two looks at something that will change.
LOOK_SECONDS = 0.02


@dataclass
class Stack:
    """Where everything is. Without `recorded` only the mock is tested."""

    direct: str
    recorded: str | None = None
    api: str | None = None
    token: str | None = None
    data_dir: Path | None = None
    mock: subprocess.Popen | None = None
    recorder: subprocess.Popen | None = None
    log: Path | None = None
    exit_codes: list[int] = field(default_factory=list)

    def get(self, path: str, **query) -> dict:
        """Asks the read API."""
        answer = httpx.get(
            f"{self.api}{path}", params=query, headers={"Authorization": f"Bearer {self.token}"}, timeout=10
        )
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def stop_recorder(self) -> int:
        """Ends the recorder as an operator does; its exit code."""
        assert self.recorder is not None
        if self.recorder.poll() is None:
            self.recorder.send_signal(signal.SIGTERM)
        return self.recorder.wait(PATIENCE_SECONDS)

    def stop(self) -> None:
        for process in [self.recorder, self.mock]:
            if process is None:
                continue
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def find() -> Stack:
    """The stack of `APILOG_DIRECT`, `APILOG_RECORDED`, `APILOG_API` and `APILOG_TOKEN`, else one of our own."""
    direct = os.environ.get("APILOG_DIRECT")
    if direct is None:
        return start()
    data_dir = os.environ.get("APILOG_DATA_DIR")
    return Stack(
        direct=direct.rstrip("/"),
        recorded=_url("APILOG_RECORDED"),
        api=_url("APILOG_API"),
        token=os.environ.get("APILOG_TOKEN"),
        data_dir=Path(data_dir) if data_dir else None,
    )


def _url(variable: str) -> str | None:
    value = os.environ.get(variable)
    return value.rstrip("/") if value else None


def start() -> Stack:
    """Starts the built binary twice, as mock and as recorder, on free ports and a new data directory."""
    binary = os.environ.get("APILOG_BINARY", str(ROOT / "target/debug/api-log"))
    folder = Path(tempfile.mkdtemp(prefix="api-log-sdk-"))
    mock = subprocess.Popen([binary, "mock", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    assert mock.stdout is not None
    line = mock.stdout.readline()
    found = re.search(r"mock gateway listening on (http://\S+)", line)
    assert found, f"the mock said {line!r}"
    stack = Stack(direct=found[1], mock=mock, data_dir=folder / "data", log=folder / "recorder.log")
    try:
        _start_recorder(stack, binary)
    except BaseException:
        stack.stop()
        raise
    return stack


def _start_recorder(stack: Stack, binary: str) -> None:
    proxy, api = _free_port(), _free_port()
    stack.recorded, stack.api = f"http://127.0.0.1:{proxy}", f"http://127.0.0.1:{api}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APILOG_")}
    environment |= {
        "APILOG_PROXY_LISTEN": f"127.0.0.1:{proxy}",
        "APILOG_PROXY_UPSTREAM": stack.direct,
        "APILOG_API_LISTEN": f"127.0.0.1:{api}",
        "APILOG_STORAGE_DATA_DIR": str(stack.data_dir),
        "APILOG_VIEWER_ENABLED": "false",
    }
    assert stack.log is not None and stack.data_dir is not None
    with stack.log.open("wb") as log:
        stack.recorder = subprocess.Popen([binary], env=environment, stdout=log, stderr=log)
    print(f"recorder log: {stack.log}, data: {stack.data_dir}", file=sys.stderr)

    def is_up() -> bool:
        assert stack.recorder is not None and stack.log is not None
        assert stack.recorder.poll() is None, f"the recorder ended:\n{stack.log.read_text()}"
        try:
            return httpx.get(f"{stack.api}/healthz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(is_up, "the recorder answers")
    stack.token = (stack.data_dir / "admin_token").read_text().strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(is_so, what: str) -> None:
    """Looks until something is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {PATIENCE_SECONDS} s: {what}"
        time.sleep(LOOK_SECONDS)
