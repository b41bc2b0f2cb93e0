"""The program inside a machine: it runs commands, moves files and opens tunnels for whoever holds the token."""

from __future__ import annotations
