"""A small JSON API for notes, kept in SQLite."""

import os
from pathlib import Path

from flask import Flask

from . import db, errors, routes


def create_app(config=None):
    """Build the app. `config` wins over the environment and the defaults."""
    app = Flask(__name__, instance_path=str(Path(__file__).resolve().parent.parent / "instance"))
    app.config.update(
        DATABASE=os.environ.get("NOTES_DB") or str(Path(app.instance_path) / "notes.sqlite3"),
        MAX_CONTENT_LENGTH=64 * 1024,
    )
    app.config.update(config or {})
    app.json.sort_keys = False

    db.init_app(app)
    errors.init_app(app)
    routes.init_app(app)
    return app
