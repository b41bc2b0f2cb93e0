"""The book: rows, uniqueness, migrations, events."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cloudrouter.server.store import events as events_module
from cloudrouter.server.store.database import migrate, open_database
from cloudrouter.server.store.events import EventStore
from cloudrouter.server.store.machines import MachineStore, Row
from cloudrouter.server.store.tables import metadata
from cloudrouter.wire import ids, states
from cloudrouter.wire.errors import Conflict, Internal


def row(**values: Any) -> Row:
    fields: dict[str, Any] = {
        "id": ids.new_machine_id(),
        "owner": "me",
        "name": "",
        "state": states.RUNNING,
        "reason": "",
        "provider": "memory",
        "handle": None,
        "image": "core",
        "size": "small",
        "cpu": 1.0,
        "memory_bytes": 1,
        "disk_bytes": None,
        "labels": {},
        "env": {},
        "ca_sha256": None,
        "mounts": [],
        "package_cache": False,
        "apps": [],
        "token": "secret-token",
        "idempotency_key": None,
        "confirmed": True,
        "unconfirmed_until": None,
        "created_at": 1.0,
        "started_at": None,
        "expires_at": None,
        "ready_ms": None,
        "updated_at": 1.0,
    }
    return Row(**{**fields, **values})


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = await open_database(str(tmp_path / "router.db"))
    yield engine
    await engine.dispose()


@pytest.fixture
async def store(engine: AsyncEngine) -> MachineStore:
    store = MachineStore(engine)
    await store.load()
    return store


async def test_rows_outlive_the_process(engine: AsyncEngine, store: MachineStore) -> None:
    one = await store.add(row(name="web", labels={"a": "ü"}, handle={"id": "x"}))
    await store.change(one.id, now=2.0, state=states.STOPPED, reason="because")
    again = MachineStore(engine)
    await again.load()
    found = again.get(one.id)
    assert found is not None
    assert (found.state, found.reason, found.labels, found.handle) == ("stopped", "because", {"a": "ü"}, {"id": "x"})
    assert found.updated_at == 2.0


async def test_a_name_is_taken_until_its_machine_is_gone(store: MachineStore) -> None:
    first = await store.add(row(name="web"))
    with pytest.raises(Conflict) as caught:
        await store.add(row(name="web"))
    assert caught.value.details["field"] == "name"
    await store.add(row(name="web", owner="other"))
    await store.change(first.id, now=2.0, state=states.GONE)
    await store.add(row(name="web"))


async def test_nameless_machines_do_not_collide(store: MachineStore) -> None:
    await store.add(row())
    await store.add(row())
    assert len(store.living("me")) == 2


async def test_an_idempotency_key_belongs_to_one_machine_for_ever(store: MachineStore) -> None:
    first = await store.add(row(idempotency_key="k"))
    with pytest.raises(Conflict):
        await store.add(row(idempotency_key="k"))
    await store.change(first.id, now=2.0, state=states.GONE)
    found = await store.get_by_key("me", "k")
    assert found is not None
    assert found.id == first.id
    assert await store.get_by_key("other", "k") is None


async def test_gone_machines_are_remembered_and_cannot_change(store: MachineStore) -> None:
    one = await store.add(row(name="web", env={"A": "secret"}))
    await store.change(one.id, now=2.0, state=states.GONE)
    await store.forget_env([one.id])
    assert store.get(one.id) is None
    assert await store.change(one.id, now=3.0, state=states.RUNNING) is None
    gone = await store.get_gone("me", "web")
    assert gone is not None
    assert (gone.id, gone.env, gone.token) == (one.id, {}, "")
    assert [found.id for found in await store.all("me")] == [one.id]


async def test_what_a_deleted_machine_was_told_is_in_no_file_any_more(
    engine: AsyncEngine, store: MachineStore, tmp_path: Path
) -> None:
    one = await store.add(row(env={"KEY": "a-very-secret-value"}))
    assert any(b"a-very-secret-value" in path.read_bytes() for path in tmp_path.glob("router.db*"))
    await store.change(one.id, now=2.0, state=states.GONE)
    await store.forget_env([one.id])
    assert not any(b"a-very-secret-value" in path.read_bytes() for path in tmp_path.glob("router.db*"))


async def test_changes_at_once_lose_nothing(store: MachineStore) -> None:
    one = await store.add(row())
    await asyncio.gather(
        store.change(one.id, now=2.0, reason="r"),
        store.change(one.id, now=2.0, expires_at=5.0),
        store.change(one.id, now=2.0, ready_ms=7),
    )
    found = store.get(one.id)
    assert found is not None
    assert (found.reason, found.expires_at, found.ready_ms) == ("r", 5.0, 7)


def test_a_row_does_not_show_its_token() -> None:
    assert "secret-token" not in repr(row())


async def test_the_database_is_private(engine: AsyncEngine, store: MachineStore, tmp_path: Path) -> None:
    await store.add(row())
    for path in tmp_path.glob("router.db*"):
        assert path.stat().st_mode & 0o077 == 0, path


async def test_migrations_lead_to_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    migrate(path)
    plain = sa.create_engine(f"sqlite:///{tmp_path}/b.db")
    metadata.create_all(plain)
    migrated = sa.create_engine(f"sqlite:///{path}")
    shapes = []
    for engine in (plain, migrated):
        inspector = sa.inspect(engine)
        tables = sorted(set(inspector.get_table_names()) - {"alembic_version"})
        shapes.append(
            {
                table: (
                    [
                        (column["name"], str(column["type"]), column["nullable"])
                        for column in inspector.get_columns(table)
                    ],
                    sorted((index["name"], index["unique"]) for index in inspector.get_indexes(table)),
                )
                for table in tables
            }
        )
        engine.dispose()
    assert shapes[0] == shapes[1]


async def test_an_opened_database_is_not_migrated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "router.db")
    await (await open_database(path)).dispose()

    def refuse(*_args: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("cloudrouter.server.store.database.migrate", refuse)
    await (await open_database(path)).dispose()


async def test_a_broken_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "router.db"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(Internal, match=r"router\.db"):
        await open_database(str(path))
    assert path.read_bytes().startswith(b"this is no")


async def test_a_linked_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"")
    os.symlink(tmp_path / "target", tmp_path / "router.db")
    with pytest.raises(OSError, match="symbolic"):
        await open_database(str(tmp_path / "router.db"))


async def test_events_keep_their_order_and_their_bound(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    store = EventStore(engine)
    for number in range(5):
        await store.append(at=1.0, kind="a.b", machine_id="m" if number % 2 else None, message=str(number), data={})
    assert [event["message"] for event in await store.after(0)] == ["0", "1", "2", "3", "4"]
    assert [event["message"] for event in await store.after(2)] == ["2", "3", "4"]
    assert [event["message"] for event in await store.after(0, machine_id="m")] == ["1", "3"]
    monkeypatch.setattr(events_module, "KEEP", 2)
    await store.trim()
    assert [event["message"] for event in await store.after(0)] == ["3", "4"]


def test_the_file_is_wal_so_that_readers_do_not_wait(tmp_path: Path) -> None:
    async def use() -> None:
        engine = await open_database(str(tmp_path / "router.db"))
        store = MachineStore(engine)
        await store.add(row())
        await engine.dispose()

    asyncio.run(use())
    with sqlite3.connect(tmp_path / "router.db") as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
