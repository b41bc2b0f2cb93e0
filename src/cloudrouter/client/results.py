"""What a finished command left: exit code and output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cloudrouter.wire.errors import CloudRouterError

_TAIL_LINES = 5


@dataclass(frozen=True)
class Result:
    """A command that has ended."""

    command: str
    """The command as it was given, for messages."""
    exit_code: int
    """As a shell would report it: 128 + n after signal n, 124 after a timeout."""
    stdout: bytes
    stderr: bytes
    duration_ms: int
    signal: str | None = None
    """Name of the signal that ended it, without SIG."""
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0

    @property
    def out(self) -> str:
        """stdout as text; bytes that are not UTF-8 become replacement characters."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def err(self) -> str:
        """stderr as text; bytes that are not UTF-8 become replacement characters."""
        return self.stderr.decode("utf-8", "replace")

    def check(self) -> Self:
        """This result when the exit code is 0; raises CommandFailed with the end of stderr otherwise."""
        if not self.ok:
            raise CommandFailed(self)
        return self


class CommandFailed(CloudRouterError):
    """A command ended with another exit code than 0; `result` has all of it."""

    code = "command_failed"

    def __init__(self, result: Result) -> None:
        how = "ran into its timeout" if result.timed_out else f"ended with exit code {result.exit_code}"
        tail = (result.err.strip() or result.out.strip()).splitlines()[-_TAIL_LINES:]
        said = ": " + "\n".join(tail) if tail else "."
        super().__init__(f"{result.command!r} {how}{said}", exit_code=result.exit_code)
        self.result = result
