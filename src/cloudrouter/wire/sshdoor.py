"""What the router's SSH door and its callers share; apart from the rest, because ssh waits while this is imported."""

from __future__ import annotations

SOCKET_NAME = "ssh.sock"
OPENED = b"opened "
"""Begins the good answer; the authority's public key is the rest of the line."""
LINE_LIMIT = 64 * 1024
HOST_LIMIT = 255
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def ref_of(host: str) -> str:
    """The id, name or beginning of an id behind a host name that ssh was given; empty when it can be none."""
    word = host[:-3] if host.endswith(".cr") else host
    return word if 0 < len(word) <= HOST_LIMIT and _LETTERS.issuperset(word) else ""
