"""Desktops in a browser: the page, the files it needs, and the bridge between its WebSocket and the machine."""

from __future__ import annotations
