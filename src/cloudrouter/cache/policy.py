"""What may be kept: the shapes of URLs that the five registries serve, and how each is asked for and checked.

Whatever has another shape, method, or a header that makes the answer somebody's own is carried through unstored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cloudrouter.wire.packages import CRATES, CRATES_INDEX, NPM, PYPI, PYTHON_FILES

ARTIFACT = "artifact"
"""Never changes: kept until there is no room."""
METADATA = "metadata"
"""Changes: fresh for as long as its registry says, then asked for again."""

PERSONAL = ("authorization", "cookie", "proxy-authorization", "range", "if-range", "upgrade", "expect")
"""Headers that make an answer the asker's own, or another one than the whole file."""

_NPM_ABBREVIATED = "application/vnd.npm.install-v1+json"
_NPM_ACCEPT = {
    "full": "application/json",
    "abbreviated": f"{_NPM_ABBREVIATED}; q=1.0, application/json; q=0.8",
}
_SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
_SIMPLE_ACCEPT = {
    "json": f"{_SIMPLE_JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
    "html": "text/html",
}

_NPM_NAME = r"(?:@[a-z0-9~][\w.~-]{0,100}(?:/|%2f))?[a-z0-9][\w.~-]{0,213}"
_NPM_PACKUMENT = re.compile(rf"/({_NPM_NAME})", re.I | re.A)
_NPM_TARBALL = re.compile(rf"/({_NPM_NAME})/-/[\w.~+-]{{1,255}}\.tgz", re.I | re.A)
_PYPI_SIMPLE = re.compile(r"/simple/[a-z0-9][a-z0-9._-]{0,200}/", re.I | re.A)
_PYPI_JSON = re.compile(r"/pypi/[a-z0-9][\w.-]{0,200}(?:/[\w.!+-]{1,100})?/json", re.I | re.A)
_PYTHON_FILE = re.compile(r"/packages/([0-9a-f]{2})/([0-9a-f]{2})/([0-9a-f]{60})/[\w.!+~-]{1,255}", re.A)
_CRATE_INDEX = re.compile(
    r"/config\.json|/1/[a-z0-9_-]|/2/[a-z0-9_-]{2}|/3/[a-z0-9_-]/[a-z0-9_-]{3}"
    r"|/[a-z0-9_-]{2}/[a-z0-9_-]{2}/[a-z0-9_-]{4,64}",
    re.I | re.A,
)
_CRATE = re.compile(r"/crates/([\w-]{1,64})/(?:\1-([\w.+-]{1,128})\.crate|([\w.+-]{1,128})/download)", re.A)


@dataclass(frozen=True)
class Wanted:
    """Something that may be kept, and everything that is sent upstream for it: no header comes from the asker."""

    host: str
    path: str
    kind: str
    accept: str = "*/*"
    gzip: bool = False
    """Whether it may come compressed; artifacts never are, for their digests are of the files."""
    blake2b_256: str = ""
    """The digest that the URL itself tells; empty where it tells none."""
    described_by: tuple[str, str] | None = None
    """Host and path of the metadata that holds this artifact's digest."""

    @property
    def key(self) -> str:
        """The name under which it is kept."""
        parts = (self.host, self.path, self.accept, "gzip" if self.gzip else "")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def classify(host: str, method: str, target: str, headers: Mapping[str, str]) -> Wanted | None:
    """What a request wants, if that may be kept; None for what is carried through.

    `target` is the request's raw target, still encoded; `headers` compares names without regard to case.
    """
    if method not in ("GET", "HEAD") or any(name in headers for name in PERSONAL):
        return None
    if "content-length" in headers or "transfer-encoding" in headers or ".." in target:
        return None
    accept = headers.get("accept", "*/*")
    packed = "gzip" in headers.get("accept-encoding", "").lower()
    return _ROOMS[host](target, accept, packed)


def _npm(target: str, accept: str, packed: bool) -> Wanted | None:  # noqa: FBT001
    if found := _NPM_TARBALL.fullmatch(target):
        name = _one_way(found[1])
        return Wanted(NPM, _one_way(target, upto=len(found[1]) + 1), ARTIFACT, described_by=(NPM, f"/{name}"))
    if _NPM_PACKUMENT.fullmatch(target):
        variant = "abbreviated" if _NPM_ABBREVIATED in accept else "full"
        return Wanted(NPM, _one_way(target), METADATA, _NPM_ACCEPT[variant], packed)
    return None


def _one_way(path: str, *, upto: int | None = None) -> str:
    """A scope's slash may be written in three ways; here it is one."""
    head, rest = path[:upto], path[len(path) if upto is None else upto :]
    return re.sub("%2f", "/", head, flags=re.I) + rest


def _pypi(target: str, accept: str, packed: bool) -> Wanted | None:  # noqa: FBT001
    if _PYPI_SIMPLE.fullmatch(target):
        wants_json = _SIMPLE_JSON in accept
        if not wants_json and "html" not in accept and "*/*" not in accept:
            return None
        return Wanted(PYPI, target, METADATA, _SIMPLE_ACCEPT["json" if wants_json else "html"], packed)
    if _PYPI_JSON.fullmatch(target):
        return Wanted(PYPI, target, METADATA, "application/json", packed)
    return None


def _python_files(target: str, _accept: str, _packed: bool) -> Wanted | None:  # noqa: FBT001
    found = _PYTHON_FILE.fullmatch(target)
    if found is None:
        return None
    # The digest in the path is the file's; what stands beside a file (.metadata, .asc) has the same path.
    beside = target.endswith((".metadata", ".asc", ".provenance"))
    return Wanted(PYTHON_FILES, target, ARTIFACT, blake2b_256="" if beside else found[1] + found[2] + found[3])


def _crates_index(target: str, _accept: str, packed: bool) -> Wanted | None:  # noqa: FBT001
    return Wanted(CRATES_INDEX, target, METADATA, "*/*", packed) if _CRATE_INDEX.fullmatch(target) else None


def _crates(target: str, _accept: str, _packed: bool) -> Wanted | None:  # noqa: FBT001
    found = _CRATE.fullmatch(target)
    if found is None:
        return None
    return Wanted(CRATES, target, ARTIFACT, described_by=(CRATES_INDEX, index_path(found[1])))


def index_path(crate: str) -> str:
    """Where the sparse index describes a crate."""
    name = crate.lower()
    if len(name) <= 2:
        return f"/{len(name)}/{name}"
    return f"/3/{name[0]}/{name}" if len(name) == 3 else f"/{name[:2]}/{name[2:4]}/{name}"


def crate_version(path: str) -> str:
    """The version that a crate's path names; empty when it names none."""
    found = _CRATE.fullmatch(path)
    return (found[2] or found[3]) if found else ""


_ROOMS = {NPM: _npm, PYPI: _pypi, PYTHON_FILES: _python_files, CRATES_INDEX: _crates_index, CRATES: _crates}
