"""Machines for programs that await: made, found, and each with its commands, files and ports."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import IO, Any, Self

from cloudrouter.client import answers, commands, requests
from cloudrouter.client.aio import jobs, observing
from cloudrouter.client.aio.apps import AsyncApps
from cloudrouter.client.aio.browser import AsyncBrowser
from cloudrouter.client.aio.execution import AsyncExecution, feed
from cloudrouter.client.aio.files import AsyncFiles
from cloudrouter.client.aio.following import ask_again
from cloudrouter.client.aio.jobs import AsyncJob
from cloudrouter.client.aio.link import Link
from cloudrouter.client.aio.opening import Opening
from cloudrouter.client.aio.ports import AsyncForward, AsyncPorts, AsyncTunnel
from cloudrouter.client.aio.ptys import AsyncPtys
from cloudrouter.client.aio.seeing import AsyncSeenMachine
from cloudrouter.client.aio.starting import start_machine
from cloudrouter.client.aio.streams import AsyncStream
from cloudrouter.client.aio.tasks import beside, surely
from cloudrouter.client.facts import check_list, check_machine
from cloudrouter.client.observing import read_usages
from cloudrouter.client.ownapps import Chosen
from cloudrouter.client.requests import Command
from cloudrouter.client.results import Result
from cloudrouter.wire import routes
from cloudrouter.wire.errors import NotFound
from cloudrouter.wire.machines import Event, Usage


class AsyncMachines:
    """The machines of a router."""

    def __init__(self, link: Link) -> None:
        self._link = link

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
    ) -> Opening[AsyncMachine]:
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

        async def start() -> AsyncMachine:
            facts = await start_machine(
                self._link,
                None if folder is None else os.fspath(folder),
                request,
                with_secrets=with_secrets,
                exclude=tuple(exclude),
                apps=chosen,
                progress=progress or (lambda _event: None),
            )
            return AsyncMachine(self._link, facts, made_here=True)

        return Opening(start())

    async def list(
        self,
        *,
        all: bool = False,  # noqa: A002 - the CLI's word
        labels: Mapping[str, str | None] | None = None,
        state: str | None = None,
        provider: str | None = None,
        name: str | None = None,
    ) -> list[AsyncMachine]:
        """The machines that live, oldest first; with all, those that are gone too.

        labels: those that have each of these; a value of None stands for any. name: a pattern such as `web-*`.
        """
        path = requests.machines_path(all=all, labels=labels, state=state, provider=provider, name=name)
        return [AsyncMachine(self._link, facts) for facts in check_list(await self._link.call("GET", path), "machines")]

    async def get(self, ref: str) -> AsyncMachine:
        """The machine with this id, name, or beginning of an id; NotFound or Ambiguous otherwise."""
        return AsyncMachine(self._link, await self._link.call("GET", routes.machine(ref)))

    async def delete(self, ref: str) -> None:
        """Delete a machine by its whole id or name; NotFound when there is none."""
        await self._link.call("DELETE", routes.machine(ref))


class AsyncMachine(AsyncSeenMachine):
    """One machine. As a `with` block it is deleted at the end, when it was started here. May be shared by tasks."""

    def __init__(self, link: Link, facts: Any, *, made_here: bool = False) -> None:
        super().__init__(facts)
        self._link = link
        self._made_here = made_here
        self.files = AsyncFiles(link, self.id)
        self.apps = AsyncApps(link, self.id)
        self.ports = AsyncPorts(link, self.id)
        self.ptys = AsyncPtys(link, self.id)
        self.browser = AsyncBrowser(link, self.id)

    # -- commands -----------------------------------------------------------------------------------------------

    async def run(
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
        async with self.exec(command, cwd=cwd, env=env, stdin=input is not None, timeout=timeout) as execution:
            if input is None:
                result = await execution.wait()
            else:
                result = await beside(execution.wait(), feed(execution, input))
        return result.check() if check else result

    def exec(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
        timeout: float | None = None,
    ) -> Opening[AsyncExecution]:
        """Start a command and iterate over its output as it comes; with stdin it can be written to."""
        request = requests.exec_request(command, cwd, env, timeout, stdin=stdin)

        async def execute() -> AsyncExecution:
            return await AsyncExecution.begin(await self.open_stream(), request, requests.shown(command))

        return Opening(execute())

    async def start_job(
        self, command: Command, *, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> AsyncJob:
        """Start a command that goes on by itself; returns once it runs."""
        return await jobs.start(self, self._link, requests.exec_request(command, cwd, env))

    async def jobs(self) -> list[AsyncJob]:
        """The background commands of this machine, ended ones too."""
        return await jobs.list_jobs(self, self._link)

    async def wait_ready(
        self,
        *,
        port: int | None = None,
        url: str | None = None,
        job: AsyncJob | str | None = None,
        timeout: float = requests.READY_TIMEOUT_S,
    ) -> None:
        """Return once a server inside accepts connections on a port, or answers a GET of a URL below 400.

        url: `http://localhost:3000/health`, or a path with the port beside it. TimedOut after so many seconds, with
        what was last seen. job: the one that is to bring the server up; NotRunning at once when it ends before.
        """
        request = requests.ready_request(port, url, job.id if isinstance(job, AsyncJob) else job, timeout)
        answer = await ask_again(self._link, self.id, request, timeout=timeout + commands.ASK_TIMEOUT_S)
        answers.read_ready(answer, requests.shown_target(request), timeout)

    async def open_stream(self) -> AsyncStream:
        """A stream of one's own to the guest, for the operations of wire.streams."""
        return await self._link.stream(routes.machine(self.id, "stream"))

    # -- ports --------------------------------------------------------------------------------------------------

    def connect(self, port: int, *, host: str | None = None) -> Opening[AsyncTunnel]:
        """A connection to a port inside; Unreachable when nothing listens there.

        host: `127.0.0.1` or `::1`; None: whichever answers.
        """
        request = requests.port_request(port, host)

        async def connect() -> AsyncTunnel:
            return await AsyncTunnel.begin(await self.open_stream(), request)

        return Opening(connect())

    def forward(self, port: int, *, local_port: int = 0, host: str | None = None) -> Opening[AsyncForward]:
        """A port of this host that leads to one inside, for as long as its `with` block lasts; 0: a free one.

        host: `127.0.0.1` or `::1` inside the machine; None: whichever answers.
        """
        request = requests.port_request(port, host)
        return Opening(AsyncForward.begin(self._link, routes.machine(self.id, "stream"), request, local_port))

    # -- watching -----------------------------------------------------------------------------------------------

    def events(
        self, *, kind: str | None = None, after: int | None = None, follow: bool = False
    ) -> AsyncIterator[Event]:
        """What has happened to it; see Client.events."""
        return observing.events(self._link, machine=self.id, kind=kind, after=after, follow=follow)

    async def stats(self) -> Usage:
        """What it uses now; takes a moment, in which cpu is watched."""
        answer = await self._link.call("GET", requests.stats_path([self.id]))
        return requests.one_of(read_usages(answer), self.id)

    # -- life ---------------------------------------------------------------------------------------------------

    async def refresh(self) -> Self:
        """Ask the router how the machine is."""
        self._facts = check_machine(await self._link.call("GET", routes.machine(self.id)))
        return self

    async def extend(self, seconds: float) -> Self:
        """Let it live until exactly this many seconds from now."""
        return await self._act("extend", {"seconds": seconds})

    async def stop(self) -> Self:
        """End its processes and keep its disk."""
        return await self._act("stop")

    async def resume(self) -> Self:
        """Boot it again after stop; returns when it can run commands."""
        return await self._act("resume")

    async def rename(self, name: str) -> Self:
        """Give it another name, or none with an empty one; Conflict when a machine has that name."""
        return await self._act("rename", {"name": name})

    async def delete(self) -> None:
        """Remove it and everything in it. Deleted already is fine."""
        try:
            self._facts = check_machine(await self._link.call("DELETE", routes.machine(self.id)))
        except NotFound:
            self._facts = {**self._facts, "state": "gone"}

    async def _act(self, verb: str, body: Any = None) -> Self:
        self._facts = check_machine(await self._link.call("POST", routes.machine(self.id, verb), body))
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._made_here:
            await surely(self.delete())
