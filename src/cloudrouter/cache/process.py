"""The process: told by the router on stdin what to do, answering on stdout, ending when the router does.

The first line on stdin is the configuration, `{"folder", "bound_bytes", "mirrors"}`; the first on stdout is
`{"ready": {...}}`. Then lines `{"id", "op"}` are answered by `{"id", "result"}` or `{"id", "error"}`.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cloudrouter.cache.answers import Answers
from cloudrouter.cache.authority import Certificates, load_or_make
from cloudrouter.cache.counters import Counters
from cloudrouter.cache.door import Door
from cloudrouter.cache.fills import Fills
from cloudrouter.cache.limits import Limits
from cloudrouter.cache.log import log
from cloudrouter.cache.store import Store, find_damaged
from cloudrouter.cache.upstream import Upstream

LOCK_WAIT_S = 20.0
SAVE_EVERY_S = 15.0


class Cache:
    """All parts of the process, put together."""

    def __init__(
        self, folder: str, *, bound_bytes: int, mirrors: dict[str, str], now: Callable[[], float] = time.time
    ) -> None:
        self._counters_path = f"{folder}/counters.json"
        self.counters = Counters.load(self._counters_path)
        self.store = Store(f"{folder}/store", bound_bytes=bound_bytes, now=now)
        self.store.load()
        self.authority = load_or_make(folder, now)
        self.upstream = Upstream(mirrors)
        self.fills = Fills(self.store, self.upstream, self.counters, now)
        self.limits = Limits(time.monotonic)
        answers = Answers(self.store, self.fills, self.upstream, self.counters, self.limits, now)
        self.door = Door(f"{folder}/door", Certificates(self.authority, now), answers, self.limits)
        self._saved = asdict(self.counters)

    async def save_counters(self) -> None:
        """Keep the numbers, again and again."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            self.save()

    def save(self) -> None:
        """Keep the numbers if they have changed; a full disk costs only them."""
        now = asdict(self.counters)
        if now == self._saved:
            return
        try:
            self.counters.save(self._counters_path)
            self._saved = now
        except OSError as error:
            log(f"the counters cannot be written: {error.strerror}")

    async def aclose(self) -> None:
        """End downloads and connections, and keep the numbers."""
        await self.fills.aclose()
        await self.upstream.aclose()
        self.save()

    def status(self) -> dict[str, Any]:
        """What `cache status` shows."""
        return {
            "pid": os.getpid(),
            "entries": len(self.store),
            "bytes": self.store.bytes,
            "bound_bytes": self.store.bound_bytes,
            "dropped": self.store.dropped,
            **asdict(self.counters),
        }

    def clear(self) -> dict[str, Any]:
        """Forget all that is kept."""
        entries, size = self.store.clear()
        return {"entries": entries, "bytes": size}

    async def verify(self) -> dict[str, Any]:
        """Read everything that is kept, and forget what is not as it came."""
        snapshot = self.store.snapshot()
        damaged = await asyncio.to_thread(find_damaged, snapshot)
        for key in damaged:
            self.store.remove(key)
        return {"checked": len(snapshot), "damaged": len(damaged)}

    async def obey(self, op: str) -> dict[str, Any]:
        """One order of the router's."""
        if op == "verify":
            return await self.verify()
        return {"status": self.status, "clear": self.clear}[op]()


def main() -> int:
    """The process's life; returns its exit status."""
    os.umask(0o077)
    # aiohttp tells of every request that a machine garbled; what is our own fault is logged where it is met.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    with open(0, "rb", buffering=0, closefd=False) as file:
        line = file.readline()  # and not a byte more, for the rest is read by the loop
    if not line:
        return 0
    config = json.loads(line)
    lock = _take_lock(config["folder"])
    if lock is None:
        log("another process holds the package cache's folder")
        return 3
    import uvloop

    with lock, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(config))
    return 0


def _take_lock(folder: str) -> Any:
    """The lock of the folder; one whose router was killed lets go as soon as it sees that."""
    file = open(f"{folder}/lock", "a", encoding="ascii")  # noqa: SIM115 - held for life
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                return None
        _pause(0.05)


def _pause(seconds: float) -> None:
    import select

    select.select([], [], [], seconds)


async def _run(config: dict[str, Any]) -> None:
    cache = Cache(config["folder"], bound_bytes=config["bound_bytes"], mirrors=config.get("mirrors") or {})
    gc.freeze()
    serving = asyncio.create_task(cache.door.serve())
    saving = asyncio.create_task(cache.save_counters())
    _say({"ready": {"pid": os.getpid()}})
    listening = asyncio.create_task(_listen(cache))
    try:
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    finally:
        for task in (serving, saving, listening):
            task.cancel()
        await asyncio.gather(serving, saving, listening, return_exceptions=True)
        await cache.aclose()


async def _listen(cache: Cache) -> None:
    """Take orders until the router goes."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    orders: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        order = asyncio.create_task(_obey(cache, json.loads(line)))
        orders.add(order)
        order.add_done_callback(orders.discard)


async def _obey(cache: Cache, order: dict[str, Any]) -> None:
    answer: dict[str, Any]
    try:
        answer = {"result": await cache.obey(order["op"])}
    except Exception as error:  # noqa: BLE001 - the router tells it to whoever asked
        log(f"{order.get('op')} failed: {type(error).__name__}: {error}")
        answer = {"error": f"{type(error).__name__}: {error}"}
    _say({"id": order.get("id"), **answer})


def _say(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")
