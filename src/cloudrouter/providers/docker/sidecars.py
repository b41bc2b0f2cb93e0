"""Sidecars on the engine: made, started, stopped and removed with their machine; every step can be cut."""

from __future__ import annotations

import asyncio
import builtins
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from cloudrouter.images import pulling, recipe, references
from cloudrouter.images.known import Known
from cloudrouter.providers.base import (
    LABEL_MACHINE,
    LABEL_ROUTER,
    LABEL_SIDECAR,
    NESTED,
    MachineSpec,
    Progress,
    SidecarSeen,
)
from cloudrouter.providers.docker import container, sidecarspec
from cloudrouter.providers.docker.api import EngineApi
from cloudrouter.providers.docker.cgroups import find_path
from cloudrouter.providers.docker.containers import Containers
from cloudrouter.providers.docker.host import HostFacts
from cloudrouter.providers.docker.images import DockerEngine
from cloudrouter.providers.docker.sidecarspec import Place, Share
from cloudrouter.providers.docker.streams import join_output
from cloudrouter.providers.errors import Conflict, InvalidSpec, NotFound, NotRunning, ProviderBug
from cloudrouter.wire.errors import CloudRouterError
from cloudrouter.wire.sidecars import Sidecar
from cloudrouter.wire.sizes import MIN_MEMORY_BYTES

T = TypeVar("T")

STOP_SLACK_S = 30.0
LOG_BYTES = 1024 * 1024
_HARMLESS = frozenset(
    {recipe.LABEL_IMAGE, recipe.LABEL_PART, recipe.LABEL_DIGEST, recipe.LABEL_BASE, recipe.LABEL_BASE_ID}
    | {recipe.LABEL_SOURCE, recipe.LABEL_ORIGIN}
)


class DockerSidecars:
    """The sidecars of one router's machines."""

    def __init__(self, api: EngineApi, *, router_id: str, containers: Containers, known: Known) -> None:
        self._api = api
        self._router_id = router_id
        self._containers = containers
        self._known = known
        self._beside: dict[str, list[str]] = {}
        """machine id -> ids of its sidecars whose limits lie beside its own; filled when it is asked for."""

    # -- images -------------------------------------------------------------------------------------------------

    async def check_image(self, name: str) -> None:
        """See `base.Sidecars`."""
        references.check(name)
        reference = references.engine_reference(name)
        if references.may_be_pulled(name) or await self._engine().inspect_image(reference) is not None:
            return
        raise NotFound(f"The image {name} is not in the engine.", fix="Build it, or load it.", next="docker images")

    async def fetch_image(self, name: str, *, progress: Progress) -> None:
        """See `base.Sidecars`; nothing is put into the image."""
        engine, reference = self._engine(), references.engine_reference(name)
        found = await engine.inspect_image(reference)
        if found is None and references.may_be_pulled(name):
            progress({"step": "pulling", "detail": name})
            reason = await pulling.pull(engine, name, note=lambda line: progress({"step": "pulling", "detail": line}))
            if reason:
                raise pulling.refused(name, reason)
            found = await engine.inspect_image(reference)
        if found is None:
            raise NotFound(f"The image {name} is not in the engine.", fix="Build it, or load it.", next="docker images")
        alien = [one for one in found.labels if one.startswith("cloudrouter.dev/") and one not in _HARMLESS]
        if alien:
            raise InvalidSpec(
                f"The image {name} carries the label {alien[0]}, by which CloudRouter knows its own things.",
                fix="Build it without.",
                field="sidecars",
            )

    def _engine(self) -> DockerEngine:
        return DockerEngine(self._api.docker, self._known)

    # -- life with the machine ----------------------------------------------------------------------------------

    async def make(self, spec: MachineSpec, beside: str, facts: HostFacts) -> None:
        """Those of a spec that are not there are made, and all started; beside is the machine's running container."""
        self._beside.pop(spec.machine_id, None)
        is_beside = any(not _is_nested(one) for one in await self.entries(spec.machine_id))
        place = Place("") if is_beside else await self._place(beside, facts)
        if place.parent:
            shares = sidecarspec.shares_inside(spec.sidecars)
            if not await self._make_all(spec, place, shares, beside, facts):
                await self.remove_all(spec.machine_id)
                place = Place("")
        if not place.parent:
            shares, left = sidecarspec.shares_beside(spec.sidecars, cpu=spec.cpu, memory_bytes=spec.memory_bytes)
            changes = container.limits(left.cpu or 0, left.memory_bytes or 0)
            await self._api.settle(self._api.call("POST", f"containers/{beside}/update", body=changes))
            await self._make_all(spec, place, shares, beside, facts)

    async def _make_all(
        self, spec: MachineSpec, place: Place, shares: Mapping[str, Share], beside: str, facts: HostFacts
    ) -> bool:
        """Make and start them; whether their control groups are where they were wanted."""
        made = await _all(self._make_one(spec, one, shares[one.name], place, beside, facts) for one in spec.sidecars)
        return not place.parent or all([await self._is_inside(one, beside) for one in made])

    async def _make_one(
        self, spec: MachineSpec, one: Sidecar, share: Share, place: Place, beside: str, facts: HostFacts
    ) -> str:
        name = sidecarspec.engine_name(spec.machine_id, one.name)
        body = sidecarspec.create_body(
            spec, one, share, beside=beside, place=place, ulimits=self._containers.ulimits(facts)
        )
        body["Image"] = references.engine_reference(one.image)
        try:
            container_id = await self._existing(name, spec.machine_id)
            if container_id is None:
                order = self._api.call("POST", "containers/create", params={"name": name}, body=body)
                container_id = str((await self._api.settle(order))["Id"])
            await self._start(container_id)
        except (InvalidSpec, NotFound, ProviderBug) as error:
            raise InvalidSpec(
                f"The sidecar {one.name} cannot be started: {error.message}",
                fix="Look at its image and its command.",
                field="sidecars",
            ) from error
        return container_id

    async def _existing(self, name: str, machine_id: str) -> str | None:
        try:
            body = await self._api.call("GET", f"containers/{name}/json")
        except NotFound:
            return None
        labels = body["Config"].get("Labels") or {}
        if (labels.get(LABEL_ROUTER), labels.get(LABEL_MACHINE)) != (self._router_id, machine_id):
            told = f"A container called {name} is there, but it is not this router's."
            raise Conflict(told, fix=f"docker rm -f {name}")
        return str(body["Id"])

    async def start_all(self, machine_id: str) -> None:
        """After the machine's own start; one that does not start is left to whoever looks after it."""

        async def start(entry: Mapping[str, Any]) -> None:
            try:
                await self._start(str(entry["Id"]))
            except (InvalidSpec, ProviderBug, NotFound):
                return  # its state says so

        await _each(await self.entries(machine_id), start)

    async def stop_all(self, machine_id: str, *, seconds: int) -> None:
        """Before the machine's own stop, all at once: its control groups may hold theirs."""
        self._beside.pop(machine_id, None)
        running = [one for one in await self.entries(machine_id) if one.get("State") not in ("created", "exited")]
        await _each(running, lambda entry: self._stop(entry, seconds))

    async def remove_all(self, machine_id: str, *, thaw: str = "") -> None:
        """Before the machine's own removal; thaw is its container: what is frozen with it cannot be ended."""
        self._beside.pop(machine_id, None)
        there = await self.entries(machine_id)
        if there and thaw:
            await self._try("unpause", thaw)
        await _each(there, lambda entry: self._api.settle(self._containers.remove(str(entry["Id"]))))

    async def freeze(self, machine_id: str, *, frozen: bool) -> None:
        """Those beside the machine's control groups; those within are frozen and thawed with it."""
        for container_id in await self.beside(machine_id):
            await self._try("pause" if frozen else "unpause", container_id)

    async def refit(
        self, machine_id: str, machine: Mapping[str, Any], cpu: float, memory_bytes: int, *, cpus: str
    ) -> dict[str, Any]:
        """What the machine's own container gets of a new size; cpus: those it moves to, empty when it stays.

        InvalidSpec when its sidecars were promised more than that.
        """
        entries = await self.entries(machine_id)
        bodies = [await self._api.call("GET", f"containers/{one['Id']}/json") for one in entries]
        own = [one["HostConfig"] for one in bodies]
        if all(_is_nested(one) for one in entries):
            if any((one.get("NanoCpus") or 0) > round(cpu * 1e9) for one in own):
                raise InvalidSpec("A sidecar of this machine was given more cpu than that.", field="cpu")
            if cpus and entries:
                await self._move(machine, entries, cpus)
            return container.limits(cpu, memory_bytes)
        cpu -= sum(one.get("NanoCpus") or 0 for one in own) / 1e9
        memory_bytes -= sum(one.get("Memory") or 0 for one in own)
        if cpu < sidecarspec.MIN_CPU or memory_bytes < MIN_MEMORY_BYTES:
            raise InvalidSpec("The machine's sidecars would leave nothing of that to itself.", field="memory_bytes")
        return container.limits(cpu, memory_bytes)

    async def _move(self, machine: Mapping[str, Any], entries: Iterable[Mapping[str, Any]], cpus: str) -> None:
        """Let nested sidecars go to other cpus: theirs must be among the machine's at every moment."""
        both = {"CpusetCpus": f"{machine['HostConfig']['CpusetCpus']},{cpus}"}
        await self._api.settle(self._api.call("POST", f"containers/{machine['Id']}/update", body=both))
        for one in entries:
            body = {"CpusetCpus": cpus}
            await self._api.settle(self._api.call("POST", f"containers/{one['Id']}/update", body=body))

    async def beside(self, machine_id: str) -> builtins.list[str]:
        """Ids of those whose limits, and counts, are not the machine's own."""
        if machine_id not in self._beside:
            entries = await self.entries(machine_id)
            self._beside[machine_id] = [str(one["Id"]) for one in entries if not _is_nested(one)]
        return self._beside[machine_id]

    # -- one of them --------------------------------------------------------------------------------------------

    async def start_one(self, machine_id: str, name: str) -> None:
        """See `base.Sidecars`."""
        entry = await self._find(machine_id, name)
        try:
            await self._start(str(entry["Id"]))
        except (Conflict, NotFound) as error:
            raise NotRunning(f"{machine_id} does not run, and so its sidecar {name} cannot.") from error
        except (InvalidSpec, ProviderBug) as error:
            if "cannot join" in error.message or "non running" in error.message:
                raise NotRunning(f"{machine_id} does not run, and so its sidecar {name} cannot.") from error
            raise InvalidSpec(
                f"The sidecar {name} cannot be started: {error.message}", fix="Look at its image and its command."
            ) from error

    async def stop_one(self, machine_id: str, name: str, *, seconds: int) -> None:
        """See `base.Sidecars`."""
        await self._stop(await self._find(machine_id, name), seconds)

    async def read_log(self, machine_id: str, name: str, *, tail: int | None) -> bytes:
        """See `base.Sidecars`: both streams in the order in which they were written."""
        lines = "10000" if tail is None else str(max(0, tail))
        params = {"stdout": "1", "stderr": "1", "tail": lines}
        entry = await self._find(machine_id, name)
        output = await self._api.read(f"containers/{entry['Id']}/logs", params=params)
        return join_output(output)[-LOG_BYTES:]

    async def seen(self, machine_id: str) -> builtins.list[tuple[str, SidecarSeen]]:
        """(container id, what is seen) of each; one that goes away meanwhile is left out."""
        found = []
        for one in await self.entries(machine_id):
            try:
                body = await self._api.call("GET", f"containers/{one['Id']}/json")
            except NotFound:
                continue
            found.append((str(one["Id"]), sidecarspec.observe(body)))
        return sorted(found, key=lambda pair: pair[1].name)

    async def with_ended(self) -> builtins.list[str]:
        """Ids of machines that have a sidecar which does not run."""
        entries = await self._listed(status=["created", "exited", "dead"])
        return sorted({sidecarspec.machine_in(one)[0] for one in entries})

    async def entries(self, machine_id: str, *, size: bool = False) -> builtins.list[Mapping[str, Any]]:
        """The engine's list of one machine's sidecars; `size` has it count what they wrote, which takes its time."""
        return await self._listed(f"{LABEL_MACHINE}={machine_id}", size=size)

    async def _listed(
        self, *labels: str, size: bool = False, status: Iterable[str] = ()
    ) -> builtins.list[Mapping[str, Any]]:
        filters: dict[str, Any] = {"label": [f"{LABEL_ROUTER}={self._router_id}", LABEL_SIDECAR, *labels]}
        if status:
            filters["status"] = list(status)
        params = {"all": "1", "filters": json.dumps(filters), **({"size": "1"} if size else {})}
        found = await self._api.call("GET", "containers/json", params=params)
        if not isinstance(found, builtins.list):
            raise ProviderBug("The container engine's list of containers is none.")
        return found

    async def _find(self, machine_id: str, name: str) -> Mapping[str, Any]:
        for one in await self.entries(machine_id):
            if sidecarspec.name_in(one) == name:
                return one
        raise NotFound(f"{machine_id} has no sidecar {name[:40]!r}.", next=f"cloudrouter apps {machine_id}")

    # -- the engine ---------------------------------------------------------------------------------------------

    async def _start(self, container_id: str) -> None:
        await self._api.settle(self._api.call("POST", f"containers/{container_id}/start"))

    async def _stop(self, entry: Mapping[str, Any], seconds: int) -> None:
        path, params = f"containers/{entry['Id']}/stop", {"t": str(seconds)}
        try:
            if entry.get("State") == "paused":
                await self._try("unpause", str(entry["Id"]))
            await self._api.settle(self._api.call("POST", path, params=params, deadline_s=seconds + STOP_SLACK_S))
        except NotFound:
            return

    async def _try(self, verb: str, container_id: str) -> None:
        """Freeze or thaw; what is so already, or gone, is success."""
        try:
            await self._api.settle(self._api.call("POST", f"containers/{container_id}/{verb}"))
        except (Conflict, ProviderBug, NotFound):
            return

    async def _place(self, beside: str, facts: HostFacts) -> Place:
        if not facts.can_nest:
            return Place("")
        body = await self._api.call("GET", f"containers/{beside}/json")
        return Place(await asyncio.to_thread(find_path, int(body["State"].get("Pid") or 0), beside))

    async def _is_inside(self, container_id: str, beside: str) -> bool:
        """Whether a sidecar that runs is in its machine's control groups; one that has ended is not asked."""
        try:
            pid = int((await self._api.call("GET", f"containers/{container_id}/json"))["State"].get("Pid") or 0)
        except CloudRouterError:
            return True
        found = await asyncio.to_thread(find_path, pid, container_id) if pid else ""
        return not found or found.endswith(f"/{beside}/{container_id}")


async def _each(entries: builtins.list[Mapping[str, Any]], act: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
    await _all(act(one) for one in entries)


async def _all(work: Iterable[Awaitable[T]]) -> builtins.list[T]:
    """All at once, to the end of each, also when one fails or this is cancelled; then the first error."""
    done = await asyncio.gather(*work, return_exceptions=True)
    for one in done:
        if isinstance(one, BaseException):
            raise one
    return [one for one in done if not isinstance(one, BaseException)]


def _is_nested(entry: Mapping[str, Any]) -> bool:
    return bool((entry.get("Labels") or {}).get(sidecarspec.LABEL_LIMITS) == NESTED)
