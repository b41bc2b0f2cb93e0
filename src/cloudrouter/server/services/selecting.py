"""Which machines a list shows, and in which order: filters as docker and kubectl have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from cloudrouter.server.services.finding import shown
from cloudrouter.server.store.machines import Row
from cloudrouter.wire import states
from cloudrouter.wire.errors import UsageError

SORT_KEYS: dict[str, Callable[[Row], Any]] = {
    "created": lambda row: (row.created_at, row.id),
    "name": lambda row: (not row.name, row.name, row.id),
    "state": lambda row: (row.state, row.created_at),
    "deadline": lambda row: (row.expires_at is None, row.expires_at or 0.0, row.created_at),
    "cpu": lambda row: (-row.cpu, row.created_at),
    "memory": lambda row: (-row.memory_bytes, row.created_at),
    "image": lambda row: (row.image, row.created_at),
}
"""Oldest first, A to Z, the nearest deadline first, the largest first."""
KNOWN_STATES = frozenset(states.NEXT)


@dataclass(frozen=True)
class Selection:
    """What is asked for: every part must fit; of the states one of those given."""

    labels: tuple[str, ...] = ()
    """`key` or `key=value`."""
    in_states: frozenset[str] = frozenset()
    provider: str | None = None
    name: str | None = None
    """A pattern with * and ?."""
    sort: str = "created"
    reverse: bool = False

    def wants_gone(self) -> bool:
        """Whether deleted machines are asked for by their state."""
        return states.GONE in self.in_states


def read_selection(
    *,
    labels: Sequence[str] = (),
    in_states: Sequence[str] = (),
    provider: str | None = None,
    name: str | None = None,
    sort: str | None = None,
    reverse: bool = False,
) -> Selection:
    """The selection that query parameters describe; UsageError names what cannot be. States may be comma-separated."""
    wanted = frozenset(word for words in in_states for word in words.split(",") if word)
    for state in sorted(wanted - KNOWN_STATES):
        raise UsageError(f"There is no state {shown(state)}.", fix=f"States: {', '.join(sorted(KNOWN_STATES))}.")
    if sort is not None and sort not in SORT_KEYS:
        raise UsageError(f"Machines cannot be sorted by {shown(sort)}.", fix=f"Sort by: {', '.join(SORT_KEYS)}.")
    for label in labels:
        if not label.partition("=")[0]:
            raise UsageError(f"{shown(label)} names no label.", fix="Write KEY or KEY=VALUE.")
    return Selection(tuple(labels), wanted, provider, name, sort or "created", reverse)


def select(rows: Sequence[Row], selection: Selection) -> list[Row]:
    """The rows that fit, in the order asked for."""
    found = [row for row in rows if _fits(row, selection)]
    return sorted(found, key=SORT_KEYS[selection.sort], reverse=selection.reverse)


def _fits(row: Row, selection: Selection) -> bool:
    return (
        (not selection.in_states or row.state in selection.in_states)
        and (selection.provider is None or row.provider == selection.provider)
        and (selection.name is None or fnmatchcase(row.name, selection.name))
        and all(_has_label(row, label) for label in selection.labels)
    )


def _has_label(row: Row, label: str) -> bool:
    key, equals, value = label.partition("=")
    return row.labels.get(key) == value if equals else key in row.labels
