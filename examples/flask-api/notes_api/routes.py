"""The addresses of the API."""

import sqlite3

from flask import Blueprint, abort, current_app, request, url_for
from werkzeug.routing import IntegerConverter

from . import db, validation

blueprint = Blueprint("api", __name__)

ONE_NOTE = "/notes/<note_id:note_id>"


class NoteId(IntegerConverter):
    """An id short enough for SQLite to hold: a longer one matches no address at all."""

    regex = "[0-9]{1,18}"


def init_app(app):
    app.url_map.converters["note_id"] = NoteId
    app.register_blueprint(blueprint)


@blueprint.get("/health")
def health():
    try:
        db.ping()
    except sqlite3.Error:
        current_app.logger.exception("The database cannot be read")
        return {"status": "unavailable", "database": "unreadable"}, 503
    return {"status": "ok", "database": "ok"}


@blueprint.get("/notes")
def list_notes():
    limit = validation.whole_number(
        request.args, "limit", validation.DEFAULT_LIMIT, 1, validation.MAX_LIMIT
    )
    offset = validation.whole_number(request.args, "offset", 0, 0, db.MAX_INTEGER)
    notes, total = db.list_notes(request.args.get("q", "").strip(), limit, offset)
    return {"notes": notes, "total": total, "limit": limit, "offset": offset}


@blueprint.post("/notes")
def create_note():
    note = db.add_note(**validation.note(validation.json_object(request)))
    return note, 201, {"Location": url_for("api.read_note", note_id=note["id"])}


@blueprint.get(ONE_NOTE)
def read_note(note_id):
    return db.get_note(note_id) or _not_found(note_id)


@blueprint.put(ONE_NOTE)
def replace_note(note_id):
    values = validation.note(validation.json_object(request))
    return db.update_note(note_id, values) or _not_found(note_id)


@blueprint.patch(ONE_NOTE)
def change_note(note_id):
    values = validation.note(validation.json_object(request), partial=True)
    return db.update_note(note_id, values) or _not_found(note_id)


@blueprint.delete(ONE_NOTE)
def delete_note(note_id):
    if not db.delete_note(note_id):
        _not_found(note_id)
    return "", 204


def _not_found(note_id):
    abort(404, description=f"There is no note {note_id}.")
