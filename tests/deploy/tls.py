"""The TLS samples, served by the real program: nothing is held back, nothing is changed, and the API is read through it.

tls.py nginx|caddy. What is not the sample's affair (ports, certificates) is put into a copy of it; each such change must
meet its place, so that a sample that was rewritten is noticed.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import lab
from lab import Beside, Gateway, Recorder, Wire

CLIENTS, READERS = "llm.example.com", "traces.example.com"
EVENTS = [
    b'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n',
    b'data: {"n": 1.0e2, "n": 2}\n\n',
    b"data: [DONE]\n\n",
]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A throwaway certificate for both names, and its key."""
    pem, key = folder / "both.pem", folder / "both.key"
    names = f"subjectAltName=DNS:{CLIENTS},DNS:{READERS}"
    asked = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=api-log test"]
    asked += ["-addext", names, "-keyout", str(key), "-out", str(pem)]
    subprocess.run(asked, check=True, capture_output=True)
    return pem, key


def changed(text: str, changes: list[tuple[str, str, int]]) -> str:
    """The text with each pattern replaced, which must be found so many times."""
    for pattern, replacement, times in changes:
        text, found = re.subn(pattern, replacement, text, flags=re.M)
        assert found == times, f"the sample has {pattern!r} {found} times, not {times}"
    return text


def nginx(folder: Path, port: int, recorder: Recorder) -> list[str]:
    """Its configuration in this folder; the command that serves it."""
    pem, key = certificate(folder)
    sample = changed(
        (lab.ROOT / "deploy/nginx/api-log.conf").read_text(),
        [
            (r"listen 443 ", f"listen 127.0.0.1:{port} ", 2),
            (r"^ *listen \[::\]:443 .*\n", "", 2),
            (r"ssl_certificate  .*;", f"ssl_certificate {pem};", 2),
            (r"ssl_certificate_key .*;", f"ssl_certificate_key {key};", 2),
            (r"127\.0\.0\.1:7861;", f"127.0.0.1:{recorder.proxy};", 1),
            (r"127\.0\.0\.1:7862;", f"127.0.0.1:{recorder.api};", 1),
        ],
    )
    (folder / "api-log.conf").write_text(sample)
    user = "user root;\n" if os.getuid() == 0 else ""
    # The rest is as Debian has it, for all that matters here.
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n"
        "  access_log off;\n  sendfile on;\n  gzip on;\n"
        + "".join(f"  {it}_temp_path {folder}/{it};\n" for it in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + f"  include {folder}/api-log.conf;\n}}\n"
    )
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert tested.returncode == 0 and "[warn]" not in tested.stderr, tested.stderr
    return command


def caddy(folder: Path, port: int, recorder: Recorder) -> list[str]:
    """The same of Caddy."""
    sample = lab.ROOT / "deploy/caddy/Caddyfile"
    # As it stands: with names whose certificates would have to be fetched, it can only be checked.
    checked = subprocess.run(
        ["caddy", "validate", "--adapter", "caddyfile", "--config", str(sample)],
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(folder)},
    )
    assert checked.returncode == 0, checked.stderr
    formatted = subprocess.run(["caddy", "fmt", str(sample)], capture_output=True, text=True)
    assert formatted.stdout == sample.read_text(), "caddy fmt would write it otherwise"
    pem, key = certificate(folder)
    text = changed(
        sample.read_text(),
        [
            (r"^(llm|traces)\.example\.com \{$", rf"\1.example.com:{port} {{\n\tbind 127.0.0.1\n\ttls {pem} {key}", 2),
            (r"127\.0\.0\.1:7861 ", f"127.0.0.1:{recorder.proxy} ", 1),
            (r"127\.0\.0\.1:7862 ", f"127.0.0.1:{recorder.api} ", 1),
        ],
    )
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https disable_redirects\n\tgrace_period 2s\n}\n" + text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


class Front:
    """The program that speaks TLS, and whoever connects to it."""

    def __init__(self, folder: Path, port: int):
        self.port = port
        self.trust = ssl.create_default_context(cafile=str(folder / "both.pem"))
        self.trust.set_alpn_protocols(["http/1.1"])

    def connect(self, name: str) -> Wire:
        return Wire(self.port, self.trust, name)

    def is_up(self) -> bool:
        try:
            self.connect(CLIENTS).close()
        except OSError:
            return False
        return True

    def read(self, path: str, token: str) -> tuple[int, bytes]:
        """Asks the read API through it."""
        wire = self.connect(READERS)
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        wire.send(f"GET {path} HTTP/1.1\r\nHost: {READERS}\r\n{authorization}Connection: close\r\n\r\n".encode())
        head, _, body = wire.rest().partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head.lower():
            body = lab.dechunked(body)
        return int(head.split()[1]), body


def nothing_is_held_back(front: Front, gateway: Gateway) -> None:
    """Each side sends its next piece only when the other has the one before: whoever buffers ends the test."""
    client = front.connect(CLIENTS)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {CLIENTS}\r\nAuthorization: Bearer sk-tls\r\n"
    client.send(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    first, second = b'{"model":"gpt-4o-mini","stream":true,', b'"messages":[{"role":"user","content":"Hi"}]}'
    client.send(b"%x\r\n%s\r\n" % (len(first), first))
    upstream = gateway.accept()
    upstream.until(first)
    client.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(second), second))
    upstream.until(b"0\r\n\r\n")
    head, _, body = upstream.read.partition(b"\r\n\r\n")
    assert lab.dechunked(body) == first + second
    lower = head.lower()
    assert b"authorization: bearer sk-tls" in lower and b"\r\nx-forwarded-for: 127.0.0.1" in lower, head
    upstream.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nServer: the-gateway\r\nX-Request-Id: 42\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    for event in EVENTS:
        upstream.send(b"%x\r\n%s\r\n" % (len(event), event))
        client.until(event)
    upstream.send(b"0\r\n\r\n")
    upstream.close()
    client.until(b"0\r\n\r\n")
    head, _, body = client.read.partition(b"\r\n\r\n")
    assert lab.dechunked(body) == b"".join(EVENTS), body
    lower = head.lower()
    assert b"server: the-gateway" in lower and b"x-request-id: 42" in lower, head
    assert b"content-encoding" not in lower, head
    client.close()


def large_bodies_pass(front: Front, gateway: Gateway) -> None:
    """More than any limit that such programs have by default, both ways, byte for byte."""
    sent = os.urandom(9 << 20)
    client = front.connect(CLIENTS)

    def send():
        head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: {CLIENTS}\r\nConnection: close\r\n"
        client.send(f"{head}X_odd.name: kept\r\nContent-Length: {len(sent)}\r\n\r\n".encode() + sent)

    sending = Beside(send)
    upstream = gateway.accept()
    head, _, _ = upstream.until(b"\r\n\r\n").partition(b"\r\n\r\n")
    while len(upstream.read) < len(head) + 4 + len(sent):
        data = upstream.socket.recv(1 << 20)
        assert data, "the upload broke off"
        upstream.read += data
    sending.done()
    assert hashlib.sha256(upstream.read[len(head) + 4 :]).digest() == hashlib.sha256(sent).digest()
    assert b"x_odd.name: kept" in head.lower(), head

    def answer():
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(sent) + sent)
        upstream.close()

    answering = Beside(answer)
    _, _, got = client.rest().partition(b"\r\n\r\n")
    answering.done()
    assert hashlib.sha256(got).digest() == hashlib.sha256(sent).digest(), f"{len(got)} of {len(sent)} bytes"


def sockets_pass(front: Front, gateway: Gateway) -> None:
    """A WebSocket, both ways."""
    client = front.connect(CLIENTS)
    key = base64.b64encode(os.urandom(16))
    client.send(
        f"GET /v1/realtime HTTP/1.1\r\nHost: {CLIENTS}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n".encode()
    )
    upstream = gateway.accept()
    head = upstream.until(b"\r\n\r\n").lower()
    assert b"upgrade: websocket" in head and b"connection: upgrade" in head, head
    accepted = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    upstream.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + accepted + b"\r\n\r\n"
    )
    client.until(b"\r\n\r\n")
    assert client.read.startswith(b"HTTP/1.1 101 "), client.read
    upstream.send(b"\x81\x05hello")
    client.until(b"\x81\x05hello")
    client.send(b"\x81\x85\0\0\0\0world")
    upstream.until(b"\x81\x85\0\0\0\0world")
    client.send(b"\x88\x80\0\0\0\0")
    upstream.until(b"\x88\x80\0\0\0\0")
    upstream.close()
    client.close()


def http2_passes(front: Front, gateway: Gateway, folder: Path) -> None:
    """The same answer for a client that speaks HTTP/2, where curl is there to be one."""
    if shutil.which("curl") is None:
        print("no curl: HTTP/2 is not tried")
        return
    curl = ["curl", "--silent", "--show-error", "--http2", "--cacert", str(folder / "both.pem")]
    curl += ["--resolve", f"{CLIENTS}:{front.port}:127.0.0.1", "--write-out", "%{http_version} %{http_code}"]
    curl += ["--data-binary", '{"model":"m"}', "--output", str(folder / "body")]
    curl += [f"https://{CLIENTS}:{front.port}/v1/messages"]
    with subprocess.Popen(curl, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        upstream = gateway.accept()
        upstream.until(b'{"model":"m"}')
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        upstream.send(b"".join(EVENTS))
        upstream.close()
        said, _ = child.communicate(timeout=lab.PATIENCE_SECONDS)
    assert said == "2 200", said
    assert (folder / "body").read_bytes() == b"".join(EVENTS)


def the_api_is_read(front: Front, gateway: Gateway, recorder: Recorder, most: int) -> None:
    """The same as without it, and live; and only what is meant for it."""
    lab.wait_until(lambda: len(recorder.get("/api/traces")["traces"]) >= most, f"{most} traces are listed")
    status, body = front.read("/api/traces", recorder.token)
    assert status == 200 and json.loads(body)["traces"] == recorder.get("/api/traces")["traces"], body
    assert front.read("/api/traces", "")[0] == 401
    assert front.read("/healthz", "")[0] == 200
    assert front.read("/metrics", "")[0] == 403
    streamed = [it for it in json.loads(body)["traces"] if it["path"] == "/v1/chat/completions"]
    detail = json.loads(front.read(f"/api/traces/{streamed[0]['id']}", recorder.token)[1])
    assert detail["trace"]["client"].startswith("127.0.0.1"), detail["trace"]["client"]
    assert len(detail["trace"]["resp"]["events"]) >= 2, detail["trace"]["resp"]

    tail = front.connect(READERS)
    tail.send(f"GET /api/tail HTTP/1.1\r\nHost: {READERS}\r\nAuthorization: Bearer {recorder.token}\r\n\r\n".encode())
    tail.until(b"\r\n\r\n")
    assert tail.read.startswith(b"HTTP/1.1 200"), tail.read
    nothing_is_held_back(front, gateway)
    tail.until(b"/v1/chat/completions")
    tail.close()


def main(program: str) -> None:
    if shutil.which(program) is None:
        lab.skip(f"{program} is not installed")
    with tempfile.TemporaryDirectory(prefix=f"api-log-{program}-") as name:
        folder, port, gateway = Path(name), lab.free_port(), Gateway()
        with Recorder(f"http://127.0.0.1:{gateway.port}", folder / "data") as recorder:
            command = {"nginx": nginx, "caddy": caddy}[program](folder, port, recorder)
            with lab.Process(command, os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder)}) as served:
                front = Front(folder, port)

                def is_up():
                    assert served.runs(), served.said()
                    return front.is_up()

                lab.wait_until(is_up, f"{program} serves")
                nothing_is_held_back(front, gateway)
                large_bodies_pass(front, gateway)
                sockets_pass(front, gateway)
                http2_passes(front, gateway, folder)
                the_api_is_read(front, gateway, recorder, 3)
            ledger = recorder.get("/healthz")["ledger"]
            assert ledger["balanced"] and sum(ledger["dropped"].values()) == 0, ledger
            assert recorder.end() == 0
        gateway.close()
    print(f"{program}: streams both ways unbuffered, 9 MiB both ways, HTTP/2, a WebSocket, the API and its tail")


if __name__ == "__main__":
    main(sys.argv[1])
