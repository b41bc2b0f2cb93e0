"""The package cache's process: begun with the first machine that wants it, begun again when it dies, asked for facts.

Machines do without it while it is away, so nothing here may keep one from starting.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from typing import Any, NamedTuple

import structlog

from cloudrouter.server.settings import Settings
from cloudrouter.wire.errors import Internal, Unreachable
from cloudrouter.wire.packages import NONCE

READY_DEADLINE_S = 15.0
ANSWER_DEADLINE_S = 30.0
VERIFY_DEADLINE_S = 900.0
LONG_ENOUGH_S = 30.0
"""A process that lived so long is begun again at once when it dies."""
FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 30.0
END_S = 5.0
LOG_BYTES = 5 * 1024 * 1024
REPLACED_SOON_S = 3600.0
"""An authority that the process replaces within this time is not told before the process has looked at it."""

log = structlog.get_logger("packages")


class _Public(NamedTuple):
    """The public part of the authority, as the process left it."""

    pem: str
    name_hash: str
    replace_at: float
    """Seconds since the epoch; 0 where it is not said."""


class PackageCache:
    """Keeps one process of `cloudrouter.cache` while anybody needs it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = f"{settings.state_dir}/packages"
        self._keeping: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._words: dict[str, str] | None = None
        self.restarts = 0
        """How often the process had to be begun again."""

    @property
    def door(self) -> str:
        """The folder that machines get to see."""
        return f"{self._folder}/door"

    def begin(self) -> None:
        """See to it that the process runs; returns at once. OSError when its folders cannot be made."""
        if self._keeping is None:
            self._prepare()
            self._keeping = asyncio.create_task(self._keep(), name="package cache")

    async def words(self) -> dict[str, str]:
        """What a machine must know of the cache: ca_pem, name_hash, nonce. Raises Unreachable when there is none."""
        if self._words is None:
            self._start()
            if not self._ready.is_set():
                # A machine's start does not wait for the process, unless that may be about to replace its authority:
                # the first time, when that ends soon, or when it is not whole. Not remembered: ready is what counts.
                public = self._read_public()
                if public is not None and self._will_stay(public):
                    return self._as_words(public)
                await self._await_ready()
            public = self._read_public()
            if public is None:
                raise Unreachable("The package cache has no certificate.", next="cloudrouter doctor")
            self._words = self._as_words(public)
        return self._words

    async def status(self) -> dict[str, Any]:
        """The stable schema of `cache status`."""
        facts = await self._ask("status")
        return {"folder": self._folder, "restarts": self.restarts, **facts}

    async def clear(self) -> dict[str, Any]:
        """Forget everything that is kept: {entries, bytes}."""
        return await self._ask("clear")

    async def verify(self) -> dict[str, Any]:
        """Read everything that is kept and forget what is damaged: {checked, damaged}."""
        return await self._ask("verify", deadline_s=VERIFY_DEADLINE_S)

    async def aclose(self) -> None:
        """End the process; machines go out to the registries themselves until the next one."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None

    # -- asking -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            self.begin()
        except OSError as error:
            raise Unreachable(
                f"The package cache's folder cannot be made: {error.strerror}.", fix=f"Look at {self._folder}."
            ) from error

    async def _await_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_DEADLINE_S):
                await self._ready.wait()
        except TimeoutError as error:
            raise Unreachable(
                f"The package cache's process was not ready within {READY_DEADLINE_S:g} s.",
                fix=f"Look into {self._log_path}.",
                next="cloudrouter doctor",
            ) from error

    async def _ask(self, op: str, *, deadline_s: float = ANSWER_DEADLINE_S) -> dict[str, Any]:
        self._start()
        await self._await_ready()
        process = self._process
        if process is None or process.stdin is None:
            raise Unreachable("The package cache's process has just ended.", fix="Try it again in a moment.")
        self._number += 1
        number = self._number
        answered = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            process.stdin.write(json.dumps({"id": number, "op": op}).encode() + b"\n")
            async with asyncio.timeout(deadline_s):
                answer = await answered
        except (TimeoutError, OSError) as error:
            raise Unreachable(f"The package cache did not answer within {deadline_s:g} s.") from error
        finally:
            self._asked.pop(number, None)
        if "error" in answer:
            raise Internal(f"The package cache failed: {answer['error']}", fix=f"Look into {self._log_path}.")
        return dict(answer["result"])

    # -- the process --------------------------------------------------------------------------------------------

    @property
    def _log_path(self) -> str:
        return f"{self._settings.state_dir}/logs/packages.log"

    def _prepare(self) -> None:
        """The folders and the nonce; the door's folder stays the same one for ever, because machines have it."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        os.makedirs(self.door, exist_ok=True)
        os.chmod(self.door, 0o711)  # noqa: S103 - a machine's users pass through it to the socket
        path = f"{self.door}/{NONCE}"
        if not os.path.exists(path):
            part = f"{self._folder}/{NONCE}.{secrets.token_hex(4)}"
            with open(part, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(16) + "\n")
            os.chmod(part, 0o644)
            os.replace(part, path)
        os.makedirs(os.path.dirname(self._log_path), mode=0o700, exist_ok=True)

    def _read_public(self) -> _Public | None:
        try:
            with open(f"{self._folder}/authority.json", encoding="ascii") as file:
                found = json.load(file)
            replace_at = found.get("replace_at")
            return _Public(str(found["pem"]), str(found["name_hash"]), replace_at if type(replace_at) is float else 0.0)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _will_stay(self, public: _Public) -> bool:
        """Whether the process will find its authority good when it begins."""
        return public.replace_at > time.time() + REPLACED_SOON_S and os.path.exists(f"{self._folder}/authority.key")

    def _as_words(self, public: _Public) -> dict[str, str]:
        with open(f"{self.door}/{NONCE}", encoding="ascii") as file:
            return {"ca_pem": public.pem, "name_hash": public.name_hash, "nonce": file.read().strip()}

    async def _keep(self) -> None:
        """Run the process again and again."""
        pause = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                code = await self._run()
                log.warning("the package cache has ended", status=code)
            except (OSError, ValueError) as error:
                # What it says no more, or in no words: killed in the middle of a line, for one.
                log.warning("the package cache cannot be begun or understood", reason=str(error)[:200])
            finally:
                self._forget()
            pause = FIRST_PAUSE_S if time.monotonic() - began > LONG_ENOUGH_S else min(pause * 2, LAST_PAUSE_S)
            await asyncio.sleep(pause)
            self.restarts += 1

    async def _run(self) -> int:
        """One process to its end; ending this ends the process."""
        config = {
            "folder": self._folder,
            "bound_bytes": self._settings.package_cache_bytes,
            "mirrors": dict(self._settings.package_mirrors),
        }
        errors = self._open_log()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "cloudrouter.cache"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C in a terminal is for the router alone
            )
        finally:
            os.close(errors)
        try:
            assert process.stdin is not None and process.stdout is not None  # noqa: PT018
            process.stdin.write(json.dumps(config).encode() + b"\n")
            while line := await process.stdout.readline():
                self._hear(process, _read_word(line))
            return await process.wait()
        finally:
            await asyncio.shield(_end(process))

    def _hear(self, process: asyncio.subprocess.Process, message: dict[str, Any]) -> None:
        if "ready" in message:
            self._process, self._words = process, None  # it may have made a new authority
            self._ready.set()
            log.info("the package cache serves", pid=process.pid)
            return
        answered = self._asked.get(message.get("id", 0))
        if answered is not None and not answered.done():
            answered.set_result(message)

    def _forget(self) -> None:
        """The process is gone: nobody waits for its answers, and its authority may be another next time."""
        self._process, self._words = None, None
        self._ready.clear()
        for answered in self._asked.values():
            if not answered.done():
                answered.set_exception(Unreachable("The package cache's process ended while it was asked."))

    def _open_log(self) -> int:
        """The log's end, after what is too long of it has been moved away."""
        path = self._log_path
        if os.path.exists(path) and os.path.getsize(path) > LOG_BYTES:
            os.replace(path, f"{path}.1")
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _read_word(line: bytes) -> dict[str, Any]:
    """One line of the process; ValueError when it is not what it says."""
    word = json.loads(line)
    if not isinstance(word, dict):
        raise ValueError("a line that is no object")
    return word


async def _end(process: asyncio.subprocess.Process) -> None:
    """Closing its stdin tells it to end; then it is killed."""
    if process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
