"""What checks of deployments share: processes, ports, HTTP by hand, a gateway that answers when it is told to."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("APILOG_BINARY", str(ROOT / "target/debug/api-log"))
PATIENCE_SECONDS = 60.0
# Between two looks at something that will change.
LOOK_SECONDS = 0.02
# How a check says that it could not be made here.
SKIPPED = 77


def skip(why: str):
    """Ends this check: it cannot be made here."""
    print(why)
    sys.exit(SKIPPED)


def wait_until(is_so, what: str):
    """Looks until something is so; what it said then."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (said := is_so()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not so after {PATIENCE_SECONDS} s: {what}")
        time.sleep(LOOK_SECONDS)
    return said


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that the recorder reads."""
    names = ("APILOG_", "NOTIFY_SOCKET", "WATCHDOG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(names)}


class Process:
    """A child that is ended with its block; its output is shown if the block fails."""

    def __init__(self, arguments, environment=None, **options):
        self.log = tempfile.NamedTemporaryFile(prefix="api-log-lab-", suffix=".log")
        self.name = Path(arguments[0]).name
        self.child = subprocess.Popen(
            arguments, env=environment or clean_environment(), stdout=self.log, stderr=self.log, **options
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            print(f"--- {self.name} said:\n{self.said()[-6000:]}\n---", file=sys.stderr)
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def said(self) -> str:
        return Path(self.log.name).read_text(errors="replace")

    def runs(self) -> bool:
        return self.child.poll() is None

    def end(self) -> int:
        """Ends it as an operator does; its exit code."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(PATIENCE_SECONDS)


class Recorder(Process):
    """The built program in front of a gateway, on free ports; perhaps started otherwise."""

    def __init__(self, upstream: str, data_dir, command=None, **settings):
        self.proxy, self.api, self.data_dir = free_port(), free_port(), Path(data_dir)
        self.environment = clean_environment() | {
            "APILOG_PROXY_LISTEN": f"127.0.0.1:{self.proxy}",
            "APILOG_PROXY_UPSTREAM": upstream,
            "APILOG_API_LISTEN": f"127.0.0.1:{self.api}",
            "APILOG_STORAGE_DATA_DIR": str(data_dir),
        }
        self.environment |= {f"APILOG_{name.upper()}": value for name, value in settings.items()}
        super().__init__(command or [BINARY], self.environment)

    def __enter__(self):
        wait_until(self.is_healthy, "the recorder is healthy")
        return self

    def is_healthy(self) -> bool:
        assert self.runs(), f"the recorder ended:\n{self.said()}"
        asked = [BINARY, "healthcheck"]
        return subprocess.run(asked, env=self.environment, capture_output=True).returncode == 0

    @property
    def token(self) -> str:
        return (self.data_dir / "admin_token").read_text().strip()

    def get(self, path: str):
        """Asks the read API."""
        return get_json("127.0.0.1", self.api, path, self.token)


def get_json(host: str, port: int, path: str, token: str):
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, f"{path}: {answer.status} {body!r}"
        return json.loads(body)


class Wire:
    """A connection spoken by hand: what is asserted is bytes."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, name: str = "localhost"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=name)
        self.read = b""

    def send(self, data: bytes):
        self.socket.sendall(data)

    def until(self, mark: bytes) -> bytes:
        """Everything read so far, which has this in it."""
        while mark not in self.read:
            data = self.socket.recv(65536)
            assert data, f"closed before {mark!r}: {self.read!r}"
            self.read += data
        return self.read

    def rest(self) -> bytes:
        """Everything, once the other side has closed."""
        while data := self.socket.recv(65536):
            self.read += data
        return self.read

    def close(self):
        self.socket.close()


def dechunked(data: bytes) -> bytes:
    """The body of a chunked message."""
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body
        body, data = body + data[:length], data[length + 2 :]


class Gateway:
    """A gateway spoken by hand: whoever has started it decides when it reads and what it says."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE_SECONDS)
        self.port = self.listener.getsockname()[1]

    def accept(self) -> Wire:
        wire = Wire.__new__(Wire)
        wire.socket, _ = self.listener.accept()
        wire.socket.settimeout(PATIENCE_SECONDS)
        wire.read = b""
        return wire

    def close(self):
        self.listener.close()


class Beside(threading.Thread):
    """Runs a function beside the test, and raises there what it raised."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.error = work, None
        self.start()

    def run(self):
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001: it is raised again by `done`
            self.error = error

    def done(self):
        self.join(PATIENCE_SECONDS)
        assert not self.is_alive(), "it does not end"
        if self.error:
            raise self.error
