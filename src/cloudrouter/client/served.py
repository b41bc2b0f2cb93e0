"""Reading what is said of a machine's doors, apps, ports and terminals: it may be hostile, so nothing is believed."""

from __future__ import annotations

from cloudrouter.wire.errors import Internal, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DESKTOP = "desktop"
"""The app that has a screen."""
_URL_LETTERS = 8 * 1024


def read_door(answer: Any) -> dict[str, Any]:
    """The answer to `open`; Internal when it holds no address that a browser could be given."""
    if not isinstance(answer, dict) or not all(_is_url(answer.get(word)) for word in ("url", "lasting_url")):
        raise Internal("The router did not say where the machine can be seen.", next="cloudrouter server status")
    return answer


def read_closed(answer: Any) -> int:
    """How much the answer to `close` has ended."""
    count = answer.get("closed") if isinstance(answer, dict) else None
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise Internal("The router did not say what it closed.")
    return count


def read_apps(answer: Any) -> list[dict[str, Any]]:
    """The apps of a list."""
    return [read_app(one) for one in _list(answer, "apps")]


def read_app(app: Any) -> dict[str, Any]:
    """The state of one app."""
    if not isinstance(app, dict) or not all(isinstance(app.get(word), str) for word in ("name", "state")):
        raise Internal("The machine described an app in a way that cannot be read.")
    return app


def read_log(answer: Any) -> str:
    """The text of a log."""
    text = answer.get("log") if isinstance(answer, dict) else None
    if not isinstance(text, str):
        raise Internal("The router did not tell what the app wrote.")
    return text


def read_ports(answer: Any) -> list[dict[str, Any]]:
    """The ports of a list, by number; each number once."""
    found = {}
    for one in _list(answer, "ports"):
        port = one.get("port") if isinstance(one, dict) else None
        if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
            raise Internal("The machine listed its ports in a way that cannot be read.")
        found[port] = one
    return [found[port] for port in sorted(found)]


def read_ptys(answer: Any) -> list[dict[str, Any]]:
    """The terminals of a list."""
    return [read_pty(one) for one in _list(answer, "ptys")]


def read_pty(pty: Any) -> dict[str, Any]:
    """The description of one terminal."""
    if not isinstance(pty, dict) or not isinstance(pty.get("id"), str):
        raise Internal("The machine described a terminal in a way that cannot be read.")
    return pty


def read_session(started: Any) -> str:
    """The id of the terminal that one is at now."""
    session = started.get("session") if isinstance(started, dict) else None
    if not isinstance(session, str) or not session or not session.isprintable() or len(session) > 64:
        raise Internal("The machine did not say which terminal this is.")
    return session


def app_word(name: str) -> str:
    """The name, when an app can have it; UsageError otherwise."""
    from cloudrouter.wire.flavours import app_fault

    # With a digest it is judged as a stranger's, which may have any name that is well made.
    fault = app_fault(f"{name}@{'0' * 12}")
    if fault:
        raise UsageError(
            f"{name[:40]!r} is no app: {fault}.", fix="See which apps there are.", next="cloudrouter apps ID"
        )
    return name


def _list(answer: Any, word: str) -> list[Any]:
    found = answer.get(word) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise Internal(f"The machine did not list its {word} in a way that can be read.")
    return found


def _is_url(value: Any) -> bool:
    """Whether this is an address that may be printed and handed to a browser as one word."""
    return (
        isinstance(value, str)
        and len(value) <= _URL_LETTERS
        and value.startswith(("http://", "https://"))
        and value.isascii()
        and value.isprintable()
        and not any(c in value for c in " \"'<>\\`")
    )
