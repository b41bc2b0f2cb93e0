"""The SDK's browser: both clients against one scripted router that writes down what it was asked."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.fake_guest import FakeGuest
from tests.unit.client.fake_router import Answer, FakeRouter, Seen
from websockets.sync.server import ServerConnection

from cloudrouter import (
    AsyncBrowser,
    AsyncClient,
    Browser,
    Client,
    DialogOpen,
    Internal,
    Snapshot,
    StaleRef,
    StepFailed,
    Unreachable,
    UsageError,
)
from cloudrouter.client import stepping
from cloudrouter.wire.browserapi import Dialog, FailedStep, MadeFile, StepAnswer
from cloudrouter.wire.browsing import FOLDER, STEPS
from cloudrouter.wire.errors import CODES, Conflict, TransferFailed

Make = Callable[..., FakeRouter]
ID = "cr_7k2m9xqd"
BASE = f"/v1/machines/{ID}"
POINT = "what it gives"
TYPED: dict[str, Any] = {"visible": True, "enabled": False, "checked": True, "count": 3, "tabs": [{"tabId": "t1"}]}


class Script:
    """One machine whose browser answers everything; files are real, below `root`."""

    def __init__(self, root: Path) -> None:
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self.guest = FakeGuest(str(root))
        self.root = root
        self.answer: dict[str, Any] = {}
        self.error: Any = None
        self.cuts = 0

    def handle(self, seen: Seen) -> Answer:
        if seen.path == BASE:
            return Answer(200, {"id": ID, "name": "a", "state": "running"})
        self.paths.append(seen.path.removeprefix(BASE))
        self.bodies.append(seen.body)
        if self.cuts:
            self.cuts -= 1
            return Answer(cut=True)
        if self.error is not None:
            return Answer(self.error.http_status, {"error": self.error.to_json()})
        if seen.path.endswith("/cdp"):
            return Answer(
                200, {"url": "ws://x/cdp/k", "http_url": "http://x/cdp/k", "expires_at": "2026-11-24T12:00:00Z"}
            )
        if seen.path.endswith("/batch"):
            return Answer(200, self.answer)
        return Answer(200, {**self.said(seen.body), **self.answer})

    def said(self, body: Any) -> dict[str, Any]:
        step = STEPS.get(body["verb"])
        shows = step.shows if step else ""
        data = {shows: TYPED.get(shows, POINT)} if shows not in ("", "*") else {"all": POINT}
        said = {"verb": body["verb"], "session": body["session"], "data": data, "newer": 1}
        if step and step.gives:
            made = self.root / f"made{step.suffix}"
            made.write_bytes(b"made by " + step.name.encode())
            said["file"] = {"path": str(made), "size": made.stat().st_size, "name": "page.bin", "newer": 1}
        return said

    def talk(self, connection: ServerConnection, path: str) -> None:
        request = json.loads(connection.recv(20))
        if request["op"] != "browser.follow":
            self.guest.requests.append(request)
            # Everything that is sent lands below root, wherever the machine would have it.
            request["path"] = request["path"].lstrip("/") if request["op"] == "put" else request["path"]
            connection.send(json.dumps(getattr(self.guest, request["op"])(connection, request)))
            return
        self.bodies.append(request)
        for word in ({"started": {}}, {"starting": {}}, {"item": {"text": "a"}}, {"item": 5}, {"item": {"text": "b"}}):
            connection.send(json.dumps(word))
        connection.send(json.dumps({"end": {}}))


@pytest.fixture
def script(tmp_path: Path) -> Script:
    (tmp_path / "machine").mkdir()
    return Script(tmp_path / "machine")


@pytest.fixture
def router(script: Script, fake_router: Make) -> FakeRouter:
    return fake_router(handle=script.handle, talk=script.talk)


Use = Callable[[Any], Any]


def blocking(router: FakeRouter, use: Use) -> Any:
    with Client(router.path) as client:
        return use(client.get(ID).browser)


def awaiting(router: FakeRouter, use: Use) -> Any:
    async def run() -> Any:
        async with AsyncClient(router.path) as client:
            found = use((await client.get(ID)).browser)
            if inspect.isasyncgen(found):
                return [one async for one in found]
            return await found

    return asyncio.run(run())


both = pytest.mark.parametrize("how", [blocking, awaiting])
How = Callable[[FakeRouter, Use], Any]


def test_every_verb_of_the_table_has_a_method() -> None:
    own = {"eval": "evaluate"}
    for verb in STEPS:
        name = own.get(verb, verb.replace("-", "_"))
        assert inspect.isfunction(getattr(Browser, name, None)), verb
        assert inspect.iscoroutinefunction(getattr(AsyncBrowser, name, None)), verb


def test_every_option_of_the_table_is_a_keyword_of_its_method() -> None:
    for verb, step in STEPS.items():
        name = {"eval": "evaluate"}.get(verb, verb.replace("-", "_"))
        keywords = {
            one.name.replace("_", "-")
            for one in inspect.signature(getattr(Browser, name)).parameters.values()
            if one.kind is inspect.Parameter.KEYWORD_ONLY
        }
        assert keywords - {"timeout"} == {option.name for option in step.options}, verb


CALLS: list[tuple[Use, str, list[str], dict[str, Any], Any]] = [
    (lambda b: b.open("http://x/"), "open", ["http://x/"], {}, StepAnswer),
    (lambda b: b.open(), "open", [], {}, StepAnswer),
    (lambda b: b.click("@e2", new_tab=True), "click", ["@e2"], {"new-tab": True}, StepAnswer),
    (lambda b: b.fill("@e3", "--json"), "fill", ["@e3", "--json"], {}, StepAnswer),
    (lambda b: b.type("@e3", ""), "type", ["@e3", ""], {}, StepAnswer),
    (lambda b: b.select("#s", "a", "b"), "select", ["#s", "a", "b"], {}, StepAnswer),
    (lambda b: b.scroll("down", 300, selector="#l"), "scroll", ["down", "300"], {"selector": "#l"}, StepAnswer),
    (lambda b: b.mouse_move(1, -2.5), "mouse-move", ["1", "-2.5"], {}, StepAnswer),
    (lambda b: b.mouse_wheel(-100), "mouse-wheel", ["-100"], {}, StepAnswer),
    (lambda b: b.set_geo(52.5, -13.4), "set-geo", ["52.5", "-13.4"], {}, StepAnswer),
    (lambda b: b.set_headers({"X-A": "b"}), "set-headers", ['{"X-A": "b"}'], {}, StepAnswer),
    (lambda b: b.find("role", "button", "click", name="Go", exact=True), "find", ["role", "button", "click"],
     {"name": "Go", "exact": True}, StepAnswer),
    (lambda b: b.wait(text="Saved"), "wait", [], {"text": "Saved"}, StepAnswer),
    (lambda b: b.wait(500), "wait", ["500"], {}, StepAnswer),
    (lambda b: b.cookies_set("a", "b", http_only=True, same_site="Lax", expires=5), "cookies-set", ["a", "b"],
     {"http-only": True, "same-site": "Lax", "expires": "5"}, StepAnswer),
    (lambda b: b.network_route("**/api", body="{}", allow_origin="*"), "network-route", ["**/api"],
     {"body": "{}", "allow-origin": "*"}, StepAnswer),
    (lambda b: b.dialog_accept("yes"), "dialog-accept", ["yes"], {}, StepAnswer),
    (lambda b: b.evaluate("1+1"), "eval", ["1+1"], {}, POINT),
    (lambda b: b.url(), "url", [], {}, POINT),
    (lambda b: b.get_text("h1"), "get-text", ["h1"], {}, POINT),
    (lambda b: b.get_count("li"), "get-count", ["li"], {}, 3),
    (lambda b: b.is_visible("h1"), "is-visible", ["h1"], {}, True),
    (lambda b: b.is_enabled("h1"), "is-enabled", ["h1"], {}, False),
    (lambda b: b.get_box("h1"), "get-box", ["h1"], {}, {"all": POINT}),
    (lambda b: b.tab_list(), "tab-list", [], {}, [{"tabId": "t1"}]),
    (lambda b: b.console(clear=True), "console", [], {"clear": True}, POINT),
    (lambda b: b.network_requests(filter="api", method="POST"), "network-requests", [],
     {"filter": "api", "method": "POST"}, POINT),
    (lambda b: b.a11y(tags="wcag2a"), "a11y", [], {"tags": "wcag2a"}, {"all": POINT}),
    (lambda b: b.snapshot(interactive=True, depth=3), "snapshot", [], {"interactive": True, "depth": "3"},
     Snapshot(POINT, {})),
    (lambda b: b.do("keydown", "a"), "keydown", ["a"], {}, StepAnswer),
]  # fmt: skip


@both
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[1])
def test_a_method_is_a_step(how: How, call: Any, script: Script, router: FakeRouter) -> None:
    use, verb, words, options, gives = call
    found = how(router, use)
    assert script.paths == ["/browser"]
    assert script.bodies == [{"verb": verb, "words": words, "options": options, "session": "main", "timeout_s": 25.0}]
    assert isinstance(found, StepAnswer) if gives is StepAnswer else found == gives


@both
def test_sessions_and_times_are_of_the_object_or_of_one_step(how: How, script: Script, router: FakeRouter) -> None:
    how(router, lambda b: b.session("two", timeout=60).url())
    how(router, lambda b: b.session("two").session(timeout=5).reload(timeout=7))
    assert [(one["session"], one["timeout_s"]) for one in script.bodies] == [("two", 60.0), ("two", 7.0)]
    for name in ("", "a b", "x" * 33):
        with pytest.raises(UsageError):
            how(router, lambda b, name=name: b.session(name))


@both
def test_an_answer_tells_the_dialog_and_where_the_tab_is(how: How, script: Script, router: FakeRouter) -> None:
    dialog = {"type": "confirm", "message": "Sure?", "newer": 1}
    script.answer = {"dialog": dialog, "url": "http://x/", "warning": "w", "recovered": True, "duration_ms": 7}
    answer = how(router, lambda b: b.click("@e1"))
    assert answer.dialog == Dialog("confirm", "Sure?")
    assert (answer.url, answer.warning, answer.recovered, answer.duration_ms) == ("http://x/", "w", True, 7)


@both
@pytest.mark.parametrize("verb", ["url", "is-visible", "get-count", "tab-list"])
def test_an_answer_of_another_kind_is_not_handed_on(how: How, verb: str, script: Script, router: FakeRouter) -> None:
    script.answer = {"data": {STEPS[verb].shows: {"no": 1}}}
    words = ["h1"] if STEPS[verb].words else []
    with pytest.raises(Internal, match="cannot be read"):
        how(router, lambda b: getattr(b, verb.replace("-", "_"))(*words))


@both
def test_errors_are_of_their_own_kinds(how: How, script: Script, router: FakeRouter) -> None:
    script.error = DialogOpen("A dialog is open.", dialog={"type": "alert", "message": "x", "default": None})
    with pytest.raises(StepFailed) as caught:
        how(router, lambda b: b.click("@e1"))
    assert isinstance(caught.value, DialogOpen)
    assert caught.value.details["dialog"]["message"] == "x"
    assert {"stale_ref", "dialog_open", "not_a_field", "tab_gone", "browser_down", "step_failed"} <= set(CODES)


# -- files -------------------------------------------------------------------------------------------------------------

GIVES = ["screenshot", "pdf", "state_save", "har_stop", "trace_stop", "profiler_stop"]


@both
@pytest.mark.parametrize("name", GIVES)
def test_what_a_step_makes_comes_as_bytes_and_as_a_file(
    how: How, name: str, script: Script, router: FakeRouter, tmp_path: Path
) -> None:
    made = b"made by " + name.replace("_", "-").encode()
    assert how(router, lambda b: getattr(b, name)()) == made
    target = tmp_path / "out.bin"
    assert how(router, lambda b: getattr(b, name)(target)) == made
    assert target.read_bytes() == made
    with pytest.raises(UsageError, match="is a folder"):
        how(router, lambda b: getattr(b, name)(tmp_path))
    assert script.bodies[0]["words"] == []


@both
def test_what_came_with_the_answer_is_not_fetched_and_what_came_in_part_is(
    how: How, script: Script, router: FakeRouter, tmp_path: Path
) -> None:
    file = {"path": "/nowhere/made", "size": 2, "name": "x", "content": "aGk="}
    script.answer = {"file": file}
    assert how(router, lambda b: b.pdf(tmp_path / "out.pdf")) == b"hi"
    assert (tmp_path / "out.pdf").read_bytes() == b"hi"
    assert how(router, lambda b: b.screenshot()) == b"hi"
    assert how(router, lambda b: b.download("#a", tmp_path / "sub")) == str(tmp_path / "sub")
    assert [body["bring"] for body in script.bodies] == [True, True, True]
    with pytest.raises(TransferFailed, match="cannot be written"):
        how(router, lambda b: b.pdf(tmp_path / "missing" / "out.pdf"))
    made = script.root / "made"
    made.write_bytes(b"whole")
    script.answer = {"file": {**file, "path": str(made), "content": "aGk", "size": 5}}
    assert how(router, lambda b: b.pdf()) == b"whole"


@both
def test_a_download_comes_to_the_name_that_was_asked_for_or_into_a_folder(
    how: How, script: Script, router: FakeRouter, tmp_path: Path
) -> None:
    here = how(router, lambda b: b.download("#a", tmp_path / "my.bin"))
    assert (here, (tmp_path / "my.bin").read_bytes()) == (str(tmp_path / "my.bin"), b"made by download")
    assert how(router, lambda b: b.download("#a", tmp_path)) == str(tmp_path / "page.bin")
    (tmp_path / "here.txt").write_text("mine")
    script.answer = {"file": {"path": str(script.root / "made"), "size": 1, "name": "here.txt"}}
    with pytest.raises(Conflict, match="is there already"):
        how(router, lambda b: b.download("#a", tmp_path))
    assert (tmp_path / "here.txt").read_text() == "mine"
    for name in ("", "..", "../x", "/etc/x", ".bashrc"):
        script.answer = {"file": {"path": str(script.root / "made"), "size": 1, "name": name}}
        with pytest.raises(UsageError, match="is a folder"):
            how(router, lambda b: b.download("#a", tmp_path))


@both
def test_files_for_a_step_are_sent_first_each_to_a_place_of_its_own(
    how: How, script: Script, router: FakeRouter, tmp_path: Path
) -> None:
    (tmp_path / "a b.png").write_bytes(b"one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "a b.png").write_bytes(b"two")
    how(router, lambda b: b.upload("#f", tmp_path / "a b.png", str(tmp_path / "two" / "a b.png")))
    (body,) = script.bodies
    selector, *paths = body["words"]
    assert selector == "#f"
    assert len(set(paths)) == 2
    for path, content in zip(paths, (b"one", b"two"), strict=True):
        assert path.startswith(f"{FOLDER}/in/")
        assert path.endswith("/a b.png")
        assert (script.root / path.lstrip("/")).read_bytes() == content
    (tmp_path / "s.json").write_text("{}")
    how(router, lambda b: b.state_load(tmp_path / "s.json"))
    assert script.bodies[1]["words"][0].endswith("/s.json")
    assert stepping.inbox("a") != stepping.inbox("a")


# -- many steps, programs, following -----------------------------------------------------------------------------------

PICTURE = {"path": "/run/x.png", "size": 5, "name": "x.png"}
FAILED = {"verb": "click", "session": "main", "error": {"code": "stale_ref", "message": "Unknown ref: e9"}}
DONE = {"verb": "url", "session": "main", "data": {"url": "http://x/"}}


@both
def test_a_batch_takes_words_and_objects(how: How, script: Script, router: FakeRouter) -> None:
    script.answer = {"answers": [DONE, DONE], "done": 2, "failed": None, "duration_ms": 5}
    steps = [["click", "@e2"], {"verb": "screenshot", "options": {"full": True}, "session": "two", "timeout_s": 5}]
    answer = how(router, lambda b: b.session("one").batch(steps, keep_going=True))
    assert script.paths == ["/browser/batch"]
    first = {"verb": "click", "words": ["@e2"], "options": {}, "session": None, "timeout_s": 25.0}
    second = {"verb": "screenshot", "words": [], "options": {"full": True}, "session": "two", "timeout_s": 5.0}
    assert script.bodies == [{"steps": [first, second], "session": "one", "keep_going": True}]
    assert (answer.done, answer.answers[0].data) == (2, {"url": "http://x/"})


@both
def test_a_batch_that_failed_says_where_and_raises_when_it_is_checked(
    how: How, script: Script, router: FakeRouter
) -> None:
    script.answer = {"answers": [DONE, FAILED], "done": 1, "failed": 1, "screenshot": PICTURE, "snapshot": "- x"}
    answer = how(router, lambda b: b.batch([["url"], ["click", "@e9"]]))
    assert isinstance(answer.answers[1], FailedStep)
    assert (answer.failed, answer.screenshot, answer.snapshot) == (1, MadeFile("/run/x.png", 5, "x.png"), "- x")
    with pytest.raises(StaleRef) as caught:
        how(router, lambda b: b.batch([["url"], ["click", "@e9"]], check=True))
    assert caught.value.details == {"step": 1}


@both
@pytest.mark.parametrize("step", ["click", [], {"words": []}, {"verb": "a", "x": 1}, {"verb": "a", "words": "b"}])
def test_what_is_no_step_is_refused_at_once(how: How, step: Any, script: Script, router: FakeRouter) -> None:
    with pytest.raises(UsageError, match="Step 2"):
        how(router, lambda b: b.batch([["url"], step]))
    assert not script.bodies


@both
def test_an_address_for_programs(how: How, script: Script, router: FakeRouter) -> None:
    assert how(router, lambda b: b.cdp()).url == "ws://x/cdp/k"
    assert how(router, lambda b: b.cdp(ttl=60)).http_url == "http://x/cdp/k"
    assert (script.paths, script.bodies) == (["/browser/cdp"] * 2, [{"ttl_s": 600.0}, {"ttl_s": 60.0}])


@both
def test_following_tells_each_thing_until_the_end(how: How, script: Script, router: FakeRouter) -> None:
    found = how(router, lambda b: b.follow("network") if how is awaiting else list(b.follow("network")))
    assert found == [{"text": "a"}, {"text": "b"}]
    assert script.bodies == [{"op": "browser.follow", "kind": "network", "session": "main", "since_now": True}]
    with pytest.raises(UsageError):
        how(router, lambda b: b.follow("x") if how is awaiting else list(b.follow("x")))


@both
def test_sessions_are_listed_and_closed(how: How, script: Script, router: FakeRouter) -> None:
    script.answer = {"data": {"sessions": [{"name": "main"}]}}
    assert how(router, lambda b: b.sessions()) == [{"name": "main"}]
    how(router, lambda b: b.session("two").close())
    assert [(one["verb"], one["session"]) for one in script.bodies] == [("sessions", "main"), ("close", "two")]
    script.answer = {"data": {"sessions": 5}}
    with pytest.raises(Internal):
        how(router, lambda b: b.sessions())


# -- once --------------------------------------------------------------------------------------------------------------


def test_a_step_that_does_something_is_never_sent_twice(script: Script, router: FakeRouter) -> None:
    with Client(router.path) as client:
        browser = client.get(ID).browser
        browser.click("@e1")
        script.cuts = 1
        with pytest.raises(Unreachable, match="may have happened"):
            browser.click("@e2")
        browser.click("@e3")
    assert [one["words"] for one in script.bodies] == [["@e1"], ["@e2"], ["@e3"]]


def test_a_step_that_only_looks_may_be_sent_again(script: Script, router: FakeRouter) -> None:
    with Client(router.path) as client:
        browser = client.get(ID).browser
        browser.url()
        script.cuts = 1
        assert browser.url() == POINT
    assert len(script.bodies) == 3


async def test_awaiting_too_a_step_is_never_sent_twice(script: Script, router: FakeRouter) -> None:
    async with AsyncClient(router.path) as client:
        browser = (await client.get(ID)).browser
        await browser.click("@e1")
        script.cuts = 1
        with pytest.raises(Unreachable, match="may have happened"):
            await browser.click("@e2")
        await browser.click("@e3")
        script.cuts = 1
        assert await browser.url() == POINT
    assert [one["verb"] for one in script.bodies] == ["click", "click", "click", "url", "url"]


@both
def test_a_kept_connection_that_the_router_closed_is_not_used_for_what_happens_once(
    how: How, script: Script, router: FakeRouter
) -> None:
    def use(browser: Any) -> Any:
        if how is blocking:
            browser.click("@e1")
            router.cut_connections()
            return browser.click("@e2")

        async def run() -> Any:
            await browser.click("@e1")
            router.cut_connections()
            return await browser.click("@e2")

        return run()

    assert isinstance(how(router, use), StepAnswer)
    assert [one["words"] for one in script.bodies] == [["@e1"], ["@e2"]]
