"""One tar header block: written in GNU form, read in GNU, ustar, pax and V7 forms."""

from __future__ import annotations

BLOCK = 512
FILE, HARD_LINK, SYMLINK, FOLDER = b"0", b"1", b"2", b"5"
LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL, SPARSE = b"L", b"K", b"x", b"g", b"S"
END = bytes(2 * BLOCK)
"""What ends an archive."""

_MAGIC = b"ustar  \0"
_TAIL = bytes(BLOCK - 265)
_NO_OWNER = b"0000000\0" * 2
_FIXED_SUM = sum(_MAGIC) + 8 * 32
_ZEROS = [bytes(n) for n in range(101)]
_OCTAL_11 = 8**11


class BadHeader(ValueError):
    """The block is not a tar header; the text says which part is wrong."""


def padding(size: int) -> bytes:
    """The zeros between the end of size bytes of data and the next block."""
    return bytes(-size % BLOCK)


def encode(name: bytes, kind: bytes, mode: int, size: int, mtime: int, link: bytes = b"") -> bytes:
    """The header blocks of one entry; long names and links become entries of their own before it."""
    before = b""
    if len(name) > 100:
        before += _long(LONG_NAME, name)
        name = name[:100]
    if len(link) > 100:
        before += _long(LONG_LINK, link)
        link = link[:100]
    numbers = b"%07o\0" % mode + _NO_OWNER + _number(size) + _number(mtime)
    checksum = sum(name) + sum(numbers) + kind[0] + sum(link) + _FIXED_SUM
    rest = b"%06o\0 " % checksum + kind + link + _ZEROS[100 - len(link)] + _MAGIC + _TAIL
    return b"".join((before, name, _ZEROS[100 - len(name)], numbers, rest))


def _long(kind: bytes, text: bytes) -> bytes:
    return encode(b"././@LongLink", kind, 0, len(text) + 1, 0) + text + b"\0" + padding(len(text) + 1)


def _number(value: int) -> bytes:
    """A 12-byte number: octal where it fits, else GNU's base 256."""
    if 0 <= value < _OCTAL_11:
        return b"%011o\0" % value
    return (value & ((1 << 95) - 1) | 1 << 95 if value >= 0 else value & ((1 << 96) - 1)).to_bytes(12, "big")


class Header:
    """What one block says. `size` is that of the data behind it, `mtime` in whole seconds since 1970."""

    __slots__ = ("goes_on", "kind", "link", "mode", "mtime", "name", "size")

    def __init__(self, name: bytes, kind: bytes, mode: int, size: int, mtime: int, link: bytes) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.size = size
        self.mtime = mtime
        self.link = link
        self.goes_on = False
        """Whether a GNU sparse map follows this block."""


def decode(block: bytes) -> Header:
    """The header in a block of 512 bytes that is not all zeros; raises BadHeader."""
    if _octal(block[148:156], "checksum") != sum(block) - sum(block[148:156]) + 256:
        raise BadHeader("a header's checksum is wrong")
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    kind = block[156:157]
    if kind in (b"\0", b"7"):
        kind = FILE
    if kind == FILE and name.endswith(b"/"):
        kind = FOLDER
    size = _octal(block[124:136], "size")
    if size < 0:
        raise BadHeader("a header's size is negative")
    if b"1" <= kind <= b"6":
        size = 0  # links, folders and devices have no data, whatever their header says
    mode, mtime = _octal(block[100:108], "mode"), _octal(block[136:148], "mtime")
    header = Header(name, kind, mode, size, mtime, block[157:257].partition(b"\0")[0])
    header.goes_on = kind == SPARSE and bool(block[482])
    return header


def _octal(field: bytes, what: str) -> int:
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        return value - (1 << bits) if field[0] & 0x40 else value - (1 << (bits - 1))
    digits = field.partition(b"\0")[0].strip()
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise BadHeader(f"a header's {what} is not a number")
    return int(digits, 8)
