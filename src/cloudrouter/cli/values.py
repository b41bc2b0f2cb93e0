"""Values of flags, read and checked before anything is done."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def seconds(text: str) -> float:
    """A duration above nothing: 600, 90s, 15m, 1h."""
    from argparse import ArgumentTypeError

    from cloudrouter.wire.durations import parse_duration

    try:
        value = parse_duration(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    if value <= 0:
        raise ArgumentTypeError(f"{text!r} is no time at all; write 600, 90s, 15m or 1h")
    return value


def amount(text: str) -> int:
    """Bytes: 512m, 8g; a bare number is MiB."""
    from argparse import ArgumentTypeError

    from cloudrouter.wire.sizes import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def cpus(text: str) -> float:
    """A number of cpus, also a part of one."""
    from argparse import ArgumentTypeError

    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 10_000:
        raise ArgumentTypeError(f"{text!r} is not a number of cpus; write 2 or 0.5")
    return value


def count(text: str) -> int:
    """A whole number that is not negative."""
    from argparse import ArgumentTypeError

    if not (text.isascii() and text.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def detach_keys(text: str) -> bytes:
    """Keys one behind the other: `ctrl-p,ctrl-q`, `ctrl-]`, `~,.`; `none` for no such keys."""
    from argparse import ArgumentTypeError

    if text == "none":
        return b""
    keys = bytearray()
    for word in text.split(","):
        key = word[5:].upper() if word.lower().startswith("ctrl-") and len(word) == 6 else ""
        if key and 0x40 <= ord(key) <= 0x5F:
            keys.append(ord(key) - 0x40)
        elif len(word) == 1 and word.isascii() and word.isprintable():
            keys.append(ord(word))
        else:
            raise ArgumentTypeError(f"{text!r} are no keys; write them as ctrl-p,ctrl-q, or none")
    return bytes(keys)


def read_list(words: Sequence[str]) -> list[str]:
    """`a,b` and `c` as a, b and c."""
    return [one.strip() for word in words for one in word.split(",") if one.strip()]


def read_labels(words: Sequence[str]) -> dict[str, str]:
    """`K=V` words as a mapping; raises UsageError for a word without `=` or without a key."""
    from cloudrouter.wire.errors import UsageError

    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise UsageError(f"--label does not understand {word!r}.", fix="Write --label KEY=VALUE.")
        found[key] = value
    return found


def read_env(words: Sequence[str], environ: Mapping[str, str], *, flag: str = "--env") -> dict[str, str]:
    """`K=V`, or `K` alone for the person's own value, which must exist: a missing one would fail much later."""
    from cloudrouter.wire.errors import UsageError

    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key:
            # The value is not repeated: it may be a secret.
            raise UsageError(
                f"{flag} needs a name before the `=`.", fix=f"Write {flag} KEY=VALUE, or {flag} KEY for your own value."
            )
        if not equals and key not in environ:
            raise UsageError(
                f"{flag} {key} asks for your own value of {key!r}, and there is none.",
                fix=f"Export {key} first, or write {flag} {key}=VALUE.",
            )
        found[key] = value if equals else environ[key]
    return found
