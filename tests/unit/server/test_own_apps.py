"""Apps that people give: kept by their digest, refused when hostile, forgotten when nobody has them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloudrouter.images import apps
from cloudrouter.server.services import ownapps
from cloudrouter.server.services.ownapps import OwnApps
from cloudrouter.wire.errors import CloudRouterError, InvalidSpec

FEATURE = json.dumps({"id": "notes", "version": "1"}).encode()
WHOLE = {"devcontainer-feature.json": FEATURE, "install.sh": b"#!/bin/sh\n"}


def tar(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for entry in more:
            archive.addfile(entry)
    return target.getvalue()


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 700):
        yield data[at : at + 700]


@pytest.fixture
def own(tmp_path: Path) -> OwnApps:
    return OwnApps(str(tmp_path / "apps"))


async def test_app_is_kept_by_what_it_is(own: OwnApps) -> None:
    name = await own.take(pieces(tar(WHOLE)))
    assert name == await own.take(pieces(tar(WHOLE)))
    other = await own.take(pieces(tar({**WHOLE, "more": b"1"})))
    assert name.startswith("notes@")
    assert other.startswith("notes@")
    assert other != name
    assert sorted(path.name for path in Path(own.folder).iterdir()) == sorted([name, other])
    assert apps.find(name, own.folder).name == name


async def test_kept_app_that_was_damaged_is_put_right_by_giving_it_again(own: OwnApps) -> None:
    name = await own.take(pieces(tar(WHOLE)))
    Path(own.folder, name, "install.sh").write_text("other")
    assert await own.take(pieces(tar(WHOLE))) == name
    assert Path(own.folder, name, "install.sh").read_bytes() == WHOLE["install.sh"]


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


@pytest.mark.parametrize(
    "data",
    [
        tar({"install.sh": b""}),
        tar({"devcontainer-feature.json": FEATURE}),
        tar({**WHOLE, "../../escaped": b"x"}),
        tar({**WHOLE, "/abs": b"x"}),
        tar(WHOLE, link("inside", "install.sh")),
        tar(WHOLE, link("outside", "/etc/shadow")),
        tar(WHOLE, link("device", "", tarfile.CHRTYPE)),
        tar({**WHOLE, "devcontainer-feature.json": b'{"id": "../x"}'}),
        tar({**WHOLE, "devcontainer-feature.json": b'{"id": "two--dashes"}'}),
        tar({**WHOLE, "app.toml": b'name = "notes"\n'}),
        tar(WHOLE)[:700],
        b"no tar at all" * 200,
        b"",
    ],
    ids=range(13),
)
async def test_hostile_apps_are_refused_and_leave_nothing(own: OwnApps, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(CloudRouterError):
        await own.take(pieces(data))
    assert list(Path(own.folder).iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["apps"]


async def test_too_much_is_read_to_its_end_and_refused(own: OwnApps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownapps, "ARCHIVE_LIMIT", 2000)
    stream = pieces(tar({**WHOLE, "large": b"x" * 9000}))
    with pytest.raises(InvalidSpec, match="larger"):
        await own.take(stream)
    assert [piece async for piece in stream] == []


async def test_what_nobody_has_is_forgotten(own: OwnApps) -> None:
    name = await own.take(pieces(tar(WHOLE)))
    other = await own.take(pieces(tar({**WHOLE, "more": b"1"})))
    await own.forget({other, "vscode"})
    assert [path.name for path in Path(own.folder).iterdir()] == [other]
    with pytest.raises(CloudRouterError):
        apps.find(name, own.folder)


async def test_nothing_to_forget_where_nothing_was_ever_given(own: OwnApps) -> None:
    await own.forget(())
    assert not Path(own.folder).exists()
