"""What a ready check asks for: a port of the machine, and perhaps a page behind it."""

from __future__ import annotations

from cloudrouter.wire.errors import UsageError

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_SCHEME = "http://"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Union


def read_target(port: Any, url: Any) -> tuple[int, Union[str, None]]:
    """(port, path or None) from a port, a path with a port, or a whole URL; UsageError for what is none of them.

    The URL's host must be the machine itself: a machine's other neighbours are not ours to probe.
    """
    path: Optional[str] = None
    if url is not None:
        if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise UsageError(f"{str(url)[:80]!r} is not a URL.", fix="Write http://localhost:3000/health or /health.")
        path = url.partition("#")[0]
        if not url.startswith("/"):
            port, path = _split(path, port)
    if port is None:
        raise UsageError("There is no port to look at.", fix="Give the port the server listens on.")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise UsageError(f"{str(port)[:20]!r} is not a port.", fix="Give a number between 1 and 65535.")
    return port, path


def _split(url: str, port: Any) -> tuple[Any, str]:
    scheme, rest = url[: len(_SCHEME)].lower(), url[len(_SCHEME) :]
    if scheme != _SCHEME:
        fix = f"Write {_SCHEME}localhost:3000/health or /health."
        if url.lower().startswith("https://"):
            fix = "Wait for the port alone, or for an http:// address of the server."
        raise UsageError(f"{url[:80]!r} cannot be asked: only http:// and paths can.", fix=fix)
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    host, colon, digits = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "")
    if not colon:
        host = authority
    if host.lower() not in LOCAL_NAMES:
        raise UsageError(f"{host[:80]!r} is not inside the machine.", fix=f"Hosts that are: {', '.join(LOCAL_NAMES)}.")
    if colon and not digits.isdecimal():
        raise UsageError(f"{digits[:20]!r} is not a port.", fix="Give a number between 1 and 65535.")
    own = int(digits[:6]) if colon else None
    if own is not None and port is not None and own != port:
        raise UsageError(f"The URL says port {own} and the port is {port!r}.", fix="Give one of them.")
    found = port if own is None else own
    return (80 if found is None else found), path if path.startswith("/") else f"/{path}"
