"""The door for browsers: host names, tickets and cookies outside, streams to guests inside."""

from __future__ import annotations
