"""Client and AsyncClient, and all that they hand out, have the same names, parameters and words."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import cloudrouter
from cloudrouter.client.requests import ListOptions, StartOptions

PAIRS = [(name.removeprefix("Async"), name) for name in cloudrouter.__all__ if name.startswith("Async")]
TWINS = {"__enter__": "__aenter__", "__exit__": "__aexit__", "__iter__": "__aiter__"}
AT_ONCE = {"exit_code", "id", "name", "state", "facts", "command", "port", "url", "error", "session"}
"""What an object knows by itself, without asking anybody: properties on both sides."""
VERBS = {("Browser", "url"), ("Browser", "session")}
"""The same words where they are verbs."""
MAKES = {("AsyncBrowser", "session")}
"""Methods that make an object and ask nobody."""


PLUMBING = {"begin", "begin_at", "transport"}
"""What the SDK's own parts need of each other."""


def surface(kind: type) -> dict[str, Any]:
    """The public members of a class, those of its bases too, by name."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__[:-1]):
        if base.__module__.startswith("cloudrouter."):
            found.update(vars(base))
    kept = {*TWINS, *TWINS.values()}
    return {TWINS.get(name, name): member for name, member in found.items() if name[0] != "_" or name in kept}


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    kept = list(inspect.signature(function).parameters.values())
    return [(one.name, one.kind, one.default) for one in kept if one.name != "self"]


def test_every_class_of_the_awaiting_sdk_has_a_twin() -> None:
    assert len(PAIRS) >= 9
    for twin, _ in PAIRS:
        assert twin in cloudrouter.__all__


@pytest.mark.parametrize(("blocking", "awaiting"), PAIRS)
def test_twins_have_the_same_names(blocking: str, awaiting: str) -> None:
    one, other = surface(getattr(cloudrouter, blocking)), surface(getattr(cloudrouter, awaiting))
    assert set(one) - PLUMBING == set(other) - PLUMBING


@pytest.mark.parametrize(("blocking", "awaiting"), PAIRS)
def test_twins_take_the_same_and_say_the_same(blocking: str, awaiting: str) -> None:
    one, other = surface(getattr(cloudrouter, blocking)), surface(getattr(cloudrouter, awaiting))
    compared = 0
    for name in set(one) & set(other) - set(TWINS.values()):
        mine, theirs = one[name], other[name]
        known = name in AT_ONCE and (blocking, name) not in VERBS
        assert isinstance(mine, property) == isinstance(theirs, property) == known, name
        assert inspect.getdoc(mine), f"{blocking}.{name} says nothing"
        assert inspect.getdoc(mine) == inspect.getdoc(theirs), f"{blocking}.{name}"
        if not isinstance(mine, property):
            assert parameters(mine) == parameters(theirs), f"{blocking}.{name}"
        compared += 1
    assert compared


@pytest.mark.parametrize(("blocking", "awaiting"), PAIRS)
def test_what_asks_somebody_is_awaited(blocking: str, awaiting: str) -> None:
    kind = getattr(cloudrouter, awaiting)
    for name, member in surface(kind).items():
        if isinstance(member, property) or name in TWINS.values() or name in PLUMBING or (awaiting, name) in MAKES:
            continue
        returned = str(inspect.signature(member).return_annotation)
        fine = (
            inspect.iscoroutinefunction(member)
            or inspect.isasyncgenfunction(member)
            or returned.startswith(("Opening[", "AsyncIterator["))
        )
        assert fine, f"{awaiting}.{name} would block"
    assert inspect.getdoc(getattr(cloudrouter, blocking))


@pytest.mark.parametrize(("kind", "method"), [(StartOptions, "start"), (ListOptions, "list")])
def test_short_forms_take_what_the_long_ones_do(kind: Any, method: str) -> None:
    long = inspect.signature(getattr(cloudrouter.Machines, method)).parameters.values()
    assert set(kind.__annotations__) == {one.name for one in long if one.kind is inspect.Parameter.KEYWORD_ONLY}
