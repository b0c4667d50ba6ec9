"""The systemd unit without systemd: its command, run as the unit says, with a service manager's end of the socket."""

import ctypes
import grp
import os
import pwd
import resource
import shlex
import socket
import subprocess
import tempfile
from pathlib import Path

import lab

PR_SET_NO_NEW_PRIVS = 38


def read(file: Path) -> dict[str, list[str]]:
    """Its assignments; a name may stand more than once."""
    found = {}
    for line in file.read_text().splitlines():
        if "=" in line and not line.startswith(("#", ";", "[")):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


class Manager:
    """Hears what a service tells its manager."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="api-log-notify-")
        os.chmod(self.folder.name, 0o755)
        self.path = f"{self.folder.name}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.socket.settimeout(lab.PATIENCE_SECONDS)

    def hears(self, assignment: str) -> list[str]:
        """Waits for a message with this in it; all of it."""
        while True:
            try:
                told = self.socket.recv(65536).decode().splitlines()
            except TimeoutError:
                raise AssertionError(f"{assignment} is not told") from None
            if assignment in told:
                return told

    def close(self):
        self.socket.close()
        self.folder.cleanup()


class Service(lab.Process):
    """A unit's service; it is up when the block begins."""

    def __init__(self, file: Path):
        self.unit, self.manager = read(file), Manager()
        user = pwd.getpwnam(self.one("User"))
        group = grp.getgrnam(self.one("Group"))
        folder = self.one("WorkingDirectory")
        # As far as it may be raised here.
        limit = min(int(self.one("LimitNOFILE")), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        umask = int(self.one("UMask"), 8)
        libc = ctypes.CDLL(None)

        def become():
            os.umask(umask)
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            os.setgroups([])
            os.setgid(group.gr_gid)
            os.setuid(user.pw_uid)
            os.chdir(folder)
            assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0

        # Nothing but what systemd gives.
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "HOME": user.pw_dir,
            "USER": user.pw_name,
            "NOTIFY_SOCKET": self.manager.path,
            # A thirtieth of the unit's, not to wait that long: a sign of life is due at half of it.
            "WATCHDOG_USEC": str(int(self.one("WatchdogSec")) * 1_000_000 // 30),
        }
        for listed in self.unit.get("EnvironmentFile", []):
            for line in Path(listed.removeprefix("-")).read_text().splitlines():
                if line and not line.startswith("#"):
                    environment |= [line.split("=", 1)]
        super().__init__(shlex.split(self.one("ExecStart")), environment, preexec_fn=become)

    def one(self, name: str) -> str:
        values = self.unit[name]
        assert len(values) == 1, f"{name}: {values}"
        return values[0]

    def __enter__(self):
        try:
            self.manager.hears("READY=1")
        except AssertionError as error:
            raise AssertionError(f"{error}; the service said:\n{self.said()}") from None
        return self

    def __exit__(self, *error):
        super().__exit__(*error)
        self.manager.close()

    def reload(self):
        """What `systemctl reload` runs."""
        command = self.one("ExecReload").replace("$MAINPID", str(self.child.pid))
        subprocess.run(shlex.split(command), check=True)
        assert any(it.startswith("MONOTONIC_USEC=") for it in self.manager.hears("RELOADING=1"))
        self.manager.hears("READY=1")

    def stop(self):
        """What `systemctl stop` does."""
        self.child.terminate()
        self.manager.hears("STOPPING=1")
        code = self.child.wait(lab.PATIENCE_SECONDS)
        assert code == 0, f"it ended with {code}"
