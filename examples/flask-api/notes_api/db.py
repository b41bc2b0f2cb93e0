"""The SQLite file: one connection per request, and every statement the app runs."""

import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from flask import current_app, g

# The largest integer SQLite can hold.
MAX_INTEGER = 2**63 - 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    title      TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
)
"""


def init_app(app):
    """Create the file and its table when they are missing."""
    path = Path(app.config["DATABASE"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(SCHEMA)
    app.teardown_appcontext(_close)


def connection():
    if "db" not in g:
        g.db = sqlite3.connect(current_app.config["DATABASE"])
        g.db.row_factory = sqlite3.Row
    return g.db


def _close(_exception):
    opened = g.pop("db", None)
    if opened is not None:
        opened.close()


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ping():
    """Raise sqlite3.Error unless the notes can be read."""
    connection().execute("SELECT 1 FROM notes LIMIT 1").fetchone()


def list_notes(search, limit, offset):
    """One page of notes, the latest change first, and how many match in all."""
    pattern = search.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    values = {"pattern": f"%{pattern}%", "limit": limit, "offset": offset}
    matches = r"title LIKE :pattern ESCAPE '\' OR body LIKE :pattern ESCAPE '\'"
    rows = connection().execute(
        f"SELECT * FROM notes WHERE {matches}"
        " ORDER BY updated_at DESC, id DESC LIMIT :limit OFFSET :offset",
        values,
    )
    page = [dict(row) for row in rows]
    (total,) = connection().execute(f"SELECT count(*) FROM notes WHERE {matches}", values).fetchone()
    return page, total


def get_note(note_id):
    row = connection().execute("SELECT * FROM notes WHERE id = ?", (note_id,)).fetchone()
    return dict(row) if row else None


def add_note(title, body):
    moment = now()
    with connection() as transaction:
        cursor = transaction.execute(
            "INSERT INTO notes (title, body, created_at, updated_at) VALUES (?, ?, ?, ?)",
            (title, body, moment, moment),
        )
    return get_note(cursor.lastrowid)


def update_note(note_id, changes):
    """Set the given fields, leave the others. Returns the note, or None when there is none."""
    with connection() as transaction:
        transaction.execute(
            "UPDATE notes SET title = coalesce(:title, title), body = coalesce(:body, body),"
            " updated_at = :now WHERE id = :id",
            {"title": changes.get("title"), "body": changes.get("body"), "now": now(), "id": note_id},
        )
    return get_note(note_id)


def delete_note(note_id):
    with connection() as transaction:
        return transaction.execute("DELETE FROM notes WHERE id = ?", (note_id,)).rowcount == 1
