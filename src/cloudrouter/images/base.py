"""The Debian base image: taken from the engine, else from a registry, else built here with mmdebstrap."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress

from cloudrouter.images import host, pulling, sources
from cloudrouter.images.engine import Engine
from cloudrouter.images.payload import read_tree
from cloudrouter.wire.errors import CloudRouterError, NotConfigured, Unreachable

PULLED = f"debian:{sources.RELEASE}-slim"
OWN = f"cloudrouter/base:{sources.RELEASE}"

GRACE_S = 15.0
"""What mmdebstrap gets to take its own files away before it is killed."""

Note = Callable[[str], None]
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_CHANGES = ('CMD ["bash"]', "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
_CHUNK = 1 << 20


async def ensure(engine: Engine, *, env: Mapping[str, str], note: Note, refresh: bool = False) -> str:
    """The reference of a base image that the engine has; `refresh` fetches or builds it anew.

    Raises NotConfigured where no registry answers and mmdebstrap is missing, Unreachable where its mirror fails.
    """
    if not refresh:
        for reference in (PULLED, OWN):
            facts = await engine.inspect_image(reference)
            if facts is not None and (facts.made_here or reference == PULLED):
                note(f"{reference} is here already")
                return reference
    reason = await pulling.pull(engine, PULLED, note=note)
    if not reason:
        return PULLED
    note(f"no registry gives {PULLED} ({reason}); building it from Debian's packages")
    await bootstrap(engine, env=env, note=note)
    return OWN


async def bootstrap(engine: Engine, *, env: Mapping[str, str], note: Note) -> None:
    """Build the base with mmdebstrap and import it as OWN; a cut leaves no process and no file behind."""
    folder = await asyncio.to_thread(_scratch_folder)
    try:
        command = _command(env)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_CHUNK,
            env=_environment(env, folder),
        )
        try:
            await _import(engine, process, note)
        finally:
            await _end(process)
    finally:
        await asyncio.to_thread(_remove, folder)


async def _import(engine: Engine, process: asyncio.subprocess.Process, note: Note) -> None:
    tail: deque[str] = deque(maxlen=15)
    reader = asyncio.create_task(_follow(process, tail, note))
    try:
        await engine.import_tar(_chunks(process, reader), reference=OWN, changes=_CHANGES)
    except CloudRouterError as error:
        # Where mmdebstrap failed, the engine only saw its input break off.
        if process.returncode not in (None, 0):
            raise _failed(process.returncode, tail) from error
        raise
    finally:
        reader.cancel()
        await asyncio.wait({reader})


async def _chunks(process: asyncio.subprocess.Process, reader: asyncio.Task[None]) -> AsyncIterator[bytes]:
    """The tar, which counts as whole only if mmdebstrap says so: an error here makes the engine drop it."""
    assert process.stdout is not None
    while data := await process.stdout.read(_CHUNK):
        yield data
    await reader
    if await process.wait() != 0:
        raise Unreachable("mmdebstrap failed before the base image was whole.")


async def _follow(process: asyncio.subprocess.Process, tail: deque[str], note: Note) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        text = line.decode(errors="replace").rstrip()
        if text:
            tail.append(text)
            note(text)


async def _end(process: asyncio.subprocess.Process) -> None:
    """TERM to the whole group, which cleans up after itself, then KILL."""
    if process.returncode is None:
        _signal(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await _drained(process)
    if process.returncode is None:
        _signal(process.pid, signal.SIGKILL)
        await _drained(process)


async def _drained(process: asyncio.subprocess.Process) -> None:
    """Wait for the end; output nobody wants is read away, so that a full pipe cannot hold it up."""
    assert process.stdout is not None
    while await process.stdout.read(_CHUNK):
        continue
    await process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _failed(status: int | None, tail: deque[str]) -> CloudRouterError:
    return Unreachable(
        f"mmdebstrap could not build the base image (status {status}):\n" + "\n".join(tail),
        fix="see its output above; often the Debian mirror cannot be reached from this host",
        next="cloudrouter image build core",
        output=list(tail),
    )


def _command(env: Mapping[str, str]) -> list[str]:
    tool = shutil.which("mmdebstrap", path=env.get("PATH"))
    if tool is None:
        raise NotConfigured(
            f"No registry gives {PULLED}, and mmdebstrap, which could build it from Debian's packages, is missing.",
            fix="install mmdebstrap, or let the container engine reach a registry",
            next="sudo apt-get install -y mmdebstrap",
        )
    options = [tool, "--variant=minbase", "--format=tar", '--aptopt=Acquire::Retries "3"']
    options += [f"--dpkgopt={line}" for line in _dpkg_options()]
    if os.path.exists(_KEYRING):
        options.append(f"--keyring={_KEYRING}")
    return [*options, sources.RELEASE, "-", *sources.debian_lines(sources.read_sources())]


def _dpkg_options() -> list[str]:
    """The same as the image's own, so that the base is slim from its first package on."""
    here = os.path.dirname(os.path.abspath(__file__))
    text = read_tree(os.path.join(here, "core", "rootfs"))["etc/dpkg/dpkg.cfg.d/cloudrouter"].decode()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _environment(env: Mapping[str, str], folder: str) -> dict[str, str]:
    known = {name: env[name] for name in ("PATH", "HOME", "USER", "LOGNAME") if name in env}
    return {**known, **host.proxies(env), "TMPDIR": folder, "LC_ALL": "C.UTF-8"}


def _scratch_folder() -> str:
    folder = tempfile.mkdtemp(prefix="cloudrouter-base-")
    os.chmod(folder, 0o755)  # noqa: S103 - mmdebstrap's mapped user must enter it; it holds public packages only
    return folder


def _remove(folder: str) -> None:
    """Take the scratch folder away, unless something is still mounted in it, which a removal would empty."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
        if any(f" {folder}/" in line for line in mounts):
            raise NotConfigured(
                f"mmdebstrap left something mounted below {folder}.",
                fix="unmount it and remove the folder",
                next=f"findmnt | grep {folder}",
            )
    shutil.rmtree(folder)
