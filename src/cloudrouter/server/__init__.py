"""The router: keeps the book of machines, asks providers for them, relays streams to their guests."""

from __future__ import annotations
