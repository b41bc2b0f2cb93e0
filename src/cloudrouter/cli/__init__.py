"""The command line: one file a verb, loaded only when it is asked for. The only room that prints."""

from __future__ import annotations
