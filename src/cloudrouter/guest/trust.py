"""Making the machine's own tools trust one more authority: in its bundles, and where updates of them look."""

from __future__ import annotations

import os

from cloudrouter.guest.config import SYSTEM_BUNDLES, write_file
from cloudrouter.guest.marks import replace_marked

BUNDLES = (*SYSTEM_BUNDLES, "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem")
"""Files with all authorities: of Debian and Alpine, of Fedora, of OpenSSL itself."""
ANCHORS = ("/usr/local/share/ca-certificates", "/etc/pki/ca-trust/source/anchors")
"""Folders from which update-ca-certificates and update-ca-trust take what belongs into a bundle beside their own."""
HASHED = "/etc/ssl/certs"
"""Where OpenSSL looks for an authority by the hash of its name."""
FILE = "cloudrouter-packages.crt"
_ROOM = 64 * 1024 * 1024


def bundle(root: str = "") -> str:
    """The bundle that this machine's tools use; empty where it has none."""
    return next((path for path in SYSTEM_BUNDLES if os.path.isfile(root + path)), "")


def add_authority(pem: str, name_hash: str, root: str = "") -> None:
    """Trust this authority, and no longer the one that was added before; OSError where a file cannot be written."""
    for path in dict.fromkeys(os.path.realpath(root + path) for path in BUNDLES if os.path.isfile(root + path)):
        with open(path, encoding="ascii", errors="surrogateescape") as file:
            before = file.read(_ROOM)
        after = replace_marked(before, pem)
        if after != before:
            write_file(path, after, 0o644)
    for folder in ANCHORS:
        parent = os.path.dirname(root + folder)
        if os.path.isdir(root + folder) or (folder == ANCHORS[0] and os.path.isdir(parent)):
            os.makedirs(root + folder, exist_ok=True)
            write_file(f"{root}{folder}/{FILE}", pem, 0o644)
    if os.path.isdir(root + HASHED):
        _add_hashed(f"{root}{HASHED}", pem, name_hash)


def _add_hashed(folder: str, pem: str, name_hash: str) -> None:
    own = f"{folder}/{name_hash}.0"
    if not os.path.lexists(own):
        write_file(own, pem, 0o644)
