"""Files that steps of the browser have made and that came in their answers."""

from __future__ import annotations

import binascii
import os

from cloudrouter.wire.errors import TransferFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def content_of(content: Any, size: Any) -> bytes | None:
    """The bytes of a file whose content came along; None where it did not, or not whole: then it is fetched."""
    if not isinstance(content, str):
        return None
    try:
        data = binascii.a2b_base64(content, strict_mode=True)
    except ValueError:
        return None
    return data if len(data) == size else None


def write(data: bytes, path: str) -> None:
    """Write a file whole or not at all, over what is there; for its owner alone. TransferFailed where it cannot be."""
    beside = f"{path}.{os.urandom(4).hex()}.part"
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
        os.replace(beside, path)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise TransferFailed(f"{path} cannot be written: {reason}.", fix="Choose another place.") from None
    finally:
        if os.path.lexists(beside):
            os.unlink(beside)
