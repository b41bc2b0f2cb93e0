"""Folders that the tests' user may not read, also where that is root."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import pytest

NOBODY = 65534


@pytest.fixture
def forbidden() -> Iterator[pathlib.Path]:
    """A folder with open.txt, an unreadable secret.txt and an unreadable folder closed/; the test is not root."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="cloudrouter-forbidden-"))
    root.chmod(0o755)
    (root / "open.txt").write_bytes(b"open")
    (root / "secret.txt").write_bytes(b"secret")
    (root / "closed").mkdir()
    (root / "closed/inner.txt").write_bytes(b"inner")
    (root / "secret.txt").chmod(0)
    (root / "closed").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield root
    finally:
        os.seteuid(user)
        (root / "closed").chmod(0o700)
        shutil.rmtree(root)
