"""Names of images: what an engine understands, what we understand beside it, and what we refuse."""

from __future__ import annotations

import re

from cloudrouter.images.parts import BUILT
from cloudrouter.wire.errors import InvalidSpec

LIMIT = 255
OWN = "cloudrouter/"
"""Where our own images lie; nothing with such a name is ever fetched from a registry."""
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?/)?"
_TAG = r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
_NAME = re.compile(f"{_HOST}{_PART}(?:/{_PART})*{_TAG}")
_ID = re.compile(r"sha256:[0-9a-f]{12,64}")
_HUB = re.compile(
    r"(?:(?:index|registry|registry-1|registry\.hub)\.)?docker\.(?:io|com)(?::\d{1,5})?/|localhost/", re.I
)
"""Registries that engines leave unsaid in the names of what they fetched there."""
_BUILD = re.compile(r"build:([a-z0-9][a-z0-9._-]{0,62})@([0-9a-f]{12})")


def check(name: str) -> None:
    """Raise InvalidSpec for what cannot be an image's name."""
    if len(name) <= LIMIT and (_NAME.fullmatch(name) or _ID.fullmatch(name) or _BUILD.fullmatch(name)):
        return
    shown = repr(name[:60])[1:-1]
    raise InvalidSpec(
        f"{shown!r} cannot be the name of an image.",
        fix="Names look like core, debian:trixie or ghcr.io/owner/name:tag, in small letters.",
        next="cloudrouter image ls",
        field="image",
    )


def engine_reference(name: str) -> str:
    """What the engine knows an image by: the name itself, or the tag behind `build:NAME@DIGEST`."""
    found = _BUILD.fullmatch(name)
    return f"{OWN}{BUILT}:{found[2]}" if found else name


def build_name(source: str, image_id: str) -> str:
    """The name of what was built from a person's folder: `build:web@0123456789ab`."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", source.lower()).strip("-._")[:63].rstrip("-._") or "folder"
    return f"{BUILT}:{plain}@{short_id(image_id)}"


def short_id(image_id: str) -> str:
    """Twelve digits of an image's id."""
    return image_id.removeprefix("sha256:")[:12]


def is_own(name: str) -> bool:
    """Whether an engine would keep it below OWN, however it is spelled."""
    return _HUB.sub("", name, count=1).startswith(OWN) if _HUB.match(name) else name.startswith(OWN)


def may_be_pulled(name: str) -> bool:
    """Whether a registry may be asked for it."""
    return not (is_own(name) or _BUILD.fullmatch(name) or _ID.fullmatch(name))


def split(reference: str) -> tuple[str, str]:
    """Repository, and the tag or digest to fetch; `latest` where none is given."""
    repository, at, digest = reference.partition("@")
    head, colon, tag = repository.rpartition(":")
    if colon and "/" not in tag:
        repository = head
    else:
        tag = "latest"
    return repository, digest if at else tag
