"""Where this host gets Debian's packages: its own Debian mirror out of apt's files, else the public one."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from urllib.parse import urlsplit

RELEASE = "bookworm"
PUBLIC = "http://deb.debian.org/debian"


def debian_lines(texts: Iterable[str]) -> list[str]:
    """Lines in apt's one-line form for RELEASE, its updates and its security fixes.

    A mirror counts when it is plain HTTP (packages are signed; a base without certificates can use it) and its
    path ends in /debian or /debian-security. Security comes with the host's mirror only if the host has it too.
    """
    urls = [url.rstrip("/") for text in texts for url in _urls(text)]
    plain = [url for url in urls if urlsplit(url).scheme == "http" and not urlsplit(url).username]
    mirror = next((url for url in plain if urlsplit(url).path.endswith("/debian")), PUBLIC)
    security = next((url for url in plain if urlsplit(url).path.endswith("/debian-security")), "")
    if not security and mirror == PUBLIC:
        security = f"{PUBLIC}-security"
    lines = [f"deb {mirror} {RELEASE} main", f"deb {mirror} {RELEASE}-updates main"]
    if security:
        lines.append(f"deb {security} {RELEASE}-security main")
    return lines


def read_sources(folder: str = "/etc/apt") -> list[str]:
    """The texts of apt's source files; files that cannot be read do not count."""
    names = [os.path.join(folder, "sources.list"), *sorted(glob.glob(os.path.join(folder, "sources.list.d", "*")))]
    texts = []
    for name in names:
        if name.endswith((".list", ".sources")) and os.path.isfile(name) and os.access(name, os.R_OK):
            with open(name, encoding="utf-8", errors="replace") as source:
                texts.append(source.read())
    return texts


def _urls(text: str) -> list[str]:
    """URLs of both forms of source files, in their order; comments and disabled stanzas left out."""
    found = []
    for stanza in text.split("\n\n"):
        lines = [line.strip() for line in stanza.splitlines() if not line.lstrip().startswith("#")]
        if any(line.lower().replace(" ", "") in ("enabled:no", "enabled:false") for line in lines):
            continue
        for line in lines:
            words = line.split()
            if line.startswith("deb ") or line.lower().startswith("uris:"):
                found += [word for word in words if "://" in word]
    return found
