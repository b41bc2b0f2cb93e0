"""Checks on what clients send. Each function returns clean values or raises."""

from werkzeug.exceptions import BadRequest

from .errors import InvalidInput

MAX_TITLE = 120
MAX_BODY = 10_000
MAX_LIMIT = 100
DEFAULT_LIMIT = 20


def json_object(request):
    """The JSON object in the request. Another content type is answered with 415."""
    try:
        data = request.get_json()
    except RecursionError:
        raise BadRequest("The JSON is nested too deeply.") from None
    if not isinstance(data, dict):
        raise BadRequest("The request must hold a JSON object.")
    return data


def note(data, partial=False):
    """The fields of a note. A partial one may leave fields out, but not all of them."""
    problems = {name: "There is no such field." for name in data if name not in ("title", "body")}
    values = {}

    if "title" in data:
        values["title"] = data["title"].strip() if isinstance(data["title"], str) else data["title"]
        if problem := _text_problem(values["title"], MAX_TITLE):
            problems["title"] = problem
        elif not values["title"]:
            problems["title"] = "Must not be blank."
    elif not partial:
        problems["title"] = "Is required."

    if "body" in data:
        values["body"] = data["body"]
        if problem := _text_problem(values["body"], MAX_BODY):
            problems["body"] = problem
    elif not partial:
        values["body"] = ""

    if problems:
        raise InvalidInput(problems)
    if not values:
        raise BadRequest("Give at least one of title and body.")
    return values


def whole_number(args, name, default, least, most):
    """A whole number from the query string."""
    text = args.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)):
        if least <= int(text) <= most:
            return int(text)
    raise InvalidInput({name: f"Must be a whole number from {least} to {most}."})


def _text_problem(value, most):
    if not isinstance(value, str):
        return "Must be text."
    if len(value) > most:
        return f"Must have {most} characters at most."
    try:
        value.encode()
    except UnicodeEncodeError:
        # JSON can spell half of a surrogate pair, which is not text.
        return "Holds a character that is not valid Unicode."
    return None
