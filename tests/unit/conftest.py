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
def unprivileged() -> Iterator[pathlib.Path]:
    """An empty folder of the test's own user, which is not root while the test runs."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        root = pathlib.Path(tempfile.mkdtemp(prefix="cloudrouter-unprivileged-"))
        yield root
    finally:
        os.seteuid(user)
        for folder in [root, *root.rglob("*")]:
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o700)
        shutil.rmtree(root)


@pytest.fixture
def forbidden(unprivileged: pathlib.Path) -> pathlib.Path:
    """A folder with open.txt, an unreadable secret.txt and an unreadable folder closed/; the test is not root."""
    (unprivileged / "open.txt").write_bytes(b"open")
    (unprivileged / "secret.txt").write_bytes(b"secret")
    (unprivileged / "secret.txt").chmod(0)
    (unprivileged / "closed").mkdir()
    (unprivileged / "closed").chmod(0)
    return unprivileged
