"""The image without an engine: what its build is given is enough, and its last stage holds all that the program needs.

`build` copies what the Dockerfile copies, and has cargo check the binary there. `run` makes the last stage as a folder,
with this machine's binary and the libraries that it is linked to in place of the static one, and runs it there with
chroot under the image's user: no shell, no /etc, no /tmp.
"""

import http.client
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import lab

DOCKERFILE = lab.ROOT / "deploy/docker/Dockerfile"


def instructions() -> list[tuple[str, str, str]]:
    """Stage, instruction and the rest of each, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    stage, found = "", []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            stage = rest.split(" AS ")[-1] if " AS " in rest else rest
        found.append((stage, word, rest))
    return found


def of(stage: str, word: str) -> list[str]:
    return [rest for it, name, rest in instructions() if (it, name) == (stage, word)]


def build() -> None:
    """The build stage's own command, made quick: the files that it has, and `check` instead of `build --profile dist`."""
    command = next(it for it in of("build", "RUN") if "cargo build" in it)
    arguments = re.search(r"cargo build( --profile dist)( [^&]*?) &&", command)
    assert arguments, command
    allowed = (lab.ROOT / "deploy/docker/Dockerfile.dockerignore").read_text().splitlines()
    with tempfile.TemporaryDirectory(prefix="api-log-image-") as folder:
        for copied in of("build", "COPY"):
            *sources, target = copied.split()
            for source in sources:
                assert f"!{source}" in allowed, f"{source} is not in the build's context"
                into = Path(folder) / target / (source if target == "./" else "")
                if (lab.ROOT / source).is_dir():
                    shutil.copytree(lab.ROOT / source, Path(folder) / target)
                else:
                    shutil.copy(lab.ROOT / source, into)
        for left_out in (it for it in allowed if it and it[0] not in "#!*"):
            shutil.rmtree(Path(folder) / left_out)
        environment = os.environ | {"CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(lab.ROOT / "target"))}
        subprocess.run(["cargo", "check", "--quiet", *arguments[2].split()], cwd=folder, env=environment, check=True)
    rust = re.match(r"rust:(\d+\.\d+)", of("build", "FROM")[0])[1]
    wanted = re.search(r'rust-version = "(\d+\.\d+)"', (lab.ROOT / "Cargo.toml").read_text())[1]
    assert rust == wanted, f"the Dockerfile's Rust is {rust}, Cargo.toml wants {wanted}"
    print(f"what the build stage copies is enough for cargo check{arguments[2]}, and its Rust is {rust}")


class Rootfs:
    """The last stage as a folder."""

    def __init__(self, folder: str):
        self.root = Path(folder)
        self.user, self.group = of("scratch", "USER")[0].split(":")
        self.folder = of("scratch", "WORKDIR")[0]
        self.environment = dict(pair.split("=", 1) for it in of("scratch", "ENV") for pair in it.split())
        self.entry = json.loads(of("scratch", "ENTRYPOINT")[0])
        self.healthcheck = json.loads(re.search(r"CMD (\[.*\])", of("scratch", "HEALTHCHECK")[0])[1])
        for copied in of("scratch", "COPY"):
            *options, source, target = copied.split()
            self.add(source, target.lstrip("/"), options)
        # What every engine mounts.
        for name in ("proc", "dev/shm"):
            (self.root / name).mkdir(parents=True)
        os.chmod(self.root / "dev/shm", 0o1777)
        for name in ("null", "random", "urandom", "zero"):
            os.mknod(self.root / "dev" / name, 0o666 | stat.S_IFCHR, os.stat(f"/dev/{name}").st_rdev)
            os.chmod(self.root / "dev" / name, 0o666)

    def add(self, source: str, target: str, options: list[str]):
        into = self.root / target
        into.parent.mkdir(parents=True, exist_ok=True)
        if source == "/api-log":
            shutil.copy(lab.BINARY, into)
            self.add_libraries()
        elif source == "/data":
            into.mkdir()
        else:
            shutil.copy(source, into)
        for option in options:
            if option.startswith("--chown="):
                user, group = option.removeprefix("--chown=").split(":")
                os.chown(into, int(user), int(group))
            elif option.startswith("--chmod="):
                os.chmod(into, int(option.removeprefix("--chmod="), 8))

    def add_libraries(self):
        """Not of the image, whose binary is static."""
        linked = subprocess.run(["ldd", lab.BINARY], capture_output=True, text=True)
        for library in re.findall(r"(/\S+)", linked.stdout):
            into = self.root / library.lstrip("/")
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, into)

    def enter(self):
        """What an engine does between fork and exec."""
        os.chroot(self.root)
        os.chdir(self.folder)
        os.setgroups([])
        os.setgid(int(self.group))
        os.setuid(int(self.user))


def run() -> None:
    if os.getuid() != 0:
        lab.skip("chroot wants root")
    if subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode:
        lab.skip("nothing can be mounted here")
    gateway = lab.Process([lab.BINARY, "mock", "--listen", f"127.0.0.1:{(port := lab.free_port())}"])
    with tempfile.TemporaryDirectory(prefix="api-log-image-") as folder, gateway:
        os.chmod(folder, 0o755)
        image = Rootfs(folder)
        proxy, api = lab.free_port(), lab.free_port()
        environment = image.environment | {
            "APILOG_PROXY_LISTEN": f":{proxy}",
            "APILOG_API_LISTEN": f":{api}",
            "APILOG_PROXY_UPSTREAM": f"http://127.0.0.1:{port}",
            # Its release is on another machine, and that it cannot be had there is a warning.
            "APILOG_VIEWER_ENABLED": "false",
        }
        shm, proc = image.root / "dev/shm", image.root / "proc"
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320m,mode=1777", "shm", shm], check=True)
        try:
            subprocess.run(["mount", "-t", "proc", "proc", proc], check=True)
            with lab.Process(image.entry, environment, preexec_fn=image.enter) as recorder:

                def is_healthy():
                    assert recorder.runs(), recorder.said()
                    asked = subprocess.run(
                        image.healthcheck, env=environment, preexec_fn=image.enter, capture_output=True
                    )
                    return asked.returncode == 0

                lab.wait_until(is_healthy, "the image's own health check says so")
                use(image, proxy, api)
                assert recorder.end() == 0
                for word in ("WARN", "ERROR"):
                    told = [it for it in recorder.said().splitlines() if f'"level":"{word}"' in it]
                    told = [it for it in told if "can be reached from other machines" not in it]
                    assert not told, told
        finally:
            subprocess.run(["umount", proc], check=False)
            subprocess.run(["umount", shm], check=False)
    print("the image's last stage serves, records and exports under its user, with nothing else in it")


def use(image: Rootfs, proxy: int, api: int) -> None:
    """What touches files: a trace, the index with a sort on disk, an export, the token."""
    for number in range(20):
        connection = http.client.HTTPConnection("127.0.0.1", proxy, timeout=lab.PATIENCE_SECONDS)
        body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"number {number}"}]})
        connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer sk-{number}"})
        assert connection.getresponse().status == 200
        connection.close()
    token = (image.root / "data/admin_token").read_text().strip()

    def listed():
        return len(lab.get_json("127.0.0.1", api, "/api/traces?limit=50", token)["traces"]) == 20

    lab.wait_until(listed, "20 traces are listed")
    connection = http.client.HTTPConnection("127.0.0.1", api, timeout=lab.PATIENCE_SECONDS)
    connection.request("GET", "/api/export?format=jsonl", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    exported = answer.read()
    assert answer.status == 200, f"{answer.status} {exported!r}"
    assert len(exported.splitlines()) == 20, f"{len(exported.splitlines())} lines exported"
    owner = (image.root / "data/index.sqlite").stat()
    assert (owner.st_uid, owner.st_mode & 0o777) == (int(image.user), 0o600)
    health = lab.get_json("127.0.0.1", api, "/healthz", token)
    assert health["degraded"] == [], health["degraded"]


if __name__ == "__main__":
    {"build": build, "run": run}[sys.argv[1]]()
