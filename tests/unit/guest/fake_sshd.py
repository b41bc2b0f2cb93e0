"""Stands for OpenSSH's server in a guest's PATH: says what it was started with, then gives back what comes."""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAM = """\
#!{python}
import os, sys
words = sys.argv[1:]
os.write(2, {said!r})
os.write(1, b"SSH-2.0-fake " + " ".join(words).encode() + b"\\n")
assert os.path.samestat(os.fstat(0), os.fstat(1))
while data := os.read(0, 65536):
    os.write(1, data)
sys.exit(0)
"""


def put(folder: Path, said: bytes = b"Accepted nobody\n") -> str:
    """Make it in a folder; the PATH that finds it there. said: its log."""
    folder.mkdir(exist_ok=True)
    path = folder / "sshd"
    path.write_text(PROGRAM.format(python=sys.executable, said=said))
    path.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"
