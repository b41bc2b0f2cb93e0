"""Pictures of a machine's desktop: the programs in the machine that make them, and whether a PNG is whole."""

from __future__ import annotations

from cloudrouter.wire.errors import TransferFailed

SCREENSHOT = "/opt/cloudrouter/apps/desktop/screenshot"
"""Prints the whole desktop as a PNG."""
RECORD = "/opt/cloudrouter/apps/desktop/record"
"""Records the desktop into the file it is given, until it gets SIGINT."""
PICTURE_LIMIT = 64 * 1024 * 1024
"""The largest picture that is taken from a machine, in bytes."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = b"\x00\x00\x00\rIHDR"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def check_png(data: bytes) -> tuple[int, int]:
    """(width, height) of a PNG that has a beginning and an end; TransferFailed for anything else."""
    start = len(_SIGNATURE)
    if not data.startswith(_SIGNATURE) or data[start : start + len(_HEADER)] != _HEADER:
        raise TransferFailed(f"What came as a picture of the desktop is no PNG ({len(data)} bytes).", fix="Try again.")
    if not data.endswith(_END):
        raise TransferFailed(f"The picture of the desktop is not whole ({len(data)} bytes came).", fix="Try again.")
    at = start + len(_HEADER)
    width, height = int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 8], "big")
    if not 0 < width < 1 << 16 or not 0 < height < 1 << 16:
        raise TransferFailed("The picture of the desktop has a size that cannot be.", fix="Try again.")
    return width, height
