"""Tickets: once, in time, at their place; and taken out of addresses however they are written."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.auth.hosts import Place
from cloudrouter.auth.tickets import KEPT_PER_MACHINE, Grant, Tickets, digest, take_ticket

HERE = Place("cr_7k2m9xqd", "3000")
THERE = Place("cr_7k2m9xqd", "3001")
GRANT = Grant(HERE, "http", view_only=True)


def test_a_ticket_is_redeemed_once() -> None:
    tickets = Tickets()
    ticket, expires = tickets.mint(GRANT, 100.0)
    assert expires == 160.0
    assert tickets.redeem(ticket, THERE, 101.0) is None
    assert tickets.redeem(ticket, HERE, 101.0) == GRANT
    assert tickets.redeem(ticket, HERE, 101.0) is None


def test_a_late_ticket_is_worth_nothing() -> None:
    tickets = Tickets()
    ticket, expires = tickets.mint(GRANT, 0.0)
    assert tickets.redeem(ticket, HERE, expires) is None


def test_revoking_ends_one_machines() -> None:
    tickets = Tickets()
    other = Grant(Place("cr_22222222", "3000"), "http")
    mine, theirs = tickets.mint(GRANT, 0.0)[0], tickets.mint(other, 0.0)[0]
    assert tickets.revoke(HERE.machine_id) == 1
    assert tickets.redeem(mine, HERE, 1.0) is None
    assert tickets.redeem(theirs, other.place, 1.0) == other


def test_tickets_without_end_do_not_pile_up() -> None:
    tickets = Tickets()
    made = [tickets.mint(GRANT, 0.0)[0] for _ in range(KEPT_PER_MACHINE + 5)]
    assert tickets.redeem(made[4], HERE, 1.0) is None
    assert tickets.redeem(made[5], HERE, 1.0) == GRANT
    tickets.mint(GRANT, 61.0)
    assert tickets.revoke(HERE.machine_id) == 1


def test_tickets_are_not_kept_in_the_clear() -> None:
    tickets = Tickets()
    ticket, _ = tickets.mint(GRANT, 0.0)
    assert ticket not in repr(vars(tickets))
    assert digest(ticket) in repr(vars(tickets))
    assert len(ticket) >= 43


@pytest.mark.parametrize(
    ("target", "ticket", "rest"),
    [
        ("/", None, "/"),
        ("/?a=1", None, "/?a=1"),
        ("/?cloudrouter-ticket=T", "T", "/"),
        ("/p?a=%20&cloudrouter-ticket=T&b", "T", "/p?a=%20&b"),
        ("/?cloudrouter%2dticket=T", "T", "/"),
        ("/?cloudrouter-ticket=T&cloudrouter-ticket=U", "T", "/"),
        ("/?cloudrouter-ticket", "", "/"),
        ("/cloudrouter-ticket=T", None, "/cloudrouter-ticket=T"),
        ("/?x=cloudrouter-ticket=T", None, "/?x=cloudrouter-ticket=T"),
        ("/?", None, "/?"),
    ],
)
def test_a_ticket_is_taken_out_of_an_address(target: str, ticket: str | None, rest: str) -> None:
    assert take_ticket(target) == (ticket, rest)


PIECES = st.text("abc=%2-&?/", max_size=10)


@given(st.lists(PIECES | st.just("cloudrouter-ticket=SECRET") | st.just("cloudrouter-ticket=A"), max_size=6))
def test_no_ticket_is_left_and_nothing_else_is_lost(pieces: list[str]) -> None:
    target = "/?" + "&".join(pieces)
    _, rest = take_ticket(target)
    assert "cloudrouter-ticket=" not in rest
    others = [part for piece in pieces for part in piece.split("&") if not part.startswith("cloudrouter-ticket")]
    kept = rest.partition("?")[2].split("&")
    assert [part for part in kept if part] == [part for part in others if part]


@given(st.text(max_size=30))
def test_any_value_comes_back_as_it_was(value: str) -> None:
    assert take_ticket(f"/?cloudrouter-ticket={quote(value, safe='')}")[0] == value
