"""The SDK's face: a Client makes and finds machines, a Machine runs commands and holds files.

with Client().start("./proj") as m:
    m.run("pytest -q").check()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Self, Unpack

from cloudrouter.client import answers, commands, following, jobs, observing, requests, router
from cloudrouter.client.apps import Apps
from cloudrouter.client.browser import Browser
from cloudrouter.client.execution import Execution, Output, make_result
from cloudrouter.client.facts import check_list, check_machine
from cloudrouter.client.files import Files
from cloudrouter.client.jobs import Job
from cloudrouter.client.launch import launch
from cloudrouter.client.ownapps import Chosen
from cloudrouter.client.ports import Forward, Ports, Tunnel
from cloudrouter.client.ptys import Pty, Ptys
from cloudrouter.client.requests import Command, ListOptions, StartOptions
from cloudrouter.client.results import CommandFailed, Result
from cloudrouter.client.seeing import SeenMachine
from cloudrouter.client.transport import NotListening, Transport
from cloudrouter.client.volumes import Volumes
from cloudrouter.client.websocket import Stream
from cloudrouter.wire import routes
from cloudrouter.wire.errors import NotFound
from cloudrouter.wire.machines import Event, Usage

__all__ = [
    "Apps",
    "Client",
    "CommandFailed",
    "Execution",
    "Files",
    "Forward",
    "Job",
    "Machine",
    "Machines",
    "Output",
    "Ports",
    "Pty",
    "Ptys",
    "Result",
    "Tunnel",
    "Volumes",
]


class Client:
    """The way to this user's router; one is started when none runs. May be shared by threads.

    `machines` and `volumes` are what the router keeps; `start`, `list`, `get` and `delete` are those of `machines`.
    """

    def __init__(self, socket_path: str | None = None) -> None:
        """socket_path: a router's own Unix socket, which then must be there; None: the user's router."""
        if socket_path is None:
            self.transport = router.ensure_version(router.connect())
        else:
            self.transport = Transport(socket_path)
        self.machines = Machines(self)
        self.volumes = Volumes(self)

    def start(self, folder: str | os.PathLike[str] | None = None, **options: Unpack[StartOptions]) -> Machine:
        """A new machine: `machines.start`, for short."""
        return self.machines.start(folder, **options)

    def get(self, ref: str) -> Machine:
        """One machine: `machines.get`, for short."""
        return self.machines.get(ref)

    def delete(self, ref: str) -> None:
        """Delete a machine: `machines.delete`, for short."""
        self.machines.delete(ref)

    def events(
        self, *, machine: str | None = None, kind: str | None = None, after: int | None = None, follow: bool = False
    ) -> Iterator[Event]:
        """What has happened, oldest first; with follow what happens from now on, or behind `after`, without end.

        kind: a pattern such as `machine.*`. after: an event's `seq`. Each event comes once, also across restarts of
        the router.
        """
        return observing.events(self.call, self.transport, machine=machine, kind=kind, after=after, follow=follow)

    def stats(self, machines: Sequence[str] = ()) -> list[Usage]:
        """What these machines use now, or all that live; takes a moment, in which cpu is watched."""
        return observing.read_usages(self.call("GET", requests.stats_path(machines)))

    def follow_stats(self, machines: Sequence[str] = (), *, interval: float = 2.0) -> Iterator[list[Usage]]:
        """What these machines use, or all that live: at once and then every `interval` seconds, without end."""
        return observing.follow_stats(self.transport, list(machines), interval)

    def open_stream(self, path: str) -> Stream:
        """A stream to a path of the router's API; see Machine.open_stream."""
        try:
            return self.transport.stream(path)
        except NotListening:
            router.revive(self.transport)
            return self.transport.stream(path)

    def list(self, **options: Unpack[ListOptions]) -> list[Machine]:
        """The machines that live: `machines.list`, for short."""
        return self.machines.list(**options)

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


class Machines:
    """The machines of a router."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def start(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        name: str | None = None,
        size: str | None = None,
        cpu: float | None = None,
        memory: int | str | None = None,
        disk: int | str | None = None,
        image: str | None = None,
        provider: str | None = None,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
        gpu: str | None = None,
        volumes: Iterable[str] = (),
        package_cache: bool | None = None,
        apps: Iterable[str] = (),
        without: Iterable[str] = (),
        app: Iterable[str | os.PathLike[str]] = (),
        with_secrets: bool = False,
        exclude: Iterable[str] = (),
        progress: Callable[[dict[str, Any]], object] | None = None,
    ) -> Machine:
        """A new machine with the folder's files in its workspace, running; an empty workspace without a folder.

        memory, disk: bytes, or text such as "8g". timeout: seconds until the machine is stopped, whatever it does.
        volumes: such as "npm-cache:~/.npm" or "data:/data:ro"; they outlive the machine, see `client.volumes`.
        apps: on top of the image (`core` where none is named), such as "vscode". without: apps of the image (`full`
        where none is named) that are left out. app: folders of apps of your own, see docs/apps.md.
        Ignored files and live secrets stay behind (with_secrets sends those; exclude leaves out more, as .gitignore
        does). progress is told each step as an object with `phase`. On failure nothing is left. As a context
        manager the machine is deleted at its end.
        """
        request = requests.start_request(
            name=name, size=size, cpu=cpu, memory=memory, disk=disk, image=image, provider=provider, env=env,
            labels=labels, timeout=timeout, gpu=gpu, volumes=volumes, package_cache=package_cache,
        )  # fmt: skip
        chosen = Chosen(apps, without, app)
        facts = launch(
            self._client.transport,
            None if folder is None else os.fspath(folder),
            request,
            with_secrets=with_secrets,
            exclude=exclude,
            apps=chosen,
            progress=progress or (lambda _event: None),
        )
        return Machine(self._client, facts, made_here=True)

    def list(
        self,
        *,
        all: bool = False,  # noqa: A002 - the CLI's word
        labels: Mapping[str, str | None] | None = None,
        state: str | None = None,
        provider: str | None = None,
        name: str | None = None,
    ) -> list[Machine]:
        """The machines that live, oldest first; with all, those that are gone too.

        labels: those that have each of these; a value of None stands for any. name: a pattern such as `web-*`.
        """
        path = requests.machines_path(all=all, labels=labels, state=state, provider=provider, name=name)
        return [Machine(self._client, facts) for facts in check_list(self._client.call("GET", path), "machines")]

    def get(self, ref: str) -> Machine:
        """The machine with this id, name, or beginning of an id; NotFound or Ambiguous otherwise."""
        return Machine(self._client, self._client.call("GET", routes.machine(ref)))

    def delete(self, ref: str) -> None:
        """Delete a machine by its whole id or name; NotFound when there is none."""
        self._client.call("DELETE", routes.machine(ref))


class Machine(SeenMachine):
    """One machine. As a `with` block it is deleted at the end, when it was started here. May be shared by threads."""

    def __init__(self, client: Client, facts: Any, *, made_here: bool = False) -> None:
        super().__init__(facts)
        self._client = client
        self._made_here = made_here
        self.files = Files(client.transport, self.id)
        self.apps = Apps(client, self.id)
        self.ports = Ports(client, self.id)
        self.ptys = Ptys(client, self.id)
        self.browser = Browser(client, self.id)

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
        ended and the exit code is 124. An exception here, KeyboardInterrupt and a cancelled task too, ends the command.
        """
        out: list[memoryview] = []
        err: list[memoryview] = []
        request = requests.exec_request(command, cwd, env, timeout)
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
        result = make_result(requests.shown(command), ended, b"".join(out), b"".join(err))
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
        request = requests.exec_request(command, cwd, env, timeout, stdin=stdin)
        return Execution(self.open_stream(), request, requests.shown(command))

    def start_job(self, command: Command, *, cwd: str | None = None, env: Mapping[str, str] | None = None) -> Job:
        """Start a command that goes on by itself; returns once it runs."""
        request = requests.exec_request(command, cwd, env)
        del request["op"]
        return jobs.start(self, request)

    def jobs(self) -> list[Job]:
        """The background commands of this machine, ended ones too."""
        return jobs.list_jobs(self)

    def wait_ready(
        self,
        *,
        port: int | None = None,
        url: str | None = None,
        job: Job | str | None = None,
        timeout: float = requests.READY_TIMEOUT_S,
    ) -> None:
        """Return once a server inside accepts connections on a port, or answers a GET of a URL below 400.

        url: `http://localhost:3000/health`, or a path with the port beside it. TimedOut after so many seconds, with
        what was last seen. job: the one that is to bring the server up; NotRunning at once when it ends before.
        """
        request = requests.ready_request(port, url, job.id if isinstance(job, Job) else job, timeout)
        answer = following.ask(self.transport, self.id, request, timeout=timeout + commands.ASK_TIMEOUT_S)
        answers.read_ready(answer, requests.shown_target(request), timeout)

    @property
    def transport(self) -> Transport:
        """The way to its router."""
        return self._client.transport

    def open_stream(self) -> Stream:
        """A stream of one's own to the guest, for the operations of wire.streams."""
        return self._client.open_stream(routes.machine(self.id, "stream"))

    # -- ports --------------------------------------------------------------------------------------------------

    def connect(self, port: int, *, host: str | None = None) -> Tunnel:
        """A connection to a port inside; Unreachable when nothing listens there.

        host: `127.0.0.1` or `::1`; None: whichever answers.
        """
        request = requests.port_request(port, host)
        return Tunnel(self.open_stream(), request)

    def forward(self, port: int, *, local_port: int = 0, host: str | None = None) -> Forward:
        """A port of this host that leads to one inside, for as long as its `with` block lasts; 0: a free one.

        host: `127.0.0.1` or `::1` inside the machine; None: whichever answers.
        """
        request = requests.port_request(port, host)
        return Forward(self._client.transport.socket_path, routes.machine(self.id, "stream"), request, local_port)

    # -- watching -----------------------------------------------------------------------------------------------

    def events(self, *, kind: str | None = None, after: int | None = None, follow: bool = False) -> Iterator[Event]:
        """What has happened to it; see Client.events."""
        return self._client.events(machine=self.id, kind=kind, after=after, follow=follow)

    def stats(self) -> Usage:
        """What it uses now; takes a moment, in which cpu is watched."""
        return requests.one_of(self._client.stats([self.id]), self.id)

    # -- life ---------------------------------------------------------------------------------------------------

    def refresh(self) -> Self:
        """Ask the router how the machine is."""
        self._facts = check_machine(self._client.call("GET", routes.machine(self.id)))
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

    def rename(self, name: str) -> Self:
        """Give it another name, or none with an empty one; Conflict when a machine has that name."""
        return self._act("rename", {"name": name})

    def delete(self) -> None:
        """Remove it and everything in it. Deleted already is fine."""
        try:
            self._facts = check_machine(self._client.call("DELETE", routes.machine(self.id)))
        except NotFound:
            self._facts = {**self._facts, "state": "gone"}

    def _act(self, verb: str, body: Any = None) -> Self:
        self._facts = check_machine(self._client.call("POST", routes.machine(self.id, verb), body))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._made_here:
            self.delete()


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
