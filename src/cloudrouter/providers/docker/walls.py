"""The walls: firewall rules on the engine's host that close host, neighbours, private ranges and metadata to machines.

They are loaded by a short helper container in the host's network, so that the right to use the engine is enough.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, NamedTuple

from cloudrouter.providers.base import LABEL_ROUTER, Clock
from cloudrouter.providers.docker.api import EngineApi
from cloudrouter.providers.docker.network import BRIDGE_PREFIX
from cloudrouter.providers.docker.streams import split_output
from cloudrouter.providers.errors import Conflict, NotConfigured, NotFound, Unreachable
from cloudrouter.wire.errors import CloudRouterError

LABEL_HELPER = "cloudrouter.dev/helper"
RECHECK_S = 300.0
HELPER_DEADLINE_S = 40.0
HELPER_LIFE_S = 90.0
BRIDGES = BRIDGE_PREFIX + "*"
FindImage = Callable[[], Awaitable[str]]
_CAPABILITIES = ["NET_ADMIN", "DAC_OVERRIDE"]


class Seen(NamedTuple):
    """What a look at the walls found."""

    up: bool
    bridges: tuple[str, ...]
    """Bridges of all routers' machines that are there now."""


class Walls:
    """Put up before the first machine of a process, and again when the last look is some minutes old."""

    def __init__(self, api: EngineApi, *, router_id: str, clock: Clock, dns: tuple[str, ...] = ()) -> None:
        self._api = api
        self._router_id = router_id
        self._clock = clock
        self._dns = dns
        self._seen_at: float | None = None
        self._lock = asyncio.Lock()

    async def ensure(self, find_image: FindImage) -> None:
        """Load the rules and read them back, unless that was just done; raises when they do not stand."""
        if self._is_fresh():
            return
        async with self._lock:
            if self._is_fresh():
                return
            await self._remove_old_helpers()
            answer = await self._run_helper(await find_image(), ["up", BRIDGES, *self._dns])
            if not answer.get("up"):
                raise _refused(f"the rules that were loaded are not there: {answer}")
            self._seen_at = self._clock()

    def forget(self) -> None:
        """Look again before the next machine: the engine went away, or its host was restarted."""
        self._seen_at = None

    async def take_down(self, find_image: FindImage) -> None:
        """Remove the rules, unless some router's bridge still needs them."""
        self.forget()
        async with self._lock:
            await self._remove_old_helpers()
            await self._run_helper(await find_image(), ["down", BRIDGES])

    async def look(self, find_image: FindImage) -> Seen:
        """Whether rules stand, and for which bridges; changes nothing."""
        async with self._lock:
            answer = await self._run_helper(await find_image(), ["look", BRIDGES])
        return Seen(up=bool(answer.get("up")), bridges=tuple(map(str, answer.get("bridges") or ())))

    def _is_fresh(self) -> bool:
        return self._seen_at is not None and 0 <= self._clock() - self._seen_at < RECHECK_S

    async def _remove_old_helpers(self) -> None:
        """A helper outlives its call only when its process was killed; a young one is still at work for somebody."""
        filters = json.dumps({"label": [f"{LABEL_ROUTER}={self._router_id}", LABEL_HELPER]})
        for entry in await self._api.call("GET", "containers/json", params={"all": "1", "filters": filters}):
            if self._clock() - float(entry.get("Created") or 0) > HELPER_LIFE_S:
                await self._remove(entry["Id"])

    async def _run_helper(self, image: str, arguments: list[str]) -> dict[str, Any]:
        try:
            made = await self._api.settle(
                self._api.call("POST", "containers/create", body=self._body(image, arguments))
            )
        except NotFound as error:
            raise NotConfigured(
                f"The walls need the image {image}, which is not there.",
                fix="Build our own image: it holds what loads the walls.",
                next="cloudrouter image build",
            ) from error
        try:
            return await self._answer_of(made["Id"])
        finally:
            await self._api.settle(self._remove(made["Id"]))

    async def _answer_of(self, container: str) -> dict[str, Any]:
        try:
            await self._api.call("POST", f"containers/{container}/start")
            await self._api.call("POST", f"containers/{container}/wait", deadline_s=HELPER_DEADLINE_S)
            output = await self._api.read(
                f"containers/{container}/logs", params={"stdout": "1", "stderr": "1", "tail": "50"}
            )
        except Unreachable:
            raise
        except CloudRouterError as error:
            raise _refused(error.message) from error
        stdout, stderr = split_output(output)
        try:
            answer = json.loads(stdout)
        except ValueError as error:
            raise _refused((stderr or stdout).decode(errors="replace").strip()[-300:] or "no output") from error
        if not isinstance(answer, dict) or "error" in answer:
            raise _refused(str(answer)[:300])
        return answer

    async def _remove(self, container: str) -> None:
        try:
            await self._api.call("DELETE", f"containers/{container}", params={"force": "1", "v": "1"})
        except (NotFound, Conflict):
            return  # gone, or going already

    def _body(self, image: str, arguments: list[str]) -> dict[str, Any]:
        script = files(__package__).joinpath("wallscript.py").read_text(encoding="utf-8")
        return {
            "Image": image,
            "Entrypoint": [],
            "Cmd": ["python3", "-I", "-S", "-c", script, *arguments],
            "User": "0:0",
            "WorkingDir": "/",
            "Labels": {LABEL_ROUTER: self._router_id, LABEL_HELPER: "walls"},
            "HostConfig": {
                "NetworkMode": "host",
                "CapDrop": ["ALL"],
                "CapAdd": _CAPABILITIES,
                "Binds": ["/run:/host/run:ro"],
                "Memory": 256 * 1024**2,
                "PidsLimit": 64,
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            },
        }


def _refused(reason: str) -> NotConfigured:
    return NotConfigured(
        f"The walls around machines cannot be put up: {reason.rstrip('.')}.",
        fix="Machines are made only behind them: the engine's host needs nftables in its kernel, and the engine must "
        "allow host networking and NET_ADMIN to our helper.",
        next="cloudrouter doctor",
    )
