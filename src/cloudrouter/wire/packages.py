"""The package cache as router, cache process and guest know it: which hosts it stands for, and where its door is."""

from __future__ import annotations

NPM = "registry.npmjs.org"
PYPI = "pypi.org"
PYTHON_FILES = "files.pythonhosted.org"
CRATES_INDEX = "index.crates.io"
CRATES = "static.crates.io"

HOSTS = (NPM, PYPI, PYTHON_FILES, CRATES_INDEX, CRATES)
"""The only names that the cache speaks for; its authority's certificate is worth nothing for any other."""

FIRST_ADDRESS = 77
PORT = 443

DOOR_IN_MACHINE = "/run/cloudrouter/packages"
"""Where the router's door folder is mounted, read-only."""
SOCKET = "socket"
"""In the door folder: what the cache process listens on."""
NONCE = "nonce"
"""In the door folder: a word of the router's, by which a machine sees that the mount is the folder that is meant."""


def address_of(host: str) -> str:
    """The loopback address that stands for a host inside a machine: one each, so that the address tells the name."""
    return f"127.0.0.{FIRST_ADDRESS + HOSTS.index(host)}"
