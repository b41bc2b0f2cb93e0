"""Opening the database and bringing it to the newest shape."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from cloudrouter.server.store import migrations
from cloudrouter.wire.errors import Internal


def _tune(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL lets readers go on while one writes; NORMAL loses at most the last commits on a power cut, never the file.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "busy_timeout=5000",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


async def open_database(path: str) -> AsyncEngine:
    """The engine for the SQLite file at path, made and migrated when needed; mode 0600."""
    _create_private(path)
    if _revision(path) != migrations.HEAD:
        await asyncio.to_thread(migrate, path)
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    sa.event.listen(engine.sync_engine, "connect", _tune)
    return engine


def _create_private(path: str) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))


def _revision(path: str) -> str | None:
    connection = sqlite3.connect(path)
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None  # no such table: a new file
    except sqlite3.DatabaseError as error:
        raise Internal(
            f"The router's database {path} cannot be read: {error}.",
            fix="Move it away to begin with an empty one; machines of the old one can be removed with your engine.",
            next=f"mv {path} {path}.broken",
        ) from error
    finally:
        connection.close()
    return str(row[0]) if row else None


def migrate(path: str, revision: str = "head") -> None:
    """Run the migrations up to a revision; blocking, for a thread of its own."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", os.path.dirname(migrations.__file__))
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()
