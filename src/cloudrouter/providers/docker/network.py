"""The bridge network of one router: neighbours apart, no IPv6, a name that the walls know."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

from cloudrouter.providers.base import LABEL_ROUTER
from cloudrouter.providers.docker.api import EngineApi
from cloudrouter.providers.errors import Conflict, NotFound
from cloudrouter.wire.errors import CloudRouterError

BRIDGE_PREFIX = "crb-"


class Network:
    """Made when the first machine needs it; `remove` takes it away again."""

    def __init__(self, api: EngineApi, router_id: str, *, find_mtu: Callable[[], Awaitable[int | None]]) -> None:
        self._api = api
        self._find_mtu = find_mtu
        self._router_id = router_id
        word = short_id(router_id)
        self.name = f"cloudrouter-{word}"
        self.bridge = f"{BRIDGE_PREFIX}{word}"
        self._there = False
        self._making = asyncio.Lock()

    async def ensure(self) -> bool:
        """Make the network unless it is there, and say whether it was made; another's of that name is a Conflict."""
        if self._there:
            return False
        async with self._making:
            made = not self._there and await self._find() is None
            if made:
                await self._make()
            self._there = True
        return made

    async def _make(self) -> None:
        body = self._body(await self._find_mtu())
        try:
            await self._api.settle(self._api.call("POST", "networks/create", body=body))
        except CloudRouterError:
            # Another process of this router may have been quicker. Engines tell that in many ways: the name is taken
            # (409), the bridge's name is (403); so the question is only whether the network is there now.
            if await self._find() is None:
                raise

    def forget(self) -> None:
        """Look again the next time."""
        self._there = False

    async def reconnect(self, container_id: str) -> None:
        """Put a stopped container into the network of today; it remembers the one of yesterday by its id."""
        body = {"Container": container_id, "Force": True}
        await self._api.call("POST", f"networks/{self.name}/disconnect", body=body)
        await self._api.call("POST", f"networks/{self.name}/connect", body={"Container": container_id})

    async def remove(self) -> None:
        """Remove the network; missing is success, machines in it are a Conflict."""
        self.forget()
        found = await self._find()
        if found is None:
            return
        try:
            await self._api.settle(self._api.call("DELETE", f"networks/{found}"))
        except NotFound:
            return

    async def is_there(self) -> bool:
        """Whether the engine has it now."""
        return await self._find() is not None

    async def _find(self) -> str | None:
        try:
            body = await self._api.call("GET", f"networks/{self.name}")
        except NotFound:
            return None
        labels, options = body.get("Labels") or {}, body.get("Options") or {}
        if labels.get(LABEL_ROUTER) != self._router_id or options.get(_BRIDGE_NAME) != self.bridge:
            raise Conflict(
                f"A network called {self.name} is there, but it is not this router's.",
                fix=f"Remove it: docker network rm {self.name}",
            )
        return str(body["Id"])

    def _body(self, mtu: int | None) -> dict[str, Any]:
        options = {_BRIDGE_NAME: self.bridge, "com.docker.network.bridge.enable_icc": "false"}
        if mtu is not None:
            options["com.docker.network.driver.mtu"] = str(mtu)
        return {
            "Name": self.name,
            "CheckDuplicate": True,
            "Driver": "bridge",
            "EnableIPv6": False,
            "Options": options,
            "Labels": {LABEL_ROUTER: self._router_id},
        }


_BRIDGE_NAME = "com.docker.network.bridge.name"


def short_id(router_id: str) -> str:
    """Eight hexadecimal digits for a router: its id's own, or those of the id's digest."""
    if re.fullmatch(r"[0-9a-f]{8,}", router_id):
        return router_id[:8]
    return hashlib.sha256(router_id.encode()).hexdigest()[:8]
