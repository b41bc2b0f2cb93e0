"""Every failure leaves as JSON of one shape: {"error": {"code", "message", ...}}."""

import json

from werkzeug.exceptions import BadRequest, HTTPException


class InvalidInput(BadRequest):
    """Input of the right form with unusable values; `fields` says which and why."""

    code = 422

    def __init__(self, fields):
        super().__init__("Some of the values cannot be used.")
        self.fields = fields


def init_app(app):
    app.register_error_handler(HTTPException, _as_json)


def _as_json(error):
    # The original response is kept for its headers, such as Allow on a 405. An
    # unexpected exception arrives here too, as a plain 500 that gives nothing
    # of its details away; Flask has logged them.
    response = error.get_response()
    content = {"code": error.name.lower().replace(" ", "_"), "message": error.description}
    if isinstance(error, InvalidInput):
        content["fields"] = error.fields
    response.data = json.dumps({"error": content}) + "\n"
    response.content_type = "application/json"
    return response
