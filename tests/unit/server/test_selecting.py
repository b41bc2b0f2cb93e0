"""Filters and orders of lists: what kubectl's and docker's users expect of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.server.services.selecting import SORT_KEYS, Selection, read_selection, select
from cloudrouter.server.store.machines import Row
from cloudrouter.wire.errors import UsageError

BLANK = dict.fromkeys(Row.__dataclass_fields__)


def make_row(machine_id: str, **values: object) -> Row:
    usual = {"state": "running", "name": "", "labels": {}, "provider": "docker", "image": "core", "cpu": 1.0}
    return Row(**{**BLANK, "memory_bytes": 1, "created_at": 1.0, **usual, "id": machine_id, **values})  # type: ignore[arg-type]


ROWS = [
    make_row("a", name="web-1", labels={"agent": "me", "run": ""}, created_at=3.0, expires_at=9.0),
    make_row("b", name="api", labels={"agent": "you"}, state="stopped", created_at=1.0, cpu=4.0),
    make_row("c", labels={"agent": "me"}, provider="memory", created_at=2.0, memory_bytes=7, expires_at=5.0),
]


def found(**wanted: object) -> str:
    return "".join(row.id for row in select(ROWS, read_selection(**wanted)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, "bca"),
        ({"labels": ["agent=me"]}, "ca"),
        ({"labels": ["agent"]}, "bca"),
        ({"labels": ["agent=me", "run"]}, "a"),
        ({"labels": ["run="]}, "a"),
        ({"labels": ["agent="]}, ""),
        ({"in_states": ["stopped"]}, "b"),
        ({"in_states": ["stopped,running"]}, "bca"),
        ({"in_states": ["stopped", "running"], "labels": ["agent=me"]}, "ca"),
        ({"provider": "memory"}, "c"),
        ({"name": "web-*"}, "a"),
        ({"name": "WEB-*"}, ""),
        ({"sort": "name"}, "bac"),
        ({"sort": "name", "reverse": True}, "cab"),
        ({"sort": "cpu"}, "bca"),
        ({"sort": "memory"}, "cba"),
        ({"sort": "deadline"}, "cab"),
        ({"sort": "state"}, "cab"),
    ],
)
def test_selection_when_given_then_narrows_and_orders(wanted: dict[str, object], ids: str) -> None:
    assert found(**wanted) == ids


@pytest.mark.parametrize("wanted", [{"in_states": ["runing"]}, {"sort": "colour"}, {"labels": ["=x"]}])
def test_selection_when_it_cannot_be_then_is_refused(wanted: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        read_selection(**wanted)  # type: ignore[arg-type]


def test_gone_when_asked_for_by_state_then_is_looked_for() -> None:
    assert read_selection(in_states=["gone"]).wants_gone()
    assert not read_selection(in_states=["running"]).wants_gone()


@given(
    st.sampled_from(sorted(SORT_KEYS)),
    st.lists(
        st.tuples(st.sampled_from(["running", "stopped"]), st.floats(0, 9), st.none() | st.floats(0, 9)), max_size=8
    ),
)
def test_every_order_when_applied_then_keeps_every_row_and_is_the_same_for_any_input_order(
    key: str, facts: list[tuple[str, float, float | None]]
) -> None:
    rows = [
        make_row(f"{number}", state=state, created_at=float(number), cpu=cpu, expires_at=expires)
        for number, (state, cpu, expires) in enumerate(facts)
    ]
    straight = select(rows, Selection(sort=key))
    assert straight == select(rows[::-1], Selection(sort=key))
    assert sorted(row.id for row in straight) == sorted(row.id for row in rows)
