"""Whether the unit's filter of system calls lets the recorder do its work: strace tells what it calls, systemd what it
may. What the filter denies is EPERM there, which nothing of the recorder expects.
"""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import lab
from scraped import send
from unit import read

NOBODY = 65534
UNIT = lab.ROOT / "deploy/systemd/api-log.service"


def group(name: str) -> set[str]:
    """The calls of one of systemd's groups, those of the groups in it included."""
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True
    ).stdout
    words = [line.strip() for line in told.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for it in words for call in (group(it) if it.startswith("@") else {it})}


def allowed() -> set[str]:
    """What the unit's lines come to: the first one allows, those with a tilde take away."""
    calls = set()
    for line in read(UNIT)["SystemCallFilter"]:
        named = {call for it in line.removeprefix("~").split() for call in (group(it) if it[0] == "@" else {it})}
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def work(recorder: lab.Recorder) -> None:
    """Records more than a segment, has it sealed, searches, exports, makes the index anew, reads its files again, ends."""
    for number in range(40):
        send(recorder, "/v1/chat/completions", "ab \n" * 10_000 + str(number))
    lab.wait_until(lambda: len(recorder.get("/api/traces?limit=50")["traces"]) == 40, "40 traces are listed")
    lab.wait_until(lambda: list(recorder.data_dir.glob("*/*.zst")), "a segment is sealed")
    assert recorder.get("/api/traces?q=ab")["traces"], "nothing is found"
    headers = {"Authorization": f"Bearer {recorder.token}"}
    for method, path, status in (("GET", "/api/export", 200), ("POST", "/api/index/rebuild", 202)):
        connection = http.client.HTTPConnection("127.0.0.1", recorder.api, timeout=lab.PATIENCE_SECONDS)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status, f"{path}: {answer.status}"
        connection.close()
    lab.wait_until(lambda: recorder.get("/api/index")["rebuild"]["state"] == "done", "the index is made anew")
    # The tracer passes no signals on.
    for task in Path(f"/proc/{recorder.child.pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            os.kill(int(child), signal.SIGHUP)
            lab.wait_until(lambda: recorder.get("/healthz")["reload"], "its files are read again")
            os.kill(int(child), signal.SIGTERM)
    assert recorder.child.wait(lab.PATIENCE_SECONDS) == 0


def main() -> None:
    for program in ("strace", "systemd-analyze"):
        if shutil.which(program) is None:
            lab.skip(f"{program} is not installed")
    if subprocess.run(["strace", "-f", "true"], capture_output=True).returncode != 0:
        lab.skip("processes cannot be traced here")
    with tempfile.TemporaryDirectory(prefix="api-log-syscalls-") as name:
        folder = Path(name)
        told = folder / "calls"
        gateway = f"127.0.0.1:{lab.free_port()}"
        by = ["strace", "-f", "-qq", "-s", "0", "-o", str(told)]
        if os.getuid() == 0:
            # SQLite gives files to their owner when it is root.
            os.chown(folder, NOBODY, NOBODY)
            by = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *by]
        # Where everybody may read it.
        program = shutil.copy(lab.BINARY, folder / "api-log")
        settings = {"index_full_text": "true", "storage_segment_bytes": "1MiB", "storage_fsync": "always"}
        with lab.Process([lab.BINARY, "mock", "--listen", gateway]) as mock:
            lab.wait_until(lambda: "listening" in mock.said(), "the mock listens")
            with lab.Recorder(f"http://{gateway}", folder / "data", [*by, program], **settings) as recorder:
                work(recorder)
        lines = told.read_text().splitlines()
    calls = {found[1] for line in lines if (found := re.match(r"\d+ +(\w+)\(", line))}
    # strace begins with the exec that systemd makes before the filter.
    denied = calls - allowed() - {"execve"}
    assert len(calls) > 40, calls
    assert not denied, f"the unit denies {sorted(denied)}"
    mapped = [it for it in lines if re.search(r"\b(mmap|mprotect)\(", it) and "PROT_WRITE|PROT_EXEC" in it]
    assert not mapped, f"MemoryDenyWriteExecute denies {mapped[0]}"
    families = {it for line in lines for it in re.findall(r"\bsocket\((AF_\w+)", line)}
    may = set(read(UNIT)["RestrictAddressFamilies"][0].split())
    assert families <= may, f"RestrictAddressFamilies denies {sorted(families - may)}"
    print(f"the {len(calls)} system calls and {len(families)} kinds of sockets that it uses are allowed by the unit")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(str(error))
