"""Providers that behave badly in one way each, around any provider that behaves well: for the tests of the router.

They carry the mandatory core alone, and their features say so.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from cloudrouter.providers import base
from cloudrouter.providers.base import Features, Handle, MachineSpec, Need, Observation, Offer, Provider
from cloudrouter.providers.errors import NoCapacity, NotFound, NotRunning, Unreachable
from cloudrouter.wire.errors import CloudRouterError

_CORE_ONLY = {
    "pause": False,
    "pause_keeps_memory": False,
    "snapshots": False,
    "volumes": False,
    "resize": False,
    "console": False,
    "images": False,
    "stats": False,
    "removable": False,
}


class Wrapper:
    """Passes everything on; the fakes below change one thing."""

    def __init__(self, inner: Provider) -> None:
        self.inner = inner
        self.name = inner.name

    async def check(self) -> None:
        """As the inner provider."""
        await self.inner.check()

    def features(self) -> Features:
        """The inner provider's, without optional protocols."""
        return replace(self.inner.features(), **_CORE_ONLY)  # type: ignore[arg-type]

    async def offers(self, need: Need) -> list[Offer]:
        """As the inner provider."""
        return await self.inner.offers(need)

    async def create(self, spec: MachineSpec) -> Handle:
        """As the inner provider."""
        return await self.inner.create(spec)

    async def inspect(self, handle: Handle) -> Observation:
        """As the inner provider."""
        return await self.inner.inspect(handle)

    async def stop(self, handle: Handle, *, grace_s: float = 5.0) -> None:
        """As the inner provider."""
        await self.inner.stop(handle, grace_s=grace_s)

    async def start(self, handle: Handle) -> None:
        """As the inner provider."""
        await self.inner.start(handle)

    async def delete(self, handle: Handle) -> None:
        """As the inner provider."""
        await self.inner.delete(handle)

    async def list(self) -> AsyncIterator[Observation]:
        """As the inner provider."""
        async for seen in self.inner.list():
            yield seen

    async def dial(self, handle: Handle, *, port: int) -> socket.socket:
        """As the inner provider."""
        return await self.inner.dial(handle, port=port)

    async def aclose(self) -> None:
        """As the inner provider."""
        await self.inner.aclose()


class Slow(Wrapper):
    """Waits before everything that changes a machine: for a time, or for whatever the test decides (`wait(verb)`)."""

    def __init__(
        self, inner: Provider, *, delay_s: float = 1.0, wait: Callable[[str], Awaitable[object]] | None = None
    ) -> None:
        super().__init__(inner)
        self._delay_s = delay_s
        self._wait = wait or self._sleep

    async def _sleep(self, _verb: str) -> None:
        await asyncio.sleep(self._delay_s)

    async def create(self, spec: MachineSpec) -> Handle:
        """Late."""
        await self._wait("create")
        return await super().create(spec)

    async def stop(self, handle: Handle, *, grace_s: float = 5.0) -> None:
        """Late."""
        await self._wait("stop")
        await super().stop(handle, grace_s=grace_s)

    async def start(self, handle: Handle) -> None:
        """Late."""
        await self._wait("start")
        await super().start(handle)

    async def delete(self, handle: Handle) -> None:
        """Late."""
        await self._wait("delete")
        await super().delete(handle)


class NeverReady(Wrapper):
    """Makes machines that are pending for ever; they can be listed and deleted."""

    async def inspect(self, handle: Handle) -> Observation:
        """Pending, or gone once deleted."""
        return _pending(await super().inspect(handle))

    async def list(self) -> AsyncIterator[Observation]:
        """All pending."""
        async for seen in super().list():
            yield _pending(seen)

    async def dial(self, handle: Handle, *, port: int) -> socket.socket:
        """Never."""
        raise NotRunning(f"{handle.data.get('machine_id')} is pending.")


class FailsAtOnce(Wrapper):
    """Refuses every creation with one error and leaves nothing."""

    def __init__(self, inner: Provider, *, error: CloudRouterError | None = None) -> None:
        super().__init__(inner)
        self._error = error or NoCapacity("There is no room for another machine.")

    async def create(self, spec: MachineSpec) -> Handle:
        """Never."""
        raise self._error


class FailsLate(Wrapper):
    """Makes a machine that looks well at first and has failed from the n-th look on."""

    def __init__(self, inner: Provider, *, after: int = 2, reason: str = "its boot disk broke") -> None:
        super().__init__(inner)
        self._after = after
        self._reason = reason
        self._looks: dict[str, int] = {}

    def _look(self, seen: Observation) -> Observation:
        if seen.state == base.GONE:
            return seen
        count = self._looks[seen.machine_id] = self._looks.get(seen.machine_id, 0) + 1
        return seen if count <= self._after else replace(seen, state=base.FAILED, reason=self._reason)

    async def inspect(self, handle: Handle) -> Observation:
        """One look."""
        return self._look(await super().inspect(handle))

    async def list(self) -> AsyncIterator[Observation]:
        """One look at each."""
        async for seen in super().list():
            yield self._look(seen)

    async def dial(self, handle: Handle, *, port: int) -> socket.socket:
        """Nothing answers, neither before nor after."""
        seen = await self.inspect(handle)
        if seen.state != base.RUNNING:
            raise NotRunning(f"{seen.machine_id} is {seen.state}.")
        raise Unreachable(f"Nothing answers at port {port} of {seen.machine_id}.")


class LosesMachine(Wrapper):
    """Forgets machines when told to: from then on they are gone, and nobody had deleted them."""

    async def lose(self, machine_id: str) -> None:
        """Lose a machine behind the router's back."""
        found = [seen.handle async for seen in self.inner.list() if seen.machine_id == machine_id]
        if not found:
            raise NotFound(f"{machine_id} is not there to be lost.")
        for handle in found:
            await self.inner.delete(handle)


class Liar(Wrapper):
    """Says that every machine runs, also stopped and deleted ones, while nothing ever answers."""

    async def inspect(self, handle: Handle) -> Observation:
        """Running, of course."""
        return replace(await super().inspect(handle), state=base.RUNNING, reason="")

    async def list(self) -> AsyncIterator[Observation]:
        """All running."""
        async for seen in super().list():
            yield replace(seen, state=base.RUNNING, reason="")

    async def dial(self, handle: Handle, *, port: int) -> socket.socket:
        """Nothing answers."""
        raise Unreachable(f"Nothing answers at port {port} of {handle.data.get('machine_id')}.")


class Duplicates(Wrapper):
    """Makes two machines for one id; the second has a handle of its own, answers nobody, and must be deleted too."""

    def __init__(self, inner: Provider) -> None:
        super().__init__(inner)
        self.twins: dict[str, Observation] = {}
        """machine id -> the second machine, as long as nobody deleted it."""

    async def create(self, spec: MachineSpec) -> Handle:
        """One too many."""
        handle = await super().create(spec)
        twin = Handle(handle.provider, {**handle.data, "twin": True})
        self.twins[spec.machine_id] = Observation(spec.machine_id, twin, base.RUNNING, owner=spec.owner)
        return handle

    async def inspect(self, handle: Handle) -> Observation:
        """Each by its own handle."""
        if "twin" not in handle.data:
            return await super().inspect(handle)
        machine_id = str(handle.data["machine_id"])
        return self.twins.get(machine_id, Observation(machine_id, handle, base.GONE))

    async def delete(self, handle: Handle) -> None:
        """Each by its own handle."""
        if "twin" not in handle.data:
            await super().delete(handle)
        else:
            self.twins.pop(str(handle.data["machine_id"]), None)

    async def list(self) -> AsyncIterator[Observation]:
        """The machines, then their twins."""
        async for seen in super().list():
            yield seen
        for twin in list(self.twins.values()):
            yield twin

    async def dial(self, handle: Handle, *, port: int) -> socket.socket:
        """Twins do not answer."""
        if "twin" in handle.data:
            raise Unreachable(f"Nothing answers at port {port} of {handle.data['machine_id']}.")
        return await super().dial(handle, port=port)


def _pending(seen: Observation) -> Observation:
    return seen if seen.state == base.GONE else replace(seen, state=base.PENDING, reason="", started_at=None)
