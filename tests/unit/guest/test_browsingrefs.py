"""Which refs may be used, and which addresses are one page."""

from __future__ import annotations

from typing import Any

import pytest

from cloudrouter.guest import browsingrefs
from cloudrouter.guest.browsingorder import read
from cloudrouter.wire.errors import StaleRef

KNOWN = {"e1": {"role": "button", "name": "Go"}}


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("http://x/a", "http://x/a?typed=1", True),
        ("http://x/a#top", "http://x/a#end", True),
        ("http://x/a", "http://x/b", False),
        ("http://x/a", "http://y/a", False),
        ("http://x/#/list", "http://x/#/list?page=2", True),
        ("http://x/#/list", "http://x/#/item", False),
        ("http://x/#!/list", "http://x/#!/item", False),
        ("about:blank", "http://x/", False),
    ],
)
def test_page_when_only_query_or_place_differ_then_is_the_same(first: str, second: str, same: bool) -> None:
    assert (browsingrefs.page_of(first) == browsingrefs.page_of(second)) is same


@pytest.mark.parametrize(
    ("verb", "words", "options"),
    [
        ("click", ["@e2"], {}),
        ("click", ["ref=e2"], {}),
        ("drag", ["@e1", "@e2"], {}),
        ("wait", ["@e2"], {}),
        ("snapshot", [], {"selector": "@e2"}),
        ("upload", ["@e2", "/tmp/x"], {}),
    ],
)
def test_ref_when_no_snapshot_gave_it_then_is_stale(verb: str, words: list[str], options: dict[str, Any]) -> None:
    order = read({"verb": verb, "words": words, "options": options})
    with pytest.raises(StaleRef, match="e2"):
        browsingrefs.check(order, KNOWN)
    browsingrefs.check(order, {**KNOWN, "e2": {}})


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("fill", ["@e1", "@e2"]),
        ("find", ["text", "@e2"]),
        ("eval", ["@e2"]),
        ("click", ["@else"]),
        ("click", ["@e"]),
        ("click", ["#e2"]),
        ("open", ["@e2"]),
    ],
)
def test_ref_when_it_is_a_text_or_something_else_then_is_nobodys_business(verb: str, words: list[str]) -> None:
    browsingrefs.check(read({"verb": verb, "words": words}), KNOWN)


def test_refs_when_a_step_tells_of_some_then_they_are_known() -> None:
    assert browsingrefs.of_answer("snapshot", {"refs": KNOWN}) == KNOWN
    assert set(browsingrefs.of_answer("screenshot", {"annotations": [{"ref": "e7"}, {"ref": "@e8"}, 5]})) == {
        "e7",
        "e8",
    }
    diff = "+- button [ref=e12]\n-- link [ref=e3, url=x]\n ref=ex"
    assert set(browsingrefs.of_answer("diff-snapshot", {"diff": diff})) == {"e12", "e3"}
    for name, data in (("click", {"refs": 5}), ("screenshot", {"annotations": "x"}), ("diff-snapshot", {"diff": 5})):
        assert browsingrefs.of_answer(name, data) == {}
