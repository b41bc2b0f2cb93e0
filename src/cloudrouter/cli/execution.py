"""Running a command in a machine for `ssh`, `exec` and `run`: the request, the attached way, the captured way."""

from __future__ import annotations

import sys

from cloudrouter.cli import output
from cloudrouter.wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from cloudrouter.client.transport import Transport

OWN_FAILURE = 255
"""Exit status of our own failures, as ssh has it: the command's own statuses end at 254 in practice."""
CAPTURE_LIMIT = 8 * 1024 * 1024
"""Bytes of stdout, and of stderr, that `--json` keeps; the rest is read and dropped, and `truncated` says so."""


def add_command_flags(parser: ArgumentParser) -> None:
    """The flags about the command itself; they stand before it."""
    from cloudrouter.cli.values import seconds

    parser.add_argument("--cwd", metavar="DIR", help="run it in this folder (default: the workspace)")
    parser.add_argument("-n", "--no-stdin", action="store_true", help="give it no input, as with </dev/null")
    parser.add_argument(
        "--timeout", metavar="TIME", type=seconds, help="end it after this time with status 124: 90s, 15m"
    )


def build_request(args: Namespace, *, env: dict[str, str]) -> dict[str, Any]:
    """The exec request for the words after the flags: one line for the login shell, or argv after `--`."""
    request: dict[str, Any] = {"op": "exec"}
    if args.command:
        if args.as_argv:
            request["argv"] = args.command
        else:
            request["line"] = " ".join(args.command)
    if args.cwd is not None:
        request["cwd"] = args.cwd
    if env:
        request["env"] = env
    if args.timeout is not None:
        request["timeout_s"] = args.timeout
    return request


def attach(
    transport: Transport, machine: str, request: dict[str, Any], *, tty: bool = False, no_stdin: bool = False
) -> int:
    """Run it with our stdin, stdout and stderr; returns its exit status."""
    from cloudrouter.client import commands

    output.flush()
    end = commands.run(
        transport.stream(routes.machine(machine, "stream")),
        request,
        stdin_fd=None if no_stdin or sys.stdin is None else 0,
        on_stdout=commands.writer(1),
        on_stderr=commands.writer(2),
        tty=tty,
    )
    if end.get("timeout"):
        output.note(f"cloudrouter: the command was ended after {request.get('timeout_s', 0):g} s (--timeout).")
    return int(end["code"])


def capture(transport: Transport, machine: str, request: dict[str, Any], *, no_stdin: bool = False) -> dict[str, Any]:
    """Run it and return `{exit_code, stdout, stderr, truncated, duration_ms, job}`."""
    from cloudrouter.client import commands

    out, err = Capture(), Capture()
    end = commands.run(
        transport.stream(routes.machine(machine, "stream")),
        request,
        stdin_fd=None if no_stdin or sys.stdin is None else 0,
        on_stdout=out,
        on_stderr=err,
    )
    return result(end["code"], out, err, end.get("duration_ms"))


def result(
    code: int | None, out: Capture, err: Capture, duration_ms: int | None, job: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The stable schema of `ssh --json`."""
    return {
        "exit_code": code,
        "stdout": out.text(),
        "stderr": err.text(),
        "truncated": out.truncated or err.truncated,
        "duration_ms": duration_ms,
        "job": job,
    }


class Capture:
    """Keeps the beginning of what it is given, up to a limit."""

    def __init__(self, limit: int = CAPTURE_LIMIT) -> None:
        self.truncated = False
        self._room = limit
        self._pieces: list[bytes] = []

    def __call__(self, piece: memoryview) -> None:
        """Take one piece of output."""
        if len(piece) > self._room:
            self.truncated = True
            piece = piece[: self._room]
        self._room -= len(piece)
        self._pieces.append(bytes(piece))

    def text(self) -> str:
        """What was kept; bytes that are no UTF-8 become U+FFFD, because JSON has no bytes."""
        return b"".join(self._pieces).decode("utf-8", "replace")
