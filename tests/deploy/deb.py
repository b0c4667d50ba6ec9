"""The Debian package through its whole life on this machine: built, installed, run, upgraded, removed, purged.

It is made by dpkg-deb of what Cargo.toml says to cargo-deb, of the binary in APILOG_BINARY; where cargo-deb is
installed, its package is compared. Nothing is done on a machine that has api-log, or whose systemd would start it.
"""

import contextlib
import http.client
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import lab
from unit import Service

CONFIG, DATA, USER = Path("/etc/api-log/api-log.yaml"), Path("/var/lib/api-log"), "api-log"
UNIT = Path("/usr/lib/systemd/system/api-log.service")


def run(*arguments, **options) -> str:
    done = subprocess.run([str(it) for it in arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{' '.join(str(it) for it in arguments)}: {done.returncode}\n{said}"
    return said


def described() -> dict:
    """What Cargo.toml says of the package."""
    told = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version=1", "--offline"],
        cwd=lab.ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    package = json.loads(told.stdout)["packages"][0]
    return package["metadata"]["deb"] | {"version": package["version"], "description": package["description"]}


def libraries(binary: Path, folder: Path) -> str:
    """What `$auto` stands for: the packages that the binary's libraries are of."""
    if shutil.which("dpkg-shlibdeps") is None:
        return "libc6"
    (folder / "debian").mkdir()
    (folder / "debian/control").write_text("Source: api-log\n\nPackage: api-log\nArchitecture: any\n")
    said = subprocess.run(["dpkg-shlibdeps", "-O", f"-e{binary}"], cwd=folder, check=True, capture_output=True)
    listed = re.search(r"shlibs:Depends=(.*)", said.stdout.decode())[1].split(", ")
    # libc6 brings it.
    return ", ".join(it for it in listed if not it.startswith("libgcc"))


def pack(deb: dict, version: str, into: Path, config_note: str = "") -> Path:
    """Builds it as cargo-deb would; with a note, its configuration has another default than the version before."""
    with tempfile.TemporaryDirectory(prefix="api-log-deb-") as name:
        root = Path(name) / "root"
        for source, target, mode in spread(deb["assets"]):
            file = root / target / (Path(source).name if target.endswith("/") else "")
            file.parent.mkdir(parents=True, exist_ok=True)
            if source == "target/release/api-log":
                run("strip", "-o", file, lab.BINARY)
                depends = deb["depends"].replace("$auto", libraries(file, Path(name)))
            else:
                shutil.copy(lab.ROOT / source, file)
            file.chmod(int(mode, 8))
        for file in root.rglob("*"):
            if file.is_dir():
                file.chmod(0o755)
        with (root / CONFIG.relative_to("/")).open("a") as config:
            config.write(config_note)
        control = root / "DEBIAN"
        control.mkdir()
        about = [f" {line}" for line in deb["extended-description"].splitlines()]
        fields = {
            "Package": "api-log",
            "Version": version,
            "Architecture": run("dpkg", "--print-architecture").strip(),
            "Section": deb["section"],
            "Priority": deb["priority"],
            "Maintainer": deb["maintainer"],
            "Depends": depends,
            "Suggests": deb["suggests"],
            "Description": deb["description"] + "\n" + "\n".join(about),
        }
        (control / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
        (control / "conffiles").write_text("".join(f"{it}\n" for it in deb["conf-files"]))
        for script in ("preinst", "postinst", "prerm", "postrm"):
            source = lab.ROOT / deb["maintainer-scripts"] / script
            if source.exists():
                shutil.copy(source, control / script)
                (control / script).chmod(0o755)
        file = into / f"api-log_{version}.deb"
        run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", root, file)
        return file


def spread(assets: list) -> list:
    """Assets with the files that a pattern stands for."""
    found = []
    for source, target, mode in assets:
        files = [str(it.relative_to(lab.ROOT)) for it in sorted(lab.ROOT.glob(source))] if "*" in source else [source]
        assert files, f"nothing is {source}"
        found += [(file, target, mode) for file in files]
    return found


def contents(file: Path) -> dict[str, str]:
    """Paths in a package with their modes; folders and what a packer adds by itself left out."""
    listed = [line.split(None, 5) for line in run("dpkg-deb", "--contents", file).splitlines()]
    own = ("/copyright", "/changelog.Debian.gz")
    paths = {it[5].removeprefix("./").removesuffix(".gz"): it[0] for it in listed if not it[5].endswith("/")}
    return {path: mode for path, mode in paths.items() if not f"{path}.gz".endswith(own) and not path.endswith(own)}


def same_as_cargo_deb(ours: Path, folder: Path) -> None:
    """cargo-deb makes the same package, where it is installed."""
    if shutil.which("cargo-deb") is None:
        print("no cargo-deb: the package is only that of dpkg-deb")
        return
    theirs = folder / "theirs.deb"
    binary = lab.ROOT / "target/debug/api-log"
    if not binary.exists():
        print("no target/debug/api-log: cargo-deb has nothing to pack")
        return
    run("cargo-deb", "--no-build", "--profile=dev", "--fast", "--output", theirs, cwd=lab.ROOT)
    assert contents(theirs) == contents(ours), f"{contents(theirs)}\n{contents(ours)}"
    for field in ("Package", "Section", "Priority", "Maintainer", "Depends", "Suggests", "Architecture"):
        one, other = (run("dpkg-deb", "--field", it, field) for it in (ours, theirs))
        assert sorted(one.strip().split(", ")) == sorted(other.strip().split(", ")), f"{field}: {one} {other}"
    for script in ("conffiles", "postinst", "prerm", "postrm"):
        one, other = (run("dpkg-deb", "--info", it, script) for it in (ours, theirs))
        assert one.split() == other.split(), f"{script}:\n{one}\n{other}"
    print("cargo-deb makes the same package")


def is_foreign() -> str:
    """Why nothing may be installed here."""
    if os.getuid() != 0 or shutil.which("dpkg") is None:
        return "it wants root and dpkg"
    if Path("/run/systemd/system").exists():
        return "this machine's systemd would start it on its own ports"
    known = subprocess.run(["dpkg-query", "--show", "api-log"], capture_output=True).returncode == 0
    if known or DATA.exists() or CONFIG.parent.exists() or Path("/usr/bin/api-log").exists():
        return "api-log is installed here, or was"
    with contextlib.suppress(KeyError):
        return f"there is a user {pwd.getpwnam(USER).pw_name} here"
    return ""


def send(port: int) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=lab.PATIENCE_SECONDS)) as it:
        body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]})
        it.request("POST", "/v1/chat/completions", body, {"Authorization": "Bearer sk-deb"})
        assert it.getresponse().status == 200


def listed(api: int, most: int) -> None:
    """So many traces are recorded, and not one more."""
    token = (DATA / "admin_token").read_text().strip()

    def count():
        return len(lab.get_json("127.0.0.1", api, "/api/traces?limit=100", token)["traces"])

    lab.wait_until(lambda: count() >= most, f"{most} traces are listed")
    assert count() == most, f"{count()} traces are listed, not {most}"


def life(first: Path, second: Path, gateway: int) -> None:
    """Everything that an operator does with it."""
    run("dpkg", "--install", first)
    user = pwd.getpwnam(USER)
    assert user.pw_shell.endswith("nologin") and user.pw_uid < 1000, user
    assert (DATA.stat().st_uid, DATA.stat().st_mode & 0o777) == (user.pw_uid, 0o700), DATA.stat()
    said = run("api-log", "--config", CONFIG, "validate", env=lab.clean_environment())
    # There is no gateway yet, of which it warns, and that keeps nothing from starting.
    assert "ok" in said.splitlines(), said
    if shutil.which("systemd-analyze"):
        said = run("systemd-analyze", "verify", UNIT)
        assert "api-log" not in said, said
    for file in ("man/man1/api-log-tail.1", "bash-completion/completions/api-log", "zsh/vendor-completions/_api-log"):
        assert list(Path("/usr/share").glob(f"{file}*")), f"the package has no {file}"
    completes = "source /usr/share/bash-completion/completions/api-log; complete -p api-log"
    assert "api-log" in run("bash", "-c", completes)
    print("installed: the user is made, the data dir is its own, unit and configuration are right")

    proxy, api = lab.free_port(), lab.free_port()
    text = CONFIG.read_text()
    for was, now in {"127.0.0.1:7861": proxy, "127.0.0.1:7862": api, "localhost:7860": gateway}.items():
        assert text.count(f'{was}"') == 1, f"the package's configuration does not say {was} once"
        text = text.replace(f'{was}"', f'127.0.0.1:{now}"')
    CONFIG.write_text(text)
    asked = ["api-log", "--config", str(CONFIG), "healthcheck"]
    with Service(UNIT) as service:
        service.manager.hears("WATCHDOG=1")
        run(*asked, env=lab.clean_environment())
        send(proxy)
        listed(api, 1)
        CONFIG.write_text(text + "logging: {level: debug}\n")
        service.reload()
        service.manager.hears("WATCHDOG=1")
        owner = next(DATA.glob("*/*.jsonl")).stat()
        assert (owner.st_uid, owner.st_mode & 0o777) == (user.pw_uid, 0o600), owner
        # The old program goes on while the new one is put in its place.
        run("dpkg", "--force-confold", "--install", second)
        send(proxy)
        listed(api, 2)
        service.stop()
    assert text in CONFIG.read_text() and CONFIG.with_suffix(".yaml.dpkg-dist").exists(), "the edit was not kept"
    with Service(UNIT) as service:
        send(proxy)
        listed(api, 3)
        service.stop()
    print("run under its user, upgraded meanwhile, restarted: nothing lost, the edited configuration kept")

    run("dpkg", "--remove", "api-log")
    assert not Path("/usr/bin/api-log").exists() and not UNIT.exists(), "the program is still there"
    assert CONFIG.exists() and list(DATA.glob("*/*.jsonl")), "removing took configuration or data"
    said = run("dpkg", "--purge", "api-log")
    assert str(DATA) in said, f"purge does not say that the data is left:\n{said}"
    assert not CONFIG.parent.exists() and not Path("/etc/default/api-log").exists(), list(CONFIG.parent.iterdir())
    assert list(DATA.glob("*/*.jsonl")) and pwd.getpwnam(USER) == user, "purging took data or user"
    run("dpkg", "--install", second)
    CONFIG.write_text(text)
    with Service(UNIT) as service:
        listed(api, 3)
        service.stop()
    print("removed and purged: the recordings stay, and a new installation shows them")


def clean_up() -> None:
    """Whatever became of it, nothing is left."""
    for arguments in (["dpkg", "--purge", "api-log"], ["userdel", USER], ["groupdel", USER]):
        subprocess.run(arguments, capture_output=True)
    for folder in (DATA, CONFIG.parent):
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    if why := is_foreign():
        lab.skip(why)
    deb = described()
    with tempfile.TemporaryDirectory(prefix="api-log-deb-") as name:
        folder = Path(name)
        first = pack(deb, f"{deb['version']}-1", folder)
        second = pack(deb, f"{deb['version']}-2", folder, "\n# Another default.\n")
        same_as_cargo_deb(first, folder)
        gateway = lab.free_port()
        with lab.Process([lab.BINARY, "mock", "--listen", f"127.0.0.1:{gateway}"]) as mock:
            lab.wait_until(lambda: "listening" in mock.said(), "the mock listens")
            try:
                life(first, second, gateway)
            finally:
                clean_up()


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"deb: {error}")
