"""Machines that are local processes: the reference that the contract's suite is proved with, and the router's tests."""

from __future__ import annotations

from cloudrouter.providers.memory.provider import MemoryProvider

__all__ = ["MemoryProvider"]
