"""The samples that are only data: compose files, the Kubernetes manifest, the configuration of the package.

Each check is a word on the command line. What an own tool knows better is left to it: tests/deploy/run.sh runs these.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import lab
import yaml

COMPOSE = sorted((lab.ROOT / "deploy").glob("*/compose.yaml"))
# What each file wants to be told.
TOLD = {"UPSTREAM": "http://127.0.0.1:9"}
# The keys of a service that are used, as the Compose specification spells them.
SERVICE_KEYS = set(
    "build cap_drop command depends_on environment expose healthcheck image ipc network_mode ports read_only restart"
    " security_opt shm_size stop_grace_period ulimits volumes".split()
)


def validates(environment: dict[str, str], *arguments: str) -> None:
    """The program itself says that this configuration is right, without a warning."""
    asked = [lab.BINARY, *arguments, "validate"]
    said = subprocess.run(asked, env=lab.clean_environment() | environment, capture_output=True, text=True)
    assert said.returncode == 0 and not said.stderr, f"{arguments} {environment}: {said.stderr}"


def expanded(value: str) -> str:
    """With its variables put in, as Compose does."""
    return re.sub(r"\$\{(\w+)(?::?[-?]([^}]*))?\}", lambda it: TOLD.get(it[1], it[2] or ""), value)


def compose() -> None:
    """Each service has known keys, and the recorder understands its environment."""
    assert len(COMPOSE) == 3, COMPOSE
    for file in COMPOSE:
        spec = yaml.safe_load(file.read_text())
        for name, service in spec["services"].items():
            unknown = set(service) - SERVICE_KEYS
            assert not unknown, f"{file}: {name}: {sorted(unknown)}"
            for volume in service.get("volumes", []):
                source = expanded(str(volume)).split(":")[0]
                exists = (file.parent / source).exists() if source.startswith(".") else source in spec["volumes"]
                assert exists, f"{file}: {name}: {source} is nowhere"
            if "build" in service:
                context = (file.parent / service["build"]["context"]).resolve()
                assert (context / service["build"]["dockerfile"]).is_file(), file
            if service["image"] != "api-log":
                continue
            assert service["cap_drop"] == ["ALL"] and service["security_opt"], f"{file}: {name}"
            environment = {key: expanded(str(value)) for key, value in service.get("environment", {}).items()}
            validates(environment)
    print(f"{len(COMPOSE)} compose files: known keys, and the recorder understands its environment")


def engine() -> None:
    """Compose itself, the plugin or the program of its own, reads each file; without a daemon."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True) if shutil.which("docker") else None
    if plugin and plugin.returncode == 0:
        command = ["docker", "compose"]
    elif shutil.which("docker-compose"):
        command = ["docker-compose"]
    else:
        lab.skip("neither the compose plugin nor docker-compose is installed")
    for file in COMPOSE:
        asked = [*command, "-f", str(file), "config", "--quiet"]
        said = subprocess.run(asked, env=os.environ | TOLD, capture_output=True, text=True)
        assert said.returncode == 0 and not said.stderr.strip(), f"{file}: {said.stderr}"
    said = subprocess.run([*command, "-f", str(COMPOSE[0]), "config", "--quiet"], capture_output=True, text=True)
    assert COMPOSE[0].parent.name == "bench" and said.returncode != 0, "bench runs without an upstream"
    print(f"{' '.join(command)} config reads all {len(COMPOSE)}, and bench wants its upstream")


def kubernetes() -> None:
    """Kubernetes' own schemas, strictly; and the recorder understands the configuration in it."""
    import kubernetes_validate

    file = lab.ROOT / "deploy/kubernetes/sidecar.yaml"
    documents = list(yaml.safe_load_all(file.read_text()))
    version = kubernetes_validate.latest_version()
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)
    by_kind = {document["kind"]: document for document in documents}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "api-log.yaml"
        config.write_text(by_kind["ConfigMap"]["data"]["api-log.yaml"])
        validates({}, "--config", str(config))
        settings = yaml.safe_load(config.read_text())
    pod = by_kind["Deployment"]["spec"]["template"]
    recorder = next(it for it in pod["spec"]["containers"] if it["name"] == "api-log")
    ports = {it["name"]: it["containerPort"] for it in recorder["ports"]}
    assert settings["proxy"]["listen"] == f":{ports['proxy']}" and settings["api"]["listen"] == f":{ports['api']}"
    mounts = {it["mountPath"] for it in recorder["volumeMounts"]}
    assert any(settings["storage"]["data_dir"].startswith(f"{it}/") for it in mounts), mounts
    volumes = {it["name"] for it in pod["spec"]["volumes"]}
    assert {it["name"] for it in recorder["volumeMounts"]} == volumes
    grace = int(settings["shutdown"]["grace"].removesuffix("s"))
    assert pod["spec"]["terminationGracePeriodSeconds"] >= grace + 30
    for kind in ("Service", "NetworkPolicy", "Deployment"):
        spec = by_kind[kind]["spec"]
        selector = spec.get("selector", spec.get("podSelector"))
        labels = selector.get("matchLabels", selector)
        assert labels.items() <= pod["metadata"]["labels"].items(), f"{kind} selects nothing"
    print(f"{len(documents)} objects hold to the schemas of Kubernetes {version}")


def package() -> None:
    """The package's own configuration is right, and says nothing of interfaces that others reach."""
    file = lab.ROOT / "deploy/debian/api-log.yaml"
    validates({}, "--config", str(file))
    settings = yaml.safe_load(file.read_text())
    for section in ("proxy", "api"):
        assert settings[section]["listen"].startswith("127.0.0.1:"), section
    env = (lab.ROOT / "deploy/systemd/api-log.env").read_text()
    offered = dict(it[1:].split("=", 1) for it in env.splitlines() if re.match(r"#[A-Z_]+=", it))
    assert offered, "the environment file shows no variable"
    validates(offered)
    print("the package's configuration and environment are understood, and listen on this machine only")


if __name__ == "__main__":
    try:
        {"compose": compose, "engine": engine, "kubernetes": kubernetes, "package": package}[sys.argv[1]]()
    except AssertionError as error:
        sys.exit(str(error))
