"""Runs a compose file's services as processes of this machine, where no container engine is.

The file is what is tested: commands, environment, health checks, order and grace come from it. Names and ports become
addresses of this machine. A key that is neither done nor known to be without meaning here is an error, so that
nothing of the file is passed over in silence.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "deploy"))
import lab

DONE = {"command", "environment", "healthcheck", "ports", "volumes", "depends_on", "stop_grace_period"}
# What only a container has.
WITHOUT_MEANING = {"image", "build", "read_only", "cap_drop", "security_opt", "shm_size"}
# `host:port` of a URL or of an address to listen at.
PLACE = re.compile(r"(?P<host>[A-Za-z0-9_.-]*):(?P<port>\d+)\b")


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


class Service:
    """One service, stopped and started at will; its volumes stay."""

    def __init__(self, stack, name: str, spec: dict):
        unknown = set(spec) - DONE - WITHOUT_MEANING
        assert not unknown, f"{name}: {sorted(unknown)} cannot be run natively; teach it to, or say why not"
        self.stack, self.name, self.spec = stack, name, spec
        self.process = None
        self.volumes = {}
        for volume in spec.get("volumes", []):
            source, target = volume.split(":")[:2]
            assert source in stack.volumes, f"{name}: {source} is not a declared volume"
            self.volumes[target] = stack.volumes[source]
        # What the image says (deploy/docker/Dockerfile), below what the service says.
        environment = stack.image_environment | {key: str(value) for key, value in spec.get("environment", {}).items()}
        self.environment = lab.clean_environment()
        self.environment |= {key: self.here(value) for key, value in environment.items()}

    def here(self, text: str) -> str:
        """The text with its places and mounted folders as they are on this machine."""
        for target, folder in self.volumes.items():
            if text == target or text.startswith(target + "/"):
                return str(folder) + text.removeprefix(target)

        def moved(found: re.Match) -> str:
            host, port = found["host"], int(found["port"])
            service = self.name if host in ("", "127.0.0.1", "localhost", "0.0.0.0") else host
            if service not in self.stack.names:
                return found[0]
            return f"127.0.0.1:{self.stack.port(service, port)}"

        return PLACE.sub(moved, text)

    def command(self, words) -> list[str]:
        assert isinstance(words, list), f"{self.name}: write commands as lists, the image has no shell"
        return [self.here(str(word)) for word in words]

    def start(self):
        for other, condition in self.spec.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}, condition
            assert self.stack.services[other].is_healthy(), f"{self.name} starts before {other} is healthy"
        arguments = [lab.BINARY, *self.command(self.spec.get("command", []))]
        self.process = lab.Process(arguments, self.environment, cwd=next(iter(self.volumes.values()), None))
        retries, interval = self.spec["healthcheck"]["retries"], seconds(self.spec["healthcheck"]["interval"])
        assert retries * interval >= 10, f"{self.name}: a slow machine needs more time to become healthy"
        lab.wait_until(self.is_healthy, f"{self.name} is healthy")

    def is_healthy(self) -> bool:
        """What its own health check says."""
        assert self.process.runs(), f"{self.name} ended:\n{self.process.said()}"
        kind, program, *rest = self.spec["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "/api-log"), "the image holds nothing else that could be run"
        asked = [lab.BINARY, *self.command(rest)]
        within = seconds(self.spec["healthcheck"]["timeout"]) + lab.PATIENCE_SECONDS
        return subprocess.run(asked, env=self.environment, capture_output=True, timeout=within).returncode == 0

    def stop(self) -> int:
        """As the engine does; its exit code. The engine would kill it when the grace is over."""
        grace = self.spec.get("stop_grace_period")
        if grace and "APILOG_SHUTDOWN_GRACE" in self.environment:
            assert seconds(grace) > seconds(self.environment["APILOG_SHUTDOWN_GRACE"]), self.name
        return self.process.end()


class Stack:
    """A compose file as processes."""

    def __init__(self, file: Path):
        spec = yaml.safe_load(file.read_text())
        unknown = {key for key in spec if not key.startswith("x-")} - {"services", "volumes"}
        assert not unknown, f"{file}: {sorted(unknown)} are not known"
        self.folder = tempfile.TemporaryDirectory(prefix="api-log-stack-")
        self.names = set(spec["services"])
        self.ports, self.volumes, self.services = {}, {}, {}
        self.image_environment = image_environment(lab.ROOT / "deploy/docker/Dockerfile")
        for name in spec.get("volumes", {}):
            self.volumes[name] = Path(self.folder.name) / name
            self.volumes[name].mkdir(mode=0o700)
        for name, service in spec["services"].items():
            self.services[name] = Service(self, name, service)

    def port(self, service: str, port: int) -> int:
        """Where this port of a service is on this machine."""
        return self.ports.setdefault((service, port), lab.free_port())

    def published(self, service: str, port: int) -> int:
        """Where the file says that this port of a service can be reached from outside."""
        listed = [str(it).split(":")[-1] for it in self.services[service].spec.get("ports", [])]
        assert str(port) in listed, f"{service} does not publish {port}"
        return self.port(service, port)

    def up(self):
        """Starts all, those first on which others depend."""
        waiting = dict(self.services)
        while waiting:
            ready = [n for n, it in waiting.items() if not set(it.spec.get("depends_on", {})) & set(waiting)]
            assert ready, f"these wait for each other: {sorted(waiting)}"
            for name in ready:
                waiting.pop(name).start()

    def token(self) -> str:
        return (self.volumes["recordings"] / "admin_token").read_text().strip()

    def restart(self, service: str):
        code = self.services[service].stop()
        assert code == 0, f"{service} ended with {code}"
        self.services[service].start()

    def down(self):
        """Ends all, those last on which others depend; exit codes by name."""
        return {name: self.services[name].stop() for name in reversed(list(self.services))}

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for service in reversed(self.services.values()):
            if service.process:
                service.process.__exit__(kind, *_)
        self.folder.cleanup()


class Engine:
    """The same stack by a container engine."""

    def __init__(self, file: Path):
        self.compose = ["docker", "compose", "-f", str(file)]
        self.spec = yaml.safe_load(file.read_text())

    def published(self, service: str, port: int) -> int:
        return int(self.run("port", service, str(port)).strip().rsplit(":", 1)[1])

    def run(self, *words: str) -> str:
        return subprocess.run([*self.compose, *words], check=True, text=True, stdout=subprocess.PIPE).stdout

    def up(self):
        self.run("up", "--build", "--wait")

    def token(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            self.run("cp", "api-log:/data/admin_token", folder)
            return (Path(folder) / "admin_token").read_text().strip()

    def restart(self, service: str):
        self.run("restart", service)
        self.run("up", "--wait")

    def down(self):
        self.run("stop")
        ended = {}
        for service in self.spec["services"]:
            number = self.run("ps", "--all", "--quiet", service).strip()
            told = ["docker", "inspect", "--format", "{{.State.ExitCode}}", number]
            ended[service] = int(subprocess.run(told, check=True, text=True, stdout=subprocess.PIPE).stdout)
        return ended

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run("down", "--volumes")


def image_environment(dockerfile: Path) -> dict[str, str]:
    """The environment of the image that a Dockerfile makes, without what is only in an image."""
    lines = [it.removeprefix("ENV ") for it in dockerfile.read_text().splitlines() if it.startswith("ENV ")]
    variables = dict(pair.split("=", 1) for line in lines for pair in line.split())
    variables.pop("SSL_CERT_FILE", None)
    return variables


def has_engine() -> bool:
    """Whether containers can be run here: a client alone is not enough."""
    try:
        for asked in (["docker", "info"], ["docker", "compose", "version"]):
            if subprocess.run(asked, capture_output=True, timeout=30).returncode != 0:
                return False
    except (OSError, subprocess.TimeoutExpired):
        return False
    return os.environ.get("APILOG_NATIVE", "") == ""


def stack_of(file: Path):
    """By an engine where there is one, else natively."""
    return Engine(file) if has_engine() else Stack(file)
