"""Taking leftovers away: what is in use by others stays with its reason, what fails is told."""

from __future__ import annotations

import os
from types import SimpleNamespace

from cloudrouter.cli.ownfolders import STATE_ENTRIES
from cloudrouter.providers.base import Leftover
from cloudrouter.server import settings
from cloudrouter.server.services.uninstall import Uninstall
from cloudrouter.wire.errors import Conflict
from cloudrouter.wire.machines import RemoveLeftovers


class Busy:
    """A provider of which nothing can be removed."""

    name = "docker"

    async def leftovers(self) -> list[Leftover]:
        return [Leftover("volume", "v"), Leftover("image", "cloudrouter/core:1")]

    async def remove_leftover(self, leftover: Leftover) -> None:
        raise Conflict(f"{leftover.name} is in use.")


async def test_image_when_it_is_in_use_then_is_kept_with_its_reason_and_a_volume_is_an_error() -> None:
    store = SimpleNamespace(living=list)
    work = Uninstall(SimpleNamespace(store=store, providers={"docker": Busy()}))  # type: ignore[arg-type]
    told = await work.remove(RemoveLeftovers(images=True, volumes=True))
    assert [(one["name"], one["reason"]) for one in told["kept"]] == [
        ("cloudrouter/core:1", "cloudrouter/core:1 is in use.")
    ]
    assert [one["name"] for one in told["errors"]] == ["v"]
    assert told["removed"] == []


def test_file_of_image_ids_when_a_router_keeps_one_then_lies_in_its_state_folder_and_goes_with_it() -> None:
    options = settings.from_environment({"CLOUDROUTER_STATE_DIR": "/s", "CLOUDROUTER_RUNTIME_DIR": "/r"})
    path = options.provider_options["docker"]["images_file"]
    assert os.path.dirname(path) == "/s"
    assert {os.path.basename(path), f"{os.path.basename(path)}.part"} <= STATE_ENTRIES
