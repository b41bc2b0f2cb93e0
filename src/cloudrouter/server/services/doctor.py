"""Checks of everything a machine needs on this host, each with its remedy."""

from __future__ import annotations

import os
import shutil
from typing import Any

from cloudrouter.providers.base import Images, Need
from cloudrouter.server.services import readying
from cloudrouter.server.services.context import Context
from cloudrouter.server.ssh.keyfile import key_fault, key_path
from cloudrouter.wire import sizes
from cloudrouter.wire.errors import CloudRouterError

LOW_DISK_BYTES = 5 * sizes.GIB
MANY_OLD_BYTES = 2 * sizes.GIB


class Doctor:
    """Read-only, except that the provider may prove its walls."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def checks(self) -> list[dict[str, Any]]:
        """Every check: name, ok, message, fix."""
        found = [self._folders(), self._disk(), self._ssh()]
        name = self._context.settings.default_provider
        try:
            provider = self._context.provider(name)
            await provider.check()
            offer = (await provider.offers(Need()))[0]
            found.append(
                _check(
                    f"provider {name}",
                    ok=True,
                    message=f"answers; {offer.cpus} cpu, {sizes.format_bytes(offer.memory_bytes)} memory, "
                    f"{sizes.format_bytes(offer.available_memory_bytes)} of it available",
                )
            )
        except CloudRouterError as error:
            found.append(_check(f"provider {name}", ok=False, message=error.message, fix=error.fix or error.next))
            return found
        if isinstance(provider, Images):
            found += [await self._image(provider), *await self._old_builds(provider)]
        if provider.features().package_door:
            found.append(await self._packages())
        return found

    async def _old_builds(self, provider: Images) -> list[dict[str, Any]]:
        """Said only where they hold much: builds that are neither current nor used."""
        try:
            images = await provider.list_images()
        except CloudRouterError as error:
            return [_check("old images", ok=False, message=error.message, fix=error.fix or error.next)]
        old = [one for one in images if not one["current"] and not one["in_use"]]
        size = sum(int(one["size_bytes"]) for one in old)
        if size <= MANY_OLD_BYTES:
            return []
        # Layers that they share are counted more than once, so it is an upper bound.
        text = f"{len(old)} that nobody needs hold up to {sizes.format_bytes(size)}: cloudrouter image prune"
        return [_check("old images", ok=True, message=text)]

    async def _packages(self) -> dict[str, Any]:
        try:
            facts = await self._context.packages.status()
        except CloudRouterError as error:
            fix = f"{error.fix} Machines start without it."
            return _check("package cache", ok=False, message=error.message, fix=fix.strip())
        kept, bound = sizes.format_bytes(facts["bytes"]), sizes.format_bytes(facts["bound_bytes"])
        return _check("package cache", ok=True, message=f"pid {facts['pid']}, {kept} of {bound}")

    async def _image(self, provider: Images) -> dict[str, Any]:
        image = self._context.settings.default_image
        try:
            reference = await provider.resolve_image(image)
            if reference is None and image == readying.WHOLE:
                image = readying.LESS
                reference = await provider.resolve_image(image)
        except CloudRouterError as error:
            return _check(f"image {image}", ok=False, message=error.message, fix=error.fix)
        if reference is None:
            return _check(
                f"image {image}",
                ok=False,
                message="is not built, or older than this version",
                fix=f"cloudrouter image build {image} (the first start does it too)",
            )
        return _check(f"image {image}", ok=True, message=reference)

    def _folders(self) -> dict[str, Any]:
        settings = self._context.settings
        for folder in (settings.state_dir, settings.runtime_dir):
            mode = os.stat(folder).st_mode & 0o777
            if mode & 0o077:
                return _check("folders", ok=False, message=f"{folder} has mode {mode:04o}", fix=f"chmod 700 {folder}")
        return _check("folders", ok=True, message=f"{settings.state_dir} and {settings.runtime_dir} are private")

    def _ssh(self) -> dict[str, Any]:
        path = key_path(f"{self._context.settings.state_dir}/ssh")
        try:
            fault = key_fault(os.lstat(path))
        except FileNotFoundError:
            return _check("ssh authority", ok=True, message="is made when somebody first uses SSH")
        if fault:
            fix = f"chmod 600 {path}; if anybody may have read it: cloudrouter ssh-ca rotate"
            return _check("ssh authority", ok=False, message=f"{path}: {fault}", fix=fix)
        return _check("ssh authority", ok=True, message=f"{path} is private")

    def _disk(self) -> dict[str, Any]:
        free = shutil.disk_usage(self._context.settings.state_dir).free
        text = f"{sizes.format_bytes(free)} free for the router's state"
        return _check("disk", ok=free > LOW_DISK_BYTES, message=text, fix="" if free > LOW_DISK_BYTES else "Free some.")


def _check(name: str, *, ok: bool, message: str, fix: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "message": message, "fix": fix}
