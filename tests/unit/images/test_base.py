"""Getting the base: what is here, a registry, mmdebstrap, and clean ends of all that goes wrong."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.images.fakes import FakeEngine

from cloudrouter.images import base
from cloudrouter.wire.errors import NotConfigured, ProviderBug, Unreachable


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))


def left_over(tmp_path: Path) -> list[str]:
    return os.listdir(tmp_path / "scratch")


def program(tmp_path: Path, body: str) -> dict[str, str]:
    """A PATH on which mmdebstrap is this script."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "mmdebstrap"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "SECRET_TOKEN": "hidden"}


async def test_ensure_when_base_is_here_then_nothing_is_fetched() -> None:
    engine = FakeEngine(pulls=False)
    engine.add(base.OWN)
    assert await base.ensure(engine, env={"PATH": "/nowhere"}, note=lambda text: None) == base.OWN


async def test_ensure_when_registry_answers_then_pulls() -> None:
    engine = FakeEngine()
    assert await base.ensure(engine, env={"PATH": "/nowhere"}, note=lambda text: None) == base.PULLED
    assert await engine.inspect_image(base.PULLED) is not None


async def test_ensure_when_nothing_works_then_says_what_to_install() -> None:
    with pytest.raises(NotConfigured) as caught:
        await base.ensure(FakeEngine(pulls=False), env={"PATH": "/nowhere"}, note=lambda text: None)
    assert "apt-get install" in caught.value.next
    assert "mmdebstrap" in caught.value.next


async def test_ensure_when_refreshing_then_pulls_though_base_is_here() -> None:
    engine = FakeEngine()
    old = engine.add(base.PULLED)
    await base.ensure(engine, env={"PATH": "/nowhere"}, note=lambda text: None, refresh=True)
    found = await engine.inspect_image(base.PULLED)
    assert found is not None
    assert found.id != old.id


async def test_bootstrap_streams_the_tar_and_tells_progress(tmp_path: Path) -> None:
    env = program(
        tmp_path, 'echo "I: working in $TMPDIR ${SECRET_TOKEN:-clean}" >&2; head -c 3000000 /dev/zero; echo "$@"'
    )
    engine, notes = FakeEngine(pulls=False), []
    assert await base.ensure(engine, env=env, note=notes.append) == base.OWN
    assert engine.imported[:3_000_000] == bytes(3_000_000)
    arguments = engine.imported[3_000_000:].decode()
    assert "--variant=minbase" in arguments
    assert "--dpkgopt=path-exclude=/usr/share/man/*" in arguments
    assert "bookworm - deb http" in arguments
    assert any("clean" in note and "scratch/cloudrouter-base-" in note for note in notes)
    assert left_over(tmp_path) == []


async def test_bootstrap_when_mmdebstrap_fails_then_nothing_is_imported(tmp_path: Path) -> None:
    env = program(tmp_path, 'head -c 100000 /dev/zero; echo "E: mirror is away" >&2; exit 3')
    engine = FakeEngine(pulls=False)
    with pytest.raises(Unreachable, match="mirror is away") as caught:
        await base.bootstrap(engine, env=env, note=lambda text: None)
    assert "status 3" in caught.value.message
    assert await engine.inspect_image(base.OWN) is None
    assert left_over(tmp_path) == []


async def test_bootstrap_when_engine_refuses_then_its_error_and_no_process(tmp_path: Path) -> None:
    env = program(tmp_path, "echo $$; exec sleep 1000")
    pids = []

    class Refusing(FakeEngine):
        async def import_tar(self, chunks: AsyncIterator[bytes], *, reference: str, changes: Sequence[str]) -> None:
            pids.append(int(await anext(chunks)))
            raise ProviderBug("disk is odd")

    with pytest.raises(ProviderBug, match="disk is odd"):
        await base.bootstrap(Refusing(), env=env, note=lambda text: None)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("stubborn", [False, True])
async def test_bootstrap_when_cancelled_then_whole_group_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: bool
) -> None:
    monkeypatch.setattr(base, "GRACE_S", 0.2)
    trap = "trap '' TERM; " if stubborn else ""
    body = f'{trap}touch "$TMPDIR/file"; sleep 1000 & echo $! $$ > {tmp_path}/pids; echo ready >&2; wait; sleep 1000'
    env = program(tmp_path, body)
    ready = asyncio.Event()
    task = asyncio.create_task(
        base.bootstrap(FakeEngine(), env=env, note=lambda text: ready.set() if text == "ready" else None)
    )
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for pid in (tmp_path / "pids").read_text().split():
        assert not is_running(int(pid))
    assert left_over(tmp_path) == []


def is_running(pid: int) -> bool:
    """Alive and no zombie that a parent has not fetched yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


async def test_ensure_when_a_registrys_image_bears_our_bases_name_then_it_is_not_taken() -> None:
    engine = FakeEngine()
    facts = engine.add(base.OWN)
    engine.images[facts.id] = replace(facts, made_here=False)
    assert await base.ensure(engine, env={"PATH": "/nowhere"}, note=lambda text: None) == base.PULLED
