"""Who may come in: pure checks on names, tickets, cookies and origins. No I/O; time is passed in."""

from __future__ import annotations
