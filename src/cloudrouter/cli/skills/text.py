"""The skill's text as it ships, and the stamp by which a copy is recognised: its version and SHA-256."""

from __future__ import annotations

import hashlib
import pkgutil
import re

from cloudrouter import __version__
from cloudrouter.wire.errors import Internal

VERSION_LINE = '  cloudrouter-version: "{}"\n'
HASH_LINE = '  cloudrouter-sha256: "{}"\n'
_HEAD = re.compile(rb"\A---\n.*?\n---\n", re.S)
_VERSION = re.compile(rb'^  cloudrouter-version: "([0-9A-Za-z.+-]{1,64})"\n', re.M)
_HASH = re.compile(rb'^  cloudrouter-sha256: "([0-9a-f]{64})"\n', re.M)

ABSENT, CURRENT, OLDER, NEWER, EDITED, FOREIGN = "absent", "current", "older", "newer", "edited", "foreign"
"""What a place can hold: nothing, our text, an unedited one of another version, an edited one, somebody else's."""
REFUSED = "refused"
"""A place that is not even read, such as one behind a link that leads elsewhere."""


def packaged() -> str:
    """The manual as it ships with this version, without a stamp."""
    data = pkgutil.get_data(__package__, "SKILL.md")
    if data is None:
        raise Internal("The package lacks its SKILL.md.", fix="Install CloudRouter again.")
    return data.decode()


def stamped(text: str, version: str = __version__) -> bytes:
    """The text with its version and hash in the front matter, as it is installed."""
    head, mark, body = text.removeprefix("---\n").partition("\n---\n")
    before = f"---\n{head}\nmetadata:\n{VERSION_LINE.format(version)}"
    after = mark.removeprefix("\n") + body
    return (before + HASH_LINE.format(_hash((before + after).encode())) + after).encode()


def version_of(content: bytes) -> str:
    """The version in a copy's stamp; empty where there is none."""
    head = _HEAD.match(content)
    found = _VERSION.search(head.group()) if head else None
    return found.group(1).decode() if found else ""


def state_of(content: bytes | None) -> str:
    """What a place holds, by its content."""
    if content is None:
        return ABSENT
    if content == stamped(packaged()):
        return CURRENT
    head = _HEAD.match(content)
    told = _HASH.search(head.group()) if head else None
    version = version_of(content)
    if not version or told is None:
        return FOREIGN
    if _hash(content[: told.start()] + content[told.end() :]) != told.group(1).decode():
        return EDITED
    return NEWER if _order(version) > _order(__version__) else OLDER


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
