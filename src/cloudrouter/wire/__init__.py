"""What travels between the rooms: words, ids, errors, frames. No I/O and nothing from outside the standard library."""

from __future__ import annotations
