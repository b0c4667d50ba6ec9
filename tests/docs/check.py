"""Runs the documents' commands, each page in a network of its own with a gateway and a recorder, and looks up names."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import names
import pages
import seed

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/deploy"))
import lab  # noqa: E402: it is found by the line before

BINARY = Path(lab.BINARY).resolve()
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", "benches/load/README.md"]
# Every command of these shows something.
SHOWING = {"docs/recipes.md", "wrong.md"}
HEAD = re.compile(r"\|\s*head\b")
# A block that does not end by itself fails.
MOST_SECONDS = 120
# Between the first signal to a command that goes on, and the last.
END_SECONDS = 30


def all_pages() -> list[str]:
    return PAGES + sorted(str(it.relative_to(ROOT)) for it in ROOT.glob("docs/*.md"))


@dataclass
class Outcome:
    block: pages.Block
    error: str = ""


class Reader:
    """Who reads a page at a prompt: a folder, a recorder in front of a gateway, and what was set so far."""

    def __init__(self, folder: Path, seeded: Path):
        self.folder = folder
        shutil.copytree(seeded, folder / "data")
        for name in ("config", "deploy", "docs", "tests", "README.md"):
            (folder / name).symlink_to(ROOT / name)
        for name in ("bin", "target/release"):
            (folder / name).mkdir(parents=True)
            (folder / name / "api-log").symlink_to(BINARY)
        (folder / "bin/duckdb").symlink_to(Path(sys.executable).parent / "duckdb")
        self.environment = lab.clean_environment() | {
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "HOME": str(folder),
            "MANPAGER": "cat",
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
        }
        self.state = folder / ".state"
        self.state.touch()
        self.running = contextlib.ExitStack()

    def start(self) -> None:
        """A gateway and a recorder, where the documents say that they listen."""
        data = self.folder / "data"
        self.running.enter_context(lab.Process([BINARY, "mock"], self.environment, cwd=self.folder))
        recorder = self.running.enter_context(lab.Process([BINARY], self.environment, cwd=self.folder))

        def is_ready() -> bool:
            assert recorder.runs(), f"the recorder ended:\n{recorder.said()}"
            asked = subprocess.run([BINARY, "healthcheck"], env=self.environment, cwd=self.folder, capture_output=True)
            if asked.returncode or not (data / "admin_token").exists():
                return False
            token = (data / "admin_token").read_text().strip()
            index = lab.get_json("127.0.0.1", 7862, "/api/index", token)
            return index["state"] == "current" and not list(data.glob(f"{seed.EXAMPLE_DAY}/*.jsonl"))

        lab.wait_until(is_ready, "the recorder has indexed what is there and sealed the day that is over")

    def stop(self) -> None:
        self.running.close()

    def run(self, text: str, block: pages.Block) -> str:
        """Runs it; why that is wrong, or nothing."""
        kept = f"{{ declare -p | grep -v '^declare -[a-zA-Z]*r'; declare -f; }} >{self.state}.new"
        script = f". {self.state} 2>/dev/null\nset -euo pipefail\n{text}\nset +euo pipefail\n{kept}\nmv {self.state}.new {self.state}\n"
        with tempfile.TemporaryFile() as out:
            child = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code = wait(child, block.seconds)
            out.seek(0)
            said = out.read().decode(errors="replace")
        # What a reader stops with Ctrl-C may say so.
        right = {block.code, 130, -signal.SIGINT} if block.seconds else {block.code}
        # Who writes to a `head` that has had enough is ended by the pipe (128 + SIGPIPE), or is not, as it happens.
        if HEAD.search(text):
            right.add(128 + signal.SIGPIPE)
        if code not in right:
            return f"exit code {code}\n{said[-3000:]}"
        if block.page in SHOWING and not block.may_be_empty and not said.strip():
            return f"it shows nothing:\n{text}"
        return ""


def wait(child: subprocess.Popen, seconds: int) -> int:
    """Its exit code; what is meant to go on is ended as at a prompt."""
    try:
        code = child.wait(seconds or MOST_SECONDS)
        return -1 if seconds and code == 0 else code
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGINT if seconds else signal.SIGKILL)
    try:
        return child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return child.wait()


def run_page(root: Path, name: str, seeded: Path) -> list[Outcome]:
    """Runs a page's blocks, in their order."""
    outcomes = []
    blocks = [it for it in pages.read(root, name).blocks if it.language in ("sh", "bash") and not it.not_run]
    if not blocks:
        return []
    with tempfile.TemporaryDirectory(prefix="api-log-docs-") as folder:
        reader = Reader(Path(folder), seeded)
        try:
            for at, block in enumerate(blocks):
                if at == 0 or block.is_alone != blocks[at - 1].is_alone:
                    reader.stop()
                    if not block.is_alone:
                        reader.start()
                pieces = block.text.split("\n\n") if name in SHOWING else [block.text]
                outcome = Outcome(block)
                for piece in pieces:
                    outcome.error = outcome.error or reader.run(piece, block)
                outcomes.append(outcome)
            if name == "README.md":
                outcomes += names.check(ROOT, all_pages(), reader.folder, BINARY)
        finally:
            reader.stop()
    return outcomes


def loopback_up() -> None:
    """Nothing else is in this network; without it not even localhost is."""
    with socket.socket() as it:
        request = struct.pack("16sh14x", b"lo", 0x41)
        fcntl.ioctl(it, 0x8914, request)


def inside(root: str, name: str, seeded: str) -> None:
    """One page, in a network of its own."""
    loopback_up()
    failed = 0
    for outcome in run_page(Path(root), name, Path(seeded)):
        failed += bool(outcome.error)
        print(f"{'FAIL' if outcome.error else 'ok  '}  {outcome.block.place}", flush=True)
        if outcome.error:
            print("      " + outcome.error.replace("\n", "\n      "), flush=True)
    sys.exit(1 if failed else 0)


def outside(wanted: list[str]) -> int:
    known = all_pages()
    for name in wanted:
        assert name in known, f"there is no page {name}; there are {', '.join(known)}"
    passed = failed = 0
    left_out = []
    with tempfile.TemporaryDirectory(prefix="api-log-docs-seed-") as folder:
        seeded = Path(folder) / "data"
        seed.make(BINARY, seeded, lab.clean_environment())
        # What must fail does.
        said = run_in_network(Path(__file__).parent, "wrong.md", seeded)
        count = sum(it.language == "sh" for it in pages.read(Path(__file__).parent, "wrong.md").blocks)
        assert said.count("FAIL") == count and "ok  " not in said, f"wrong blocks are let through:\n{said}"
        for name in wanted or [it for it in known if (ROOT / it).exists()]:
            said = run_in_network(ROOT, name, seeded)
            print(said, end="", flush=True)
            passed += sum(line.startswith("ok  ") for line in said.splitlines())
            failed += sum(line.startswith("FAIL") for line in said.splitlines())
            blocks = pages.read(ROOT, name).blocks
            left_out += [it for it in blocks if it.language in ("sh", "bash") and it.not_run]
    for block in left_out:
        print(f"not run: {block.place}: {block.not_run}")
    print(f"{passed} passed, {failed} failed, {len(left_out)} not run")
    return 1 if failed else 0


def run_in_network(root: Path, name: str, seeded: Path) -> str:
    """What is said of a page; a failure that no block explains is one too."""
    command = ["unshare", "--map-root-user", "--net", sys.executable, __file__, "--inside", root, name, seeded]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = done.stdout.decode(errors="replace")
    return said if done.returncode == 0 or "FAIL" in said else f"FAIL  {name}\n{said}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(*sys.argv[2:5])
    else:
        sys.exit(outside(sys.argv[1:]))
