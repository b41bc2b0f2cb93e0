"""Ignore rules as git reads them: one file's patterns, and the question what they say about a path."""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_BYTES = 4 * 1024 * 1024
"""A longer ignore file is not read as one."""

_SPECIAL = frozenset(b"*?[\\")
_CLASSES: dict[bytes, Callable[[bytes], bool]] = {
    b"alnum": bytes.isalnum,
    b"alpha": bytes.isalpha,
    b"blank": lambda c: c in b" \t",
    b"cntrl": lambda c: c[0] < 32 or c[0] == 127,
    b"digit": bytes.isdigit,
    b"graph": lambda c: 32 < c[0] < 127,
    b"lower": bytes.islower,
    b"print": lambda c: 32 <= c[0] < 127,
    b"punct": lambda c: 32 < c[0] < 127 and not c.isalnum(),
    b"space": bytes.isspace,
    b"upper": bytes.isupper,
    b"xdigit": lambda c: c in b"0123456789abcdefABCDEF",
}
_NEVER = b"(?!)"


class Pattern:
    """One line of an ignore file."""

    __slots__ = ("by_name", "dir_only", "negated", "regex", "text")

    def __init__(self, text: bytes) -> None:
        self.negated = text.startswith(b"!")
        text = text[self.negated :]
        self.dir_only = text.endswith(b"/")
        text = text[: len(text) - self.dir_only]
        self.by_name = b"/" not in text
        """Whether it means an entry's own name, wherever that lies, rather than a path."""
        self.text = text[1:] if text.startswith(b"/") else text
        self.regex = b""

    def literal(self) -> bool:
        """Whether nothing in the text is a wildcard."""
        return _SPECIAL.isdisjoint(self.text)

    def suffix(self) -> bytes:
        """What names must end with, for the form `*.ext`; empty for any other form."""
        rest = self.text[1:]
        return rest if self.text[:1] == b"*" and rest and _SPECIAL.isdisjoint(rest) else b""

    def source(self) -> bytes:
        """A regular expression for the whole name or path."""
        if not self.regex:
            self.regex = translate(self.text) if self.text else _NEVER
        return self.regex

    def hits(self, name: bytes, path: bytes) -> bool:
        """Whether the text fits an entry with this name and this path below the rules' folder."""
        return re.fullmatch(self.source(), name if self.by_name else path, re.DOTALL) is not None


class Rules:
    """The patterns of one ignore file.

    `base` is the folder they are anchored to, relative to the selection's root and with a slash at its end;
    `above` is, for a file of a folder above the root, the way from there down to the root, ended the same way.
    """

    def __init__(self, lines: Iterable[bytes], base: bytes = b"", above: bytes = b"") -> None:
        self._patterns = [Pattern(line) for line in lines]
        self._patterns.reverse()
        self._cut = len(base)
        self._above = above
        names = [p for p in self._patterns if p.by_name]
        self._literal = {p.text for p in names if p.literal()}
        self._suffixes = tuple({p.suffix() for p in names if p.suffix()})
        self._names = _any_of([p for p in names if not p.literal() and not p.suffix()])
        self._paths = _any_of([p for p in self._patterns if not p.by_name])

    def match(self, name: bytes, path: bytes, *, is_dir: bool) -> bool | None:
        """True: ignored, False: taken in again by `!`, None: these rules say nothing."""
        path = self._above + path[self._cut :]
        if not (
            name in self._literal
            or name.endswith(self._suffixes)
            or (self._names is not None and self._names.fullmatch(name))
            or (self._paths is not None and self._paths.fullmatch(path))
        ):
            return None
        for pattern in self._patterns:
            if (is_dir or not pattern.dir_only) and pattern.hits(name, path):
                return not pattern.negated
        return None


def _any_of(patterns: Sequence[Pattern]) -> re.Pattern[bytes] | None:
    return re.compile(b"|".join(p.source() for p in patterns), re.DOTALL) if patterns else None


def decide(chain: Sequence[Rules], name: bytes, path: bytes, *, is_dir: bool) -> bool | None:
    """What the first of several rule sets, nearest first, says that says anything."""
    for rules in chain:
        answer = rules.match(name, path, is_dir=is_dir)
        if answer is not None:
            return answer
    return None


def read_rules(file: bytes, base: bytes = b"", above: bytes = b"", *, follow: bool = False) -> Rules | None:
    """The rules of an ignore file; None when it is missing, empty, a link (unless follow) or no file."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        fd = os.open(file, flags)
    except OSError:
        return None  # an unreadable one is reported by the walk, which has to send it
    try:
        with open(fd, "rb") as handle:
            text = handle.read(MAX_BYTES + 1)
    except OSError:
        return None
    lines = parse(text) if len(text) <= MAX_BYTES else []
    return Rules(lines, base, above) if lines else None


def parse(text: bytes) -> list[bytes]:
    """The patterns in an ignore file's text: no comments, no blank lines, trailing spaces cut."""
    lines = []
    for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if line and not line.startswith(b"#"):
            pattern = _without_trailing_spaces(line.removesuffix(b"\r"))
            if pattern:
                lines.append(pattern)
    return lines


def _without_trailing_spaces(line: bytes) -> bytes:
    bare = line.rstrip(b" ")
    slashes = len(bare) - len(bare.rstrip(b"\\"))
    return line[: len(bare) + 1] if slashes % 2 and len(bare) < len(line) else bare


def translate(text: bytes) -> bytes:
    """A pattern without `!`, outer slashes and spaces as a regular expression over bytes (use DOTALL)."""
    out, at = [], 0
    plain = next((i for i, c in enumerate(text) if c in _SPECIAL), len(text))
    while at < len(text):
        char = text[at : at + 1]
        if char == b"*":
            piece, at = _stars(text, at, first=at == plain)
        elif char == b"?":
            piece, at = b"[^/]", at + 1
        elif char == b"[":
            piece, at = _bracket(text, at + 1)
        elif char == b"\\":
            piece, at = re.escape(text[at + 1 : at + 2]) or _NEVER, at + 2
        else:
            piece, at = re.escape(char), at + 1
        out.append(piece)
    return b"".join(out)


def _stars(text: bytes, at: int, *, first: bool) -> tuple[bytes, int]:
    """`*` and `**`. Git compares the plain beginning of a pattern by itself, so `**` right after it counts as
    standing at the start of a path's part, as in `fo**/x`."""
    end = at
    while text[end : end + 1] == b"*":
        end += 1
    alone = (first or text[at - 1 : at] == b"/") and text[end : end + 1] in (b"", b"/")
    if end - at < 2 or not alone:
        return b"[^/]*", end
    return (b"(?:.*/)?", end + 1) if end < len(text) else (b".*", end)


def _bracket(text: bytes, at: int) -> tuple[bytes, int]:
    """The set that begins after a `[`; one that is not ended, or names an unknown class, fits nothing."""
    negated = text[at : at + 1] in (b"!", b"^")
    at += negated
    members: set[int] = set()
    previous = -1
    first = True
    while first or text[at : at + 1] != b"]":
        first = False
        if at >= len(text):
            return _NEVER, len(text)
        found, previous, at = _member(text, at, previous)
        if found is None:
            return _NEVER, len(text)
        members |= found
    chosen = (set(range(1, 256)) - members if negated else members) - {ord("/")}
    return (b"[" + b"".join(b"\\x%02x" % c for c in sorted(chosen)) + b"]" if chosen else _NEVER), at + 1


def _member(text: bytes, at: int, previous: int) -> tuple[set[int] | None, int, int]:
    """(the bytes that the next part of a set means, the byte a range may begin with, where it goes on)."""
    char = text[at]
    if char == ord("-") and previous >= 0 and text[at + 1 : at + 2] not in (b"", b"]"):
        at += 1
        at += text[at] == ord("\\")
        if at >= len(text):
            return None, -1, at
        return set(range(previous, text[at] + 1)), -1, at + 1
    if char == ord("[") and text[at + 1 : at + 2] == b":":
        close = text.find(b"]", at + 2)
        if close < 0:
            return None, -1, len(text)
        if text[close - 1 : close] == b":" and close - 1 >= at + 2:
            fits = _CLASSES.get(text[at + 2 : close - 1])
            members = None if fits is None else {c for c in range(128) if fits(bytes([c]))}
            return members, -1, close + 1
    at += char == ord("\\")
    if at >= len(text):
        return None, -1, at
    return {text[at]}, text[at], at + 1
