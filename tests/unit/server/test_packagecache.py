"""The package cache's process under the router's care: begun, asked, begun again, ended; never in a machine's way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.unit.server.conftest import start, wait

from cloudrouter.client.transport import Transport
from cloudrouter.server.services import packagecache
from cloudrouter.server.services.packagecache import PackageCache
from cloudrouter.server.services.packaging import note, wanted
from cloudrouter.server.settings import Settings, from_environment
from cloudrouter.wire import routes
from cloudrouter.wire.errors import NotConfigured, Unreachable


@pytest_asyncio.fixture
async def cache(settings: Settings) -> AsyncIterator[PackageCache]:
    os.makedirs(settings.state_dir, mode=0o700)
    made = PackageCache(settings)
    yield made
    await made.aclose()


async def test_the_process_when_first_asked_then_is_there_and_private(cache: PackageCache, settings: Settings) -> None:
    before = os.umask(0)
    try:
        words = await cache.words()
    finally:
        os.umask(before)
    assert set(words) == {"ca_pem", "name_hash", "nonce"}
    assert Path(cache.door, "nonce").read_text().strip() == words["nonce"]
    status = await cache.status()
    assert (status["entries"], status["bound_bytes"], status["restarts"]) == (0, 10 * 2**30, 0)
    assert status["pid"] != os.getpid()
    assert Path(f"/proc/{status['pid']}/cmdline").read_bytes().endswith(b"cloudrouter.cache\0")
    modes = {path: os.stat(path).st_mode & 0o777 for path in (os.path.dirname(cache.door), cache.door)}
    assert list(modes.values()) == [0o700, 0o711]
    assert os.stat(f"{cache.door}/nonce").st_mode & 0o777 == 0o644
    assert await cache.verify() == {"checked": 0, "damaged": 0}
    assert await cache.clear() == {"entries": 0, "bytes": 0}
    assert os.path.dirname(cache.door) == f"{settings.state_dir}/packages"


async def test_the_process_when_killed_then_is_begun_again_with_the_same_authority_and_door(
    cache: PackageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, status = await cache.words(), await cache.status()
    folder = os.stat(cache.door).st_ino
    os.kill(status["pid"], signal.SIGKILL)
    async with asyncio.timeout(20):
        while True:
            try:
                again = await cache.status()
            except Unreachable:
                await asyncio.sleep(0.01)
                continue
            if again["pid"] != status["pid"]:
                break
    assert again["restarts"] == 1
    assert await cache.words() == words
    assert os.stat(cache.door).st_ino == folder


def with_a_slow_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The process begins only when this file is there."""
    program, gate = tmp_path / "python", tmp_path / "gate"
    os.mkfifo(gate)
    program.write_text(f'#!/bin/sh\nread line <{gate}\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return gate


async def test_the_words_when_the_process_is_not_ready_and_its_authority_stays_then_are_told_at_once(
    cache: PackageCache, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = await cache.words()
    await cache.aclose()
    gate = with_a_slow_process(tmp_path, monkeypatch)
    again = PackageCache(settings)
    assert await again.words() == words
    (Path(again.door).parent / "authority.json").write_text("{}")  # so that the process makes another
    with open(await asyncio.to_thread(os.open, gate, os.O_WRONLY), "w") as file:
        file.write("go\n")
    await again.status()
    newer = await again.words()
    assert newer["ca_pem"] != words["ca_pem"]
    assert await again.words() is newer
    await again.aclose()


@pytest.mark.parametrize("spoil", ["ends soon", "says nothing", "no key"])
async def test_the_words_when_the_process_may_replace_its_authority_then_wait_for_it(
    cache: PackageCache, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    await cache.words()
    await cache.aclose()
    folder = Path(cache.door).parent
    told = json.loads((folder / "authority.json").read_text())
    if spoil == "no key":
        (folder / "authority.key").unlink()
    else:
        changed = {**told, "replace_at": time.time() + 60 if spoil == "ends soon" else None}
        (folder / "authority.json").write_text(json.dumps(changed))
    gate = with_a_slow_process(tmp_path, monkeypatch)
    again = PackageCache(settings)
    asked = asyncio.create_task(again.words())
    with open(await asyncio.to_thread(os.open, gate, os.O_WRONLY), "w") as file:
        assert not asked.done()
        file.write("go\n")
    words = await asked
    assert (words["ca_pem"] != told["pem"]) is (spoil == "no key")
    assert words["ca_pem"] == json.loads((folder / "authority.json").read_text())["pem"]
    await again.aclose()


async def test_the_process_when_it_ends_in_the_middle_of_a_line_then_is_begun_again(
    cache: PackageCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    mark = tmp_path / "mark"
    program.write_text(f'#!/bin/sh\n[ -e {mark} ] && exec {sys.executable} "$@"\n: >{mark}\nprintf \'{{"ready": tr\'\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert (await cache.status())["restarts"] == 1


async def test_the_process_when_its_router_ends_or_is_killed_then_ends_too(cache: PackageCache) -> None:
    pid = (await cache.status())["pid"]
    await cache.aclose()
    assert not os.path.exists(f"/proc/{pid}")
    with pytest.raises(FileNotFoundError):
        os.stat(f"/proc/{pid}")


async def test_the_process_when_it_cannot_begin_then_is_told_and_a_machine_does_without(
    cache: PackageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packagecache, "READY_DEADLINE_S", 0.3)
    monkeypatch.setattr(packagecache.sys, "executable", "/bin/false")
    with pytest.raises(Unreachable, match="not ready"):
        await cache.words()
    context = FakeContext(cache)
    assert await wanted(context, context.row) == {}  # type: ignore[arg-type]
    assert context.row.package_cache is False
    assert "not ready" in context.told[0]


async def test_a_folder_when_it_cannot_be_made_then_is_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    made = PackageCache(settings)
    with pytest.raises(Unreachable, match="folder cannot be made"):
        await made.words()
    await made.aclose()


class FakeRow:
    id, package_cache = "cr_23456789", True


class FakeContext:
    """As much of a context as these functions use."""

    def __init__(self, packages: Any = None) -> None:
        self.packages, self.row, self.told = packages, FakeRow(), []
        self.store, self.events = self, self

    def get(self, _machine: str) -> FakeRow:
        return self.row

    def emit(self, kind: str, message: str, **_data: Any) -> None:
        assert kind == "machine.package_cache_off"
        self.told.append(message)

    async def set(self, row: FakeRow, *, package_cache: bool) -> FakeRow:
        row.package_cache = package_cache
        return row


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ({"configured": {"packages": {"on": True, "reason": ""}}}, None),
        ({"configured": {"packages": {"on": False, "reason": "no port"}}}, "no port"),
        ({"configured": {}}, "does not know"),
        ({"configured": {"packages": {"on": 1, "reason": 7}}}, "does not know"),
        ({"configured": {"packages": {"on": False, "reason": "\x1b[2Jx"}}}, "does not know"),
        ({"configured": {"packages": {"on": "yes", "reason": "x" * 9999}}}, "x" * 200),
        ({"configured": []}, "does not know"),
        ({}, "does not know"),
    ],
)
async def test_what_a_guest_says_of_the_cache_when_noted_then_only_a_clear_yes_counts(
    answer: dict[str, Any], word: str | None
) -> None:
    context = FakeContext()
    await note(context, context.row, answer)  # type: ignore[arg-type]
    assert context.row.package_cache is (word is None)
    assert [word in message and len(message) < 300 for message in context.told if word] == [True] * (word is not None)


def test_a_machine_when_its_provider_has_no_door_then_has_no_cache_and_none_is_begun(
    router: Transport, settings: Settings
) -> None:
    machine = start(router, package_cache=True)
    assert machine["package_cache"] is False
    assert wait(router, machine["id"])["machine"]["package_cache"] is False
    assert not os.path.exists(f"{settings.state_dir}/packages")


def test_the_api_when_asked_then_tells_and_empties_the_cache(router: Transport, settings: Settings) -> None:
    status = router.call("GET", routes.PACKAGE_CACHE)
    assert status["folder"] == f"{settings.state_dir}/packages"
    assert router.call("POST", f"{routes.PACKAGE_CACHE}/clear") == {"entries": 0, "bytes": 0}
    assert router.call("POST", f"{routes.PACKAGE_CACHE}/verify") == {"checked": 0, "damaged": 0}


def test_settings_when_the_environment_names_them_then_bound_and_mirrors_are_read() -> None:
    env = {
        "HOME": "/h",
        "CLOUDROUTER_PACKAGE_CACHE_SIZE": "20g",
        "CLOUDROUTER_PACKAGE_MIRRORS": "pypi.org=https://pypi.example.com/x, registry.npmjs.org=https://npm.example.com",
    }
    made = from_environment(env)
    assert made.package_cache_bytes == 20 * 2**30
    assert made.package_mirrors == {
        "pypi.org": "https://pypi.example.com/x",
        "registry.npmjs.org": "https://npm.example.com",
    }
    assert from_environment({"HOME": "/h"}).package_cache_bytes == 10 * 2**30


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLOUDROUTER_PACKAGE_CACHE_SIZE", "much"),
        ("CLOUDROUTER_PACKAGE_MIRRORS", "evil.example=https://x"),
        ("CLOUDROUTER_PACKAGE_MIRRORS", "pypi.org=http://x"),
        ("CLOUDROUTER_PACKAGE_MIRRORS", "pypi.org"),
    ],
)
def test_settings_when_they_cannot_be_understood_then_name_the_variable(name: str, value: str) -> None:
    with pytest.raises(NotConfigured, match=name):
        from_environment({"HOME": "/h", name: value})
