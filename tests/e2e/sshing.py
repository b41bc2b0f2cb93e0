"""OpenSSH's own programs, pointed at a user's machines by what `ssh-config` has written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Done, User


class Ssh:
    """ssh and what is built on it, without a terminal: whatever asked something would fail."""

    def __init__(self, user: User) -> None:
        user.ok("ssh-config")
        self.user = user
        self.folder = user.base / "state" / "ssh-client"
        self.config = self.folder / "config"

    def words(self, program: str, *words: str | Path) -> list[str]:
        """The command line of ssh, scp or sftp."""
        return [program, "-F", str(self.config), *map(str, words)]

    def environment(self) -> dict[str, str]:
        """What programs that run ssh themselves are given, and no agent."""
        env = {key: value for key, value in self.user.env.items() if key != "SSH_AUTH_SOCK"}
        return {**env, "GIT_SSH_COMMAND": f"ssh -F {self.config}", "RSYNC_RSH": f"ssh -F {self.config}"}

    def popen(self, words: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Begin a program in a session of its own, so that it has no terminal to ask on."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options = {"env": self.environment(), "start_new_session": True, **streams, **options}
        return subprocess.Popen(words, **options)

    def run(self, words: Sequence[str], input: bytes | None = None, timeout: float = 120, **options: Any) -> Done:  # noqa: A002
        """Run a program to its end."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
        with self.popen(words, **options) as process:
            try:
                out, err = process.communicate(input, timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Done(process.returncode, out or b"", err or b"")

    def ssh(self, *words: str | Path, **options: Any) -> Done:
        """Run ssh to its end."""
        return self.run(self.words("ssh", *words), **options)

    def ok(self, *words: str | Path, **options: Any) -> Done:
        """Run ssh, which has to end with 0."""
        return succeeded(self.ssh(*words, **options))

    def certificate(self, host: str) -> Path:
        """Where the certificate for a host is."""
        return self.folder / "certs" / f"{host}-cert.pub"


def succeeded(done: Done) -> Done:
    """What ended well; said nothing on stderr but what the programs themselves tell."""
    assert done.code == 0, f"{done.code}\n{done.out_text}\n{done.err_text}"
    return done


def programs(*names: str) -> bool:
    """Whether this host has all these programs."""
    folders = os.environ["PATH"].split(":")
    return all(any(os.access(f"{folder}/{name}", os.X_OK) for folder in folders) for name in names)


def told(*words: str) -> str:
    """What a program of this host prints."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
