"""The memory provider: machines are processes of this host, kept in files so that a new object finds them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from cloudrouter.providers import base
from cloudrouter.providers.base import Clock, Features, Handle, MachineSpec, Measurement, Need, Observation, Offer
from cloudrouter.providers.errors import (
    Conflict,
    InvalidSpec,
    NotConfigured,
    NotFound,
    NotRunning,
    ProviderBug,
    Unreachable,
    Unsupported,
)
from cloudrouter.providers.memory import measuring, processes, supervise
from cloudrouter.providers.memory.folders import MachineFolder, machine_names
from cloudrouter.providers.memory.processes import Process
from cloudrouter.wire import ids

NAME = "memory"
IMAGES = frozenset({"core"})
"""There is one root filesystem, this host's; it goes by the name of the usual image."""
KILL_DEADLINE_S = 10.0
LOG_TAIL_BYTES = 65536
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(frozen=True)
class MemoryConfig:
    """Settings of this provider."""

    root: str
    """The folder that holds the machines; made when the first one is."""

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any] | None) -> MemoryConfig:
        """The settings, nothing unknown among them; NotConfigured says what is wrong."""
        values = dict(config or {})
        root = values.pop("root", f"{tempfile.gettempdir()}/cloudrouter-memory-{os.getuid()}")
        if values:
            raise NotConfigured(
                f"Provider memory has no setting {sorted(values)[0]!r}.", fix="Its one setting is root."
            )
        if not isinstance(root, str) or not os.path.isabs(root):
            raise NotConfigured("The setting root of provider memory is not an absolute path.")
        return cls(root.rstrip("/") or "/")


class MemoryProvider:
    """`base.Provider` with local processes; no walls, no limits, the host's own files and user."""

    name = NAME

    def __init__(self, *, router_id: str, clock: Clock, config: Mapping[str, Any] | None = None) -> None:
        self._router_id = router_id
        self._clock = clock
        self._root = MemoryConfig.from_mapping(config).root

    def __repr__(self) -> str:
        return f"MemoryProvider(root={self._root!r})"

    async def check(self) -> None:
        """Local processes need Linux's /proc and a folder to write to."""
        if processes.read_status(os.getpid()) is None:
            raise NotConfigured("Provider memory needs Linux.", fix="Use the provider docker.")
        self._make_root()

    def features(self) -> Features:
        """No walls and no root of its own; freezing and the console are real."""
        return Features(pause=True, pause_keeps_memory=True, console=True, stats=True, stop_keeps_disk=True)

    async def offers(self, need: Need) -> list[Offer]:
        """This host, when the need fits it; no GPU is ever promised."""
        cpus, memory = _host_size()
        if need.gpu is not None or (need.cpu or 0) > cpus or (need.memory_bytes or 0) > memory:
            return []
        return [Offer("local", cpus, memory, min(memory, _available_memory(memory)))]

    async def create(self, spec: MachineSpec) -> Handle:
        """Make the folder and start the guest; a second call finishes what the first left."""
        self._refuse(spec)
        self._make_root()
        folder = MachineFolder(self._root, spec.machine_id)
        async with folder.locked():
            known = folder.spec()
            if known is None:
                folder.make(self._record(spec))
            elif known.get("router_id") != self._router_id:
                raise _foreign(spec.machine_id)
            self._start(folder)
        return self._handle(spec.machine_id)

    async def inspect(self, handle: Handle) -> Observation:
        """The machine as its files and processes are now."""
        folder = self._folder(handle)
        seen = self._observe(folder) if folder is not None else None
        if seen is None:
            return Observation(str(handle.data.get("machine_id", "")), handle, base.GONE)
        return seen

    async def stop(self, handle: Handle, *, grace_s: float = 5.0) -> None:
        """TERM to the guest, then the end of everything that the machine started; the folder stays."""
        folder = self._folder(handle)
        if folder is None or folder.spec() is None:
            return
        async with folder.locked():
            await self._end(folder, grace_s=grace_s)

    async def start(self, handle: Handle) -> None:
        """Start the guest again in the same folder."""
        folder = self._folder(handle)
        if folder is None or folder.spec() is None:
            raise _missing(handle)
        async with folder.locked():
            if folder.spec() is None:
                raise _missing(handle)
            self._start(folder)

    async def delete(self, handle: Handle) -> None:
        """End all processes and remove the folder."""
        folder = self._folder(handle)
        if folder is None:
            return
        async with folder.locked():
            await self._end(folder, grace_s=0.0)
            try:
                await asyncio.to_thread(folder.remove)
            except OSError as error:
                raise Unreachable(f"The folder of {folder.machine_id} cannot be removed: {error}.") from error

    async def list(self) -> AsyncIterator[Observation]:
        """Every machine of this router below the root."""
        for name in machine_names(self._root):
            if not ids.is_machine_id(name):
                continue
            folder = MachineFolder(self._root, name)
            spec = folder.spec()
            seen = self._observe(folder)
            if seen is not None and spec is not None and spec.get("router_id") == self._router_id:
                yield seen

    async def dial(self, handle: Handle, *, port: int) -> socket.socket:
        """A connection to the guest, or to any other port of 127.0.0.1: this provider has no walls."""
        folder = self._folder(handle)
        seen = self._observe(folder) if folder is not None else None
        if folder is None or seen is None:
            raise NotRunning(f"{handle.data.get('machine_id')} is gone.")
        running, spec = folder.running(), folder.spec()
        if seen.state != base.RUNNING or running is None or spec is None:
            raise NotRunning(f"{folder.machine_id} is {seen.state}.")
        real = int(running["port"]) if port == spec["guest_port"] else port
        return await _connect(folder.machine_id, real)

    async def aclose(self) -> None:
        """There is nothing to release."""

    async def pause(self, handle: Handle) -> None:
        """Freeze every process of the machine."""
        async with self._alive(handle) as folder:
            stopped: set[Process] = set()
            while not stopped.issuperset(tree := await self._tree(folder)):
                # A process may fork while its parent is being stopped, so look again until nothing new turns up.
                processes.send_all(tree, signal.SIGSTOP)
                stopped.update(tree)
                for process in tree:
                    # The signal is sent at once and takes effect a little later.
                    if not await processes.wait_stopped(process, timeout_s=KILL_DEADLINE_S):
                        raise Unreachable(f"A process of {folder.machine_id} cannot be frozen.")

    async def resume(self, handle: Handle) -> None:
        """Let the processes of the machine go on."""
        async with self._alive(handle) as folder:
            processes.send_all(await self._tree(folder), signal.SIGCONT)

    async def measure(self, handle: Handle) -> Measurement:
        """Cpu, memory and threads; disk and network are the host's and cannot be told apart."""
        async with self._alive(handle) as folder:
            tree = await self._tree(folder)
        return measuring.measure(tree)

    async def read_console(self, handle: Handle, *, limit_bytes: int = LOG_TAIL_BYTES) -> bytes:
        """The newest output of supervisor and guest."""
        folder = self._folder(handle)
        if folder is None or folder.spec() is None:
            raise _missing(handle)
        return folder.read_log(limit_bytes)

    @asynccontextmanager
    async def _alive(self, handle: Handle) -> AsyncIterator[MachineFolder]:
        """The folder of a machine that runs or is frozen, alone with it."""
        folder = self._folder(handle)
        if folder is None or folder.spec() is None:
            raise _missing(handle)
        async with folder.locked():
            seen = self._observe(folder)
            if seen is None:
                raise _missing(handle)
            if seen.state not in (base.RUNNING, base.PAUSED):
                raise NotRunning(f"{folder.machine_id} is {seen.state}.")
            yield folder

    def _refuse(self, spec: MachineSpec) -> None:
        """Raise for whatever this provider cannot give."""
        if not ids.is_machine_id(spec.machine_id):
            raise InvalidSpec(f"{spec.machine_id!r} is not a machine id.", field="machine_id")
        if spec.router_id != self._router_id:
            raise InvalidSpec("The spec belongs to another router.", field="router_id")
        if spec.image not in IMAGES:
            known = ", ".join(sorted(IMAGES))
            raise InvalidSpec(f"Provider memory has no image {spec.image!r}.", fix=f"Images: {known}.", field="image")
        if spec.options:
            raise InvalidSpec(f"Provider memory has no option {sorted(spec.options)[0]!r}.", field="options")
        if spec.disk_bytes is not None:
            raise Unsupported("Provider memory cannot limit the disk.", fix="Leave --disk away.", feature="disk_limit")
        if spec.mounts:
            raise Unsupported("Provider memory has no volumes.", fix="Leave --volume away.", feature="volumes")
        if spec.sidecars:
            told = "Provider memory runs no images beside its machines."
            raise Unsupported(told, fix="Leave the sidecars away, or use docker.", feature="sidecars")
        if spec.network != "open":
            raise Unsupported(f"Provider memory has no network class {spec.network!r}.", feature="network")
        cpus, memory = _host_size()
        if not 0 < spec.cpu <= cpus:
            raise InvalidSpec(f"{spec.cpu:g} cpu do not fit: this host has {cpus}.", field="cpu")
        if not 0 < spec.memory_bytes <= memory:
            raise InvalidSpec(f"{spec.memory_bytes} bytes do not fit: this host has {memory}.", field="memory_bytes")

    def _record(self, spec: MachineSpec) -> dict[str, Any]:
        return {
            "machine_id": spec.machine_id,
            "owner": spec.owner,
            "router_id": spec.router_id,
            "labels": dict(spec.labels),
            "guest_port": spec.boot.port,
            "environment": spec.boot.environment(),
            "created_at": self._clock(),
        }

    def _handle(self, machine_id: str) -> Handle:
        return Handle(NAME, {"machine_id": machine_id})

    def _make_root(self) -> None:
        try:
            os.makedirs(self._root, mode=0o700, exist_ok=True)
        except OSError as error:
            raise NotConfigured(f"The folder {self._root} cannot be made: {error.strerror}.") from error

    def _folder(self, handle: Handle) -> MachineFolder | None:
        """The folder behind a handle, None where there is nothing; another router's machine is a Conflict."""
        machine_id = handle.data.get("machine_id")
        if handle.provider != NAME or not isinstance(machine_id, str) or not ids.is_machine_id(machine_id):
            raise InvalidSpec("The handle is not one of provider memory.", field="handle")
        folder = MachineFolder(self._root, machine_id)
        if not os.path.isdir(folder.path):
            return None
        spec = folder.spec()
        if spec is not None and spec.get("router_id") != self._router_id:
            raise _foreign(machine_id)
        return folder

    def _start(self, folder: MachineFolder) -> None:
        """Start the guest unless it runs. Without an await inside: the process and the note of it come together."""
        spec = folder.spec()
        if spec is None:
            raise ProviderBug(f"{folder.machine_id} has no spec.")
        if _process(folder.running()) is not None:
            return
        port = _free_port()
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment |= spec["environment"] | {
            "CLOUDROUTER_LISTEN": f"127.0.0.1:{port}",
            "CLOUDROUTER_USER": "",
            "CLOUDROUTER_HOME": folder.home,
            "CLOUDROUTER_WORKSPACE": folder.workspace,
            "CLOUDROUTER_STATE": folder.state,
        }
        python = sys.executable
        command = [python, "-I", "-S", supervise.__file__, folder.workspace, python, "-m", "cloudrouter.guest"]
        pid = os.posix_spawn(python, command, environment, file_actions=_streams(folder.log), setsid=True)
        status = processes.read_status(pid)
        if status is None:
            raise ProviderBug(f"The supervisor of {folder.machine_id} vanished at its start.")
        folder.note_running(
            {"pid": pid, "start_ticks": status.process.start_ticks, "port": port, "started_at": self._clock()}
        )

    async def _end(self, folder: MachineFolder, *, grace_s: float) -> None:
        """End every process of the machine: asked first, for as long as the grace lasts, then killed."""
        supervisor = _process(folder.running())
        if supervisor is not None and grace_s > 0:
            processes.send_all(await self._tree(folder), signal.SIGCONT)
            processes.send(supervisor, signal.SIGTERM)
            await processes.wait_gone(supervisor, timeout_s=grace_s)
        try:
            async with asyncio.timeout(KILL_DEADLINE_S):
                while tree := await self._tree(folder):
                    processes.send_all(tree, signal.SIGKILL)
                    for process in tree:
                        await processes.wait_gone(process, timeout_s=KILL_DEADLINE_S)
        except TimeoutError as error:
            raise Unreachable(f"Processes of {folder.machine_id} do not end.") from error
        folder.note_stopped()

    async def _tree(self, folder: MachineFolder) -> Sequence[Process]:
        marker = f"CLOUDROUTER_MACHINE_ID={folder.machine_id}".encode()
        return await asyncio.to_thread(processes.find_tree, _process(folder.running()), marker=marker)

    def _observe(self, folder: MachineFolder) -> Observation | None:
        spec = folder.spec()
        if spec is None:
            return None
        handle, owner, running = self._handle(folder.machine_id), str(spec["owner"]), folder.running()
        if running is None:
            state = base.STOPPED if folder.was_started() else base.PENDING
            return Observation(folder.machine_id, handle, state, owner=owner)
        process = Process(running["pid"], running["start_ticks"])
        status = processes.look(process)
        if status is None:
            processes.reap(process)
            return Observation(folder.machine_id, handle, base.STOPPED, "its first process ended", owner=owner)
        state = base.PAUSED if status.letter in "Tt" else base.RUNNING
        return Observation(folder.machine_id, handle, state, started_at=running["started_at"], owner=owner)


def _process(running: Mapping[str, Any] | None) -> Process | None:
    """The supervisor of a machine, when it lives."""
    if running is None:
        return None
    status = processes.look(Process(running["pid"], running["start_ticks"]))
    return status.process if status is not None else None


def _streams(log: str) -> Sequence[tuple[Any, ...]]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    return [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _connect(machine_id: str, port: int) -> socket.socket:
    sock = socket.socket()
    try:
        sock.setblocking(False)  # noqa: FBT003 - the socket module's own
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        sock.close()
        raise Unreachable(f"Nothing answers at port {port} of {machine_id}.") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _host_size() -> tuple[int, int]:
    return os.cpu_count() or 1, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _available_memory(default: int) -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return default


def _missing(handle: Handle) -> NotFound:
    return NotFound(f"{handle.data.get('machine_id')} is gone.", next="cloudrouter ls -a")


def _foreign(machine_id: str) -> Conflict:
    return Conflict(f"{machine_id} belongs to another router.")
