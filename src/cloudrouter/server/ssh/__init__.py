"""SSH into machines: the router's authority, the host keys it has seen, and the door where ssh gets its connection."""

from __future__ import annotations
