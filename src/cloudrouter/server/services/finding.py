"""Finding the machine that an argument means: exact id, else exact name, else an id prefix of 4 or more."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from cloudrouter.server.store.machines import Row
from cloudrouter.wire import ids
from cloudrouter.wire.errors import Ambiguous, NotFound

PREFIX_LEAST = 4
"""Letters of an id, counted without `cr_`, that may stand for the whole."""


def find(rows: Sequence[Row], ref: str, *, exact: bool = False) -> Row:
    """The row that `ref` means; NotFound with a suggestion, or Ambiguous with the candidates.

    With `exact` a prefix is not enough, because what follows cannot be undone.
    """
    plain = ids.from_dns_label(ref)
    for row in rows:
        if plain == row.id:
            return row
    for row in rows:
        if row.name and ref == row.name:
            return row
    word = plain.removeprefix(ids.PREFIX)
    fitting = [row for row in rows if word and row.id.removeprefix(ids.PREFIX).startswith(word)]
    if len(word) >= PREFIX_LEAST and fitting:
        if exact:
            raise NotFound(
                f"{shown(ref)} is only the beginning of an id, and this cannot be undone.",
                fix=f"Give the whole id or the name. Did you mean {fitting[0].id}?",
                next="cloudrouter ls",
            )
        if len(fitting) > 1:
            raise Ambiguous(
                f"{shown(ref)} fits {len(fitting)} machines: {', '.join(row.id for row in fitting[:5])}.",
                fix="Give more letters of the id, or the name.",
                next="cloudrouter ls",
            )
        return fitting[0]
    raise _not_found(rows, ref)


def _not_found(rows: Sequence[Row], ref: str) -> NotFound:
    known = [row.id for row in rows] + [row.name for row in rows if row.name]
    close = difflib.get_close_matches(ref, known, n=1, cutoff=0.6)
    fix = f"Did you mean {close[0]}?" if close else "`cloudrouter ls -a` shows every machine, also deleted ones."
    following = f"cloudrouter status {close[0]}" if close else "cloudrouter ls"
    return NotFound(f"There is no machine {shown(ref)}.", fix=fix, next=following)


def shown(ref: str) -> str:
    """The argument as it may stand in a message: quoted, cut, without control characters."""
    return repr(ref if len(ref) <= 60 else ref[:57] + "...")
