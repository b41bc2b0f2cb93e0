"""The rules of .dockerignore, which are not those of .gitignore: every pattern is a path from the folder's root."""

from __future__ import annotations

import posixpath
import re

from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Pattern:
    """One line: what it fits, and whether it takes in again what lines before it left out."""

    def __init__(self, text: str) -> None:
        self.negated = text.startswith("!")
        self.text = text[1:] if self.negated else text
        try:
            self._regex = re.compile(translate(self.text), re.DOTALL)
        except (re.error, ValueError):
            raise UsageError(
                f".dockerignore holds a pattern that is none: {text[:80]}", fix="Close its brackets, or leave it out."
            ) from None

    def fits(self, path: str) -> bool:
        """Whether it means exactly this path."""
        return self._regex.fullmatch(path) is not None


class DockerIgnore:
    """All lines of a file; the last one that fits a path, or a folder above it, decides."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._patterns = [Pattern(line) for line in lines]
        self._has_negated = any(pattern.negated for pattern in self._patterns)

    def leaves_out(self, path: str) -> bool:
        """Whether a path, relative to the root and with slashes, is not sent."""
        above = path.split("/")[:-1]
        places = [path, *("/".join(above[: count + 1]) for count in range(len(above)))]
        out = False
        for pattern in self._patterns:
            # A pattern can only change what holds; asking the others would cost and say nothing.
            if pattern.negated == out and any(pattern.fits(place) for place in places):
                out = not pattern.negated
        return out

    def may_hold_more(self, folder: str) -> bool:
        """Whether something below a folder that is left out may be taken in again, as Docker decides that."""
        begin = f"{folder}/"
        return self._has_negated and any(
            pattern.negated and f"{pattern.text}/".startswith(begin) for pattern in self._patterns
        )


def parse(text: str) -> list[str]:
    """The patterns in a file's text, cleaned as Docker cleans them."""
    found = []
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.startswith("#"):
            continue
        pattern = line.strip()
        if not pattern:
            continue
        negated = pattern.startswith("!")
        if negated:
            pattern = pattern[1:].strip()
            if not pattern:
                raise UsageError(".dockerignore holds a line with nothing but an exclamation mark.", fix="Remove it.")
        # Two slashes at the beginning mean to posixpath what they do not mean here.
        pattern = posixpath.normpath(re.sub(r"^/+", "/", pattern))
        if len(pattern) > 1 and pattern.startswith("/"):
            pattern = pattern[1:]
        found.append(f"!{pattern}" if negated else pattern)
    return found


def translate(text: str) -> str:
    """A pattern as a regular expression: `**` crosses folders, `*` and `?` do not, brackets are sets."""
    out, at = [], 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*":
            if text[at : at + 1] == "*":
                at += 1
                at += text[at : at + 1] == "/"
                out.append(".*" if at >= len(text) else "(?:.*/)?")
            else:
                out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            piece, at = _set(text, at)
            out.append(piece)
        elif char == "\\":
            out.append(re.escape(text[at : at + 1]) or r"\\")
            at += 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def _set(text: str, at: int) -> tuple[str, int]:
    """The set that begins after a `[`, and where it ends; ValueError for one that is not closed, or empty."""
    negated = text[at : at + 1] == "^"
    at += negated
    members = ""
    while text[at : at + 1] != "]":
        at += text[at : at + 1] == "\\"
        char = text[at : at + 1]
        if not char:
            raise ValueError
        is_range = char == "-" and members and text[at + 1 : at + 2] not in ("]", "")
        members += "-" if is_range else re.escape(char)
        at += 1
    if not members:
        raise ValueError
    return f"[{'^' * negated}{members}]", at + 1
