"""The SDK's face: a Client makes and finds machines, a Machine runs commands and holds files.

with Client().start("./proj") as m:
    m.run("pytest -q").check()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, Self

from cloudrouter.client import commands, jobs, router
from cloudrouter.client.execution import Execution, Output, make_result
from cloudrouter.client.files import Files
from cloudrouter.client.jobs import Job
from cloudrouter.client.launch import launch
from cloudrouter.client.results import CommandFailed, Result
from cloudrouter.client.transport import NotListening, Transport
from cloudrouter.client.websocket import Stream
from cloudrouter.wire import routes, sizes
from cloudrouter.wire.errors import Internal, InvalidSpec, NotFound, UsageError

__all__ = ["Client", "CommandFailed", "Execution", "Files", "Job", "Machine", "Output", "Result"]

Command = str | Sequence[str]
"""A line for the login user's shell, or the words of a program that is started as it is."""


class Client:
    """The way to this user's router; one is started when none runs. May be shared by threads."""

    def __init__(self, socket_path: str | None = None) -> None:
        """socket_path: a router's own Unix socket, which then must be there; None: the user's router."""
        if socket_path is None:
            self.transport = router.ensure_version(router.connect())
        else:
            self.transport = Transport(socket_path)

    def start(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        name: str | None = None,
        size: str | None = None,
        cpu: float | None = None,
        memory: int | str | None = None,
        image: str | None = None,
        provider: str | None = None,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
        with_secrets: bool = False,
        exclude: Iterable[str] = (),
        progress: Callable[[dict[str, Any]], object] | None = None,
    ) -> Machine:
        """A new machine with the folder's files in its workspace, running; an empty workspace without a folder.

        memory: bytes, or text such as "8g". timeout: seconds until the machine is stopped, whatever it does.
        Ignored files and live secrets stay behind (with_secrets sends those). On failure nothing is left.
        """
        request = {
            "name": name,
            "size": size,
            "cpu": cpu,
            "memory_bytes": _memory_bytes(memory),
            "image": image,
            "provider": provider,
            "env": dict(env or {}),
            "labels": dict(labels or {}),
            "timeout_seconds": timeout,
        }
        facts = launch(
            self.transport,
            None if folder is None else os.fspath(folder),
            {key: value for key, value in request.items() if value is not None},
            with_secrets=with_secrets,
            exclude=exclude,
            progress=progress or (lambda _event: None),
        )
        return Machine(self, facts)

    def list(self, *, all: bool = False) -> list[Machine]:  # noqa: A002 - the CLI's word
        """The machines that live, oldest first; with all, those that are gone too."""
        answer = self.call("GET", routes.MACHINES + ("?all=true" if all else ""))
        found = answer.get("machines") if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise Internal("The router did not list its machines.")
        return [Machine(self, facts) for facts in found]

    def get(self, ref: str) -> Machine:
        """The machine with this id, name, or beginning of an id; NotFound or Ambiguous otherwise."""
        return Machine(self, self.call("GET", routes.machine(ref)))

    def delete(self, ref: str) -> None:
        """Delete a machine by its whole id or name; NotFound when there is none."""
        self.call("DELETE", routes.machine(ref))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the router, which is started again when it is gone; its JSON answer."""
        try:
            return self.transport.call(method, path, body)
        except NotListening:
            router.revive(self.transport)
            return self.transport.call(method, path, body)

    def close(self) -> None:
        """Close the connections; machines go on."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class Machine:
    """One machine. As a `with` block it is deleted at the end. May be shared by threads."""

    def __init__(self, client: Client, facts: Any) -> None:
        self._client = client
        self._facts = _check_facts(facts)
        self.files = Files(client.transport, self.id)

    @property
    def id(self) -> str:
        """Such as `cr_7k2m9xqd`."""
        return str(self._facts["id"])

    @property
    def name(self) -> str:
        """Its name; empty when it has none."""
        return str(self._facts.get("name") or "")

    @property
    def state(self) -> str:
        """`starting`, `running`, `stopped`, ... as of the last answer; see refresh."""
        return str(self._facts.get("state", ""))

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that the router last said about it, as `cloudrouter status --json` prints it."""
        return dict(self._facts)

    def __getattr__(self, name: str) -> Any:
        """The other fields of a machine: image, size, cpu, memory_bytes, labels, created_at, expires_at, ..."""
        facts = self.__dict__.get("_facts", {})
        if name.startswith("_") or name not in facts:
            raise AttributeError(f"A machine has no attribute {name!r}.")
        return facts[name]

    # -- commands -----------------------------------------------------------------------------------------------

    def run(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        input: bytes | str | IO[bytes] | None = None,  # noqa: A002 - as subprocess.run calls it
        timeout: float | None = None,
        check: bool = False,
    ) -> Result:
        """Run a command to its end and return what it printed; a failing one is a Result too, unless `check`.

        cwd: relative to the workspace. input: its standard input, none by default. timeout: seconds; then it is
        ended and the exit code is 124. An exception here, KeyboardInterrupt too, ends the command.
        """
        out: list[memoryview] = []
        err: list[memoryview] = []
        request = _exec_request(command, cwd, env, timeout)
        fd, owned = _input_fd(input)
        try:
            ended = commands.run(
                self.open_stream(),
                request,
                stdin_fd=fd,
                on_stdout=out.append,
                on_stderr=err.append,
                signals=False,
            )
        finally:
            if owned and fd is not None:
                os.close(fd)
        result = make_result(_shown(command), ended, b"".join(out), b"".join(err))
        return result.check() if check else result

    def exec(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
        timeout: float | None = None,
    ) -> Execution:
        """Start a command and iterate over its output as it comes; with stdin it can be written to."""
        request = _exec_request(command, cwd, env, timeout)
        if stdin:
            request["stdin"] = True
        return Execution(self.open_stream(), request, _shown(command))

    def start_job(self, command: Command, *, cwd: str | None = None, env: Mapping[str, str] | None = None) -> Job:
        """Start a command that goes on by itself; returns once it runs."""
        request = _exec_request(command, cwd, env, None)
        del request["op"]
        return jobs.start(self, request)

    def jobs(self) -> list[Job]:
        """The background commands of this machine, ended ones too."""
        return jobs.list_jobs(self)

    def open_stream(self) -> Stream:
        """A stream of one's own to the guest, for the operations of wire.streams."""
        return self._client.transport.stream(routes.machine(self.id, "stream"))

    # -- life ---------------------------------------------------------------------------------------------------

    def refresh(self) -> Self:
        """Ask the router how the machine is."""
        self._facts = _check_facts(self._client.call("GET", routes.machine(self.id)))
        return self

    def extend(self, seconds: float) -> Self:
        """Let it live until exactly this many seconds from now."""
        return self._act("extend", {"seconds": seconds})

    def stop(self) -> Self:
        """End its processes and keep its disk."""
        return self._act("stop")

    def resume(self) -> Self:
        """Boot it again after stop; returns when it can run commands."""
        return self._act("resume")

    def delete(self) -> None:
        """Remove it and everything in it. Deleted already is fine."""
        try:
            self._facts = _check_facts(self._client.call("DELETE", routes.machine(self.id)))
        except NotFound:
            self._facts = {**self._facts, "state": "gone"}

    def _act(self, verb: str, body: Any = None) -> Self:
        self._facts = _check_facts(self._client.call("POST", routes.machine(self.id, verb), body))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.delete()

    def __repr__(self) -> str:
        return f"<Machine {self.id} {self.name or '-'} {self.state}>"


def _exec_request(
    command: Command, cwd: str | None, env: Mapping[str, str] | None, timeout: float | None
) -> dict[str, Any]:
    request: dict[str, Any] = {"op": "exec"}
    if isinstance(command, str):
        request["line"] = command
    else:
        request["argv"] = list(command)
        if not request["argv"]:
            raise UsageError("There is no command to run.", fix="Give a line, or a list that begins with a program.")
    if cwd is not None:
        request["cwd"] = cwd
    if env:
        request["env"] = dict(env)
    if timeout is not None:
        request["timeout_s"] = timeout
    return request


def _input_fd(data: bytes | str | IO[bytes] | None) -> tuple[int | None, bool]:
    """(descriptor to read the input from, whether it is ours to close)."""
    if data is None:
        return None, False
    if not isinstance(data, (bytes, bytearray, memoryview, str)):
        return data.fileno(), False
    fd = os.memfd_create("cloudrouter-input", os.MFD_CLOEXEC)
    try:
        rest = memoryview(data.encode() if isinstance(data, str) else data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd, True


def _memory_bytes(memory: int | str | None) -> int | None:
    if not isinstance(memory, str):
        return memory
    try:
        return sizes.parse_bytes(memory)
    except ValueError as error:
        raise InvalidSpec(f"{error}.", field="memory_bytes") from None


def _shown(command: Command) -> str:
    return command if isinstance(command, str) else " ".join(command)


def _check_facts(facts: Any) -> dict[str, Any]:
    if not isinstance(facts, dict) or not isinstance(facts.get("id"), str):
        raise Internal("The router described a machine in a way that cannot be read.")
    return facts
