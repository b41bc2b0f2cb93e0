"""Volumes on the engine: named after router and owner, found again by their labels."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from cloudrouter.providers.base import LABEL_MACHINE, LABEL_OWNER, LABEL_ROUTER, Clock, MachineSpec, Volume
from cloudrouter.providers.docker.api import EngineApi
from cloudrouter.providers.docker.network import short_id
from cloudrouter.providers.errors import Conflict, InvalidSpec, NotFound, ProviderBug, Unreachable
from cloudrouter.wire import boot, ids
from cloudrouter.wire.errors import CloudRouterError
from cloudrouter.wire.sidecars import WORKSPACE_IN_SIDECAR

LABEL_VOLUME = "cloudrouter.dev/volume"
"""The name that its owner gave it."""
LABEL_CREATED = "cloudrouter.dev/created-at"
"""Seconds since the epoch; the engine's own time moves whenever the volume's folder changes."""
MEASURE_DEADLINE_S = 60.0
BUSY_PAUSE_S = 0.1
_WORKSPACE = "workspace-"
"""In the place of an owner's eight digits, so that no volume of a person's has such a name."""


class DockerVolumes:
    """The volumes of one router, as `base.Volumes` asks for them."""

    def __init__(self, api: EngineApi, *, router_id: str, clock: Clock) -> None:
        self._api = api
        self._router_id = router_id
        self._clock = clock
        self._measuring = asyncio.Lock()

    async def ensure(self, name: str, *, owner: str) -> bool:
        """Make it unless it is there; whether it was made now. Another's of that name is a Conflict."""
        _check_name(name)
        known = engine_name(self._router_id, owner, name)
        try:
            self._check_labels(name, owner, await self._api.call("GET", f"volumes/{known}"))
        except NotFound:
            made_at = {LABEL_CREATED: f"{self._clock():.3f}"}
            body = {"Name": known, "Labels": labels(self._router_id, owner, name) | made_at}
            # Whoever is second to make it gets the first one's.
            self._check_labels(name, owner, await self._api.settle(self._api.call("POST", "volumes/create", body=body)))
            return True
        return False

    async def listed(self, *, owner: str | None = None) -> list[Volume]:
        """By name; what only looks like ours is left out."""
        entries = await self._entries()
        found = [_volume(entry) for entry in entries if self._is_ours(entry)]
        return sorted(
            (one for one in found if owner is None or one.owner == owner), key=lambda one: (one.name, one.owner)
        )

    async def measure(self, *, owner: str) -> Mapping[str, int]:
        """What the engine counts: it walks every volume on its host, so it is asked only on demand."""
        async with self._measuring:
            body = await self._disk_usage()
        sizes = {}
        for entry in body.get("Volumes") or ():
            size = (entry.get("UsageData") or {}).get("Size", -1)
            if self._is_ours(entry) and entry["Labels"][LABEL_OWNER] == owner and size >= 0:
                sizes[str(entry["Labels"][LABEL_VOLUME])] = int(size)
        return sizes

    async def remove(self, name: str, *, owner: str) -> None:
        """Remove it; missing is success, and one that a container has, running or not, is a Conflict."""
        _check_name(name)
        known = engine_name(self._router_id, owner, name)
        try:
            self._check_labels(name, owner, await self._api.call("GET", f"volumes/{known}"))
            await self._api.settle(self._api.call("DELETE", f"volumes/{known}"))
        except NotFound:
            return
        except Conflict as error:
            if "in use" not in error.message:
                raise
            raise Conflict(
                f"The volume {name} is used by a container: {error.message}",
                fix="Delete the machine that has it, or whatever else was given it by hand.",
                next="cloudrouter ls -a",
            ) from error

    async def explain(self, container_id: str, error: CloudRouterError) -> CloudRouterError:
        """The error of a start as it is, or, when a volume of the container is gone, as NotFound that names it."""
        try:
            body = await self._api.call("GET", f"containers/{container_id}/json")
        except CloudRouterError:
            return error
        for mount in body.get("Mounts") or ():
            known, source = str(mount.get("Name") or ""), str(mount.get("Source") or "")
            if known.startswith(_prefix(self._router_id)) and (
                known in error.message or (source and source in error.message)
            ):
                if known.startswith(f"{_prefix(self._router_id)}{_WORKSPACE}"):
                    return _lost_workspace(str(mount.get("Destination")))
                name = known[len(engine_name(self._router_id, "", "")) :]
                return NotFound(
                    f"The volume {name}, mounted at {mount.get('Destination')}, is gone from the engine: somebody "
                    "removed it there by hand.",
                    fix="What was in it is lost. Delete the machines that have it, then the volume; the next start "
                    "makes an empty one.",
                    next=f"cloudrouter volume inspect {name}",
                    volume=name,
                )
        return error

    async def workspaces(self) -> Mapping[str, str]:
        """Machine id -> owner, of every workspace that lies in a volume."""
        found = {}
        for entry in await self._entries():
            known = entry.get("Labels") or {}
            machine_id = str(known.get(LABEL_MACHINE) or "")
            if ids.is_machine_id(machine_id) and entry["Name"] == workspace_name(self._router_id, machine_id):
                found[machine_id] = str(known.get(LABEL_OWNER) or "")
        return found

    async def remove_workspace(self, machine_id: str) -> None:
        """Remove the volume of a machine's workspace, after its containers; missing is success."""
        name = workspace_name(self._router_id, machine_id)
        try:
            await self._api.settle(self._api.call("DELETE", f"volumes/{name}"))
        except NotFound:
            return
        except Conflict as error:
            raise Conflict(
                f"The workspace of {machine_id} is used by a container that is not its own: {error.message}",
                fix=f"Remove that container; docker ps -a --filter volume={name} shows it.",
            ) from error

    async def sizes(self) -> Mapping[str, int]:
        """Engine's name -> bytes, of every volume on the engine, whoever made it."""
        async with self._measuring:
            body = await self._disk_usage()
        sizes = {str(one["Name"]): (one.get("UsageData") or {}).get("Size", -1) for one in body.get("Volumes") or ()}
        return {name: int(size) for name, size in sizes.items() if size >= 0}

    async def _entries(self) -> list[Mapping[str, Any]]:
        filters = json.dumps({"label": [f"{LABEL_ROUTER}={self._router_id}"]})
        body = await self._api.call("GET", "volumes", params={"filters": filters})
        return list(body.get("Volumes") or ())

    async def _disk_usage(self) -> Mapping[str, Any]:
        """Newer engines look at volumes alone; older ones refuse while somebody else measures."""
        try:
            async with asyncio.timeout(MEASURE_DEADLINE_S):
                while True:
                    try:
                        body: Mapping[str, Any] = await self._api.call(
                            "GET", "system/df", params={"type": "volume"}, deadline_s=MEASURE_DEADLINE_S
                        )
                    except ProviderBug as error:
                        if "already running" not in error.message:
                            raise
                        await asyncio.sleep(BUSY_PAUSE_S)
                    else:
                        return body
        except TimeoutError as error:
            raise Unreachable(f"The engine did not measure its volumes within {MEASURE_DEADLINE_S:g} s.") from error

    def _is_ours(self, entry: Mapping[str, Any]) -> bool:
        """Whether its labels and its name agree that it is this router's."""
        found = entry.get("Labels") or {}
        owner, name = found.get(LABEL_OWNER), found.get(LABEL_VOLUME)
        if found.get(LABEL_ROUTER) != self._router_id or owner is None or name is None:
            return False
        return bool(entry["Name"] == engine_name(self._router_id, owner, name))

    def _check_labels(self, name: str, owner: str, entry: Mapping[str, Any]) -> None:
        found = entry.get("Labels") or {}
        wanted = labels(self._router_id, owner, name)
        if any(found.get(key) != value for key, value in wanted.items()):
            raise Conflict(
                f"A volume called {entry['Name']} is on the engine, but it is not this router's volume {name}.",
                fix=f"If nobody needs it: docker volume rm {entry['Name']}",
            )


def engine_name(router_id: str, owner: str, name: str) -> str:
    """The volume's name on the engine; owners are told apart by a digest, because they may be any text."""
    return f"{_prefix(router_id)}{hashlib.sha256(owner.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}-{name}"


def labels(router_id: str, owner: str, name: str) -> dict[str, str]:
    """By which a volume is known as ours."""
    return {LABEL_ROUTER: router_id, LABEL_OWNER: owner, LABEL_VOLUME: name}


def mounts(spec: MachineSpec) -> list[dict[str, Any]]:
    """The volumes of a spec as `containers/create` takes them; the engine would make a missing one, with our labels."""
    return [
        {
            "Type": "volume",
            "Source": engine_name(spec.router_id, spec.owner, mount.volume),
            "Target": mount.path,
            "ReadOnly": mount.read_only,
            "VolumeOptions": {"Labels": labels(spec.router_id, spec.owner, mount.volume)},
        }
        for mount in spec.mounts
    ]


def workspace_name(router_id: str, machine_id: str) -> str:
    """The engine's name of a workspace that a machine shares with its sidecars."""
    return f"{_prefix(router_id)}{_WORKSPACE}{ids.dns_label(machine_id)}"


def workspace_mounts(spec: MachineSpec) -> list[dict[str, Any]]:
    """The machine's workspace as a volume, where a sidecar is to have it; the engine makes it with the container."""
    if not any(one.workspace for one in spec.sidecars) or any(one.path == boot.WORKSPACE for one in spec.mounts):
        return []
    return [_workspace(spec, boot.WORKSPACE, read_only=False)]


def workspace_in_sidecar(spec: MachineSpec, *, read_only: bool) -> list[dict[str, Any]]:
    """The machine's workspace as a sidecar sees it, with the volumes that stand in it."""
    found = (
        []
        if any(one.path == boot.WORKSPACE for one in spec.mounts)
        else [_workspace(spec, WORKSPACE_IN_SIDECAR, read_only=read_only)]
    )
    for known, mount in zip(spec.mounts, mounts(spec), strict=True):
        if f"{known.path}/".startswith(f"{boot.WORKSPACE}/"):
            target = WORKSPACE_IN_SIDECAR + known.path[len(boot.WORKSPACE) :]
            options = {**mount["VolumeOptions"], "NoCopy": True}
            found.append(
                {**mount, "Target": target, "ReadOnly": read_only or known.read_only, "VolumeOptions": options}
            )
    return found


def _workspace(spec: MachineSpec, target: str, *, read_only: bool) -> dict[str, Any]:
    owned = {LABEL_ROUTER: spec.router_id, LABEL_OWNER: spec.owner, LABEL_MACHINE: spec.machine_id}
    return {
        "Type": "volume",
        "Source": workspace_name(spec.router_id, spec.machine_id),
        "Target": target,
        "ReadOnly": read_only,
        # A machine's own files go there first: what its image has in the workspace is copied, with its owner.
        "VolumeOptions": {"Labels": owned, "NoCopy": target != boot.WORKSPACE},
    }


def _prefix(router_id: str) -> str:
    return f"cloudrouter-{short_id(router_id)}-"


def is_persons(name: str) -> bool:
    """Whether the engine's name is that of a volume that outlives machines, of any router."""
    return re.fullmatch(r"cloudrouter-[0-9a-f]{8}-[0-9a-f]{8}-.*", name) is not None


def _lost_workspace(where: str) -> NotFound:
    return NotFound(
        f"The volume with the machine's workspace, mounted at {where}, is gone from the engine: somebody removed it "
        "there by hand.",
        fix="What was in it is lost. Delete the machine.",
        volume="workspace",
    )


def _check_name(name: str) -> None:
    """It goes into the engine's address, so nothing that is not a name gets through."""
    fault = ids.name_fault(name)
    if fault:
        raise InvalidSpec(f"{name[:40]!r} is not a volume's name: {fault}.", field="mounts")


def _volume(entry: Mapping[str, Any]) -> Volume:
    found = entry["Labels"]
    try:
        created_at = float(found.get(LABEL_CREATED, "nan"))
    except ValueError:
        created_at = math.nan
    return Volume(found[LABEL_VOLUME], found[LABEL_OWNER], created_at if math.isfinite(created_at) else None)
