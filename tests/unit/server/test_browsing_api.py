"""Steps over HTTP: a whole router behind its socket, the SDK in front of it, a browser that does as the test says."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.server.browser_guest import BrowserGuest, Step, Talk, browser_router

from cloudrouter.client.machines import Client, Machine
from cloudrouter.client.transport import Transport
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Internal, NotConfigured, NotFound, StaleRef, Unreachable, UsageError


class Ground:
    """A router, a machine, and the guest that is told what to do."""

    def __init__(self, transport: Transport, machine_id: str, guest: BrowserGuest) -> None:
        self.transport, self.id, self.guest = transport, machine_id, guest

    def post(self, body: Any, *rest: str) -> Any:
        """Ask the API."""
        return self.transport.call("POST", routes.browser(self.id, *rest), body, timeout=20)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    guest = BrowserGuest()
    with browser_router(str(tmp_path_factory.mktemp("r")), guest) as (transport, machine):
        yield Ground(transport, machine, guest)


@pytest.fixture
def told(ground: Ground) -> Iterator[Ground]:
    """The ground with a guest that has heard nothing yet."""
    usual = ground.guest.act
    ground.guest.steps.clear()
    ground.guest.cancelled.clear()
    yield ground
    ground.guest.act = usual


def test_a_step_is_a_post_and_its_answer_has_every_field(told: Ground) -> None:
    answer = told.post({"verb": "fill", "words": ["#a", "--json"], "session": "two", "timeout_s": 3})
    assert answer == {
        "verb": "fill", "session": "two", "data": {"verb": "fill", "words": ["#a", "--json"]}, "warning": None,
        "dialog": None, "file": None, "url": None, "duration_ms": 3, "recovered": False,
    }  # fmt: skip
    (sent,) = told.guest.steps
    assert (sent["timeout_s"], sent["session"], sent["options"]) == (3.0, "two", {})


def test_an_error_has_its_own_status_and_the_command_that_helps(told: Ground) -> None:
    error = {"code": "stale_ref", "message": "Unknown ref: e9"}
    told.guest.act = lambda talk, asked: talk.say({"result": {"n": asked["n"], "error": error}})
    with pytest.raises(StaleRef) as caught:
        told.post({"verb": "click", "words": ["@e9"]})
    assert caught.value.next == f"cloudrouter browser snapshot -i {told.id}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "verb"),
        ({"verb": "url", "word": []}, "word"),
        ({"verb": "url", "words": "x"}, "words"),
        ({"verb": "fill", "words": ["#a", 5]}, "words"),
        ({"verb": "url", "timeout_s": "5"}, "timeout_s"),
        ({"verb": "url", "options": []}, "options"),
        ({"verb": "url", "session": 5}, "session"),
        ([], "object"),
    ],
)
def test_a_body_of_the_wrong_shape_is_refused(told: Ground, body: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        told.post(body)
    assert not told.guest.steps


def test_a_path_that_the_router_does_not_know_is_told_with_what_helps(told: Ground) -> None:
    with pytest.raises(NotFound, match="has no such path") as caught:
        told.post({}, "of-a-later-version")
    assert ("older checkout" in caught.value.fix, caught.value.next) == (True, "cloudrouter server stop")


def test_a_machine_that_is_not_there_is_not_found(told: Ground) -> None:
    with pytest.raises(NotFound):
        told.transport.call("POST", routes.browser("cr_aaaaaaaa"), {"verb": "url"})


def test_a_batch_tells_each_answer_and_the_failure(told: Ground) -> None:
    async def act(talk: Talk, asked: Step) -> None:
        if asked["verb"] == "click":
            await talk.say({"result": {"n": asked["n"], "error": {"code": "step_failed", "message": "covered"}}})
        else:
            await talk.answer(asked, data={"snapshot": "- x"})

    told.guest.act = act
    steps = [{"verb": "url"}, {"verb": "click", "words": ["@e1"], "session": "two"}, {"verb": "url"}]
    answer = told.post({"steps": steps, "session": "one"}, "batch")
    assert (answer["done"], answer["failed"], answer["screenshot"], answer["snapshot"]) == (1, 1, None, "- x")
    assert [(one["verb"], one["session"]) for one in answer["answers"]] == [("url", "one"), ("click", "two")]
    assert answer["answers"][1]["error"]["message"] == "The machine says: covered"
    assert set(answer["answers"][1]) == {"verb", "session", "error"}


def test_a_debugging_address_needs_a_gateway(told: Ground) -> None:
    with pytest.raises(NotConfigured, match="no gateway"):
        told.post({"ttl_s": 60}, "cdp")


@pytest.mark.parametrize("depth", [400, 700, 850, 900, 950, 980, 20_000])
def test_an_answer_of_any_depth_is_an_answer_or_an_error_of_ours(told: Ground, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    told.guest.act = lambda talk, asked: talk.say(f'{{"result":{{"n":{asked["n"]},"data":{{"deep":{deep}}}}}}}')
    try:
        answer = told.post({"verb": "eval", "words": ["x"]})
    except (Internal, Unreachable) as error:
        assert depth > 700
        assert "defect" not in error.message
    else:
        assert answer["data"] == {"deep": json.loads(deep)}


@pytest.mark.parametrize("rest", [(), ("batch",)])
def test_a_client_that_leaves_cancels_its_step(told: Ground, rest: tuple[str, ...]) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def act(talk: Talk, asked: Step) -> None:
        begun.set()
        await talk.guest.cancel_came.wait()
        cancelled.set()

    told.guest.act = act
    step: Any = {"verb": "wait", "words": ["#never"]}
    body = json.dumps({"steps": [step, {"verb": "url"}]} if rest else step).encode()
    told.guest.cancel_came = asyncio.Event()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(told.transport.socket_path)
        head = f"POST {routes.browser(told.id, *rest)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert begun.wait(10)
    assert cancelled.wait(10)
    assert told.guest.verbs == ["wait"]


def test_the_sdk_keeps_its_connection_between_steps(told: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(told.transport.socket_path) as client:
        machine: Machine = client.get(told.id)
        made = 0
        connect = Transport._connect

        def count(self: Transport) -> Any:
            nonlocal made
            made += 1
            return connect(self)

        monkeypatch.setattr(Transport, "_connect", count)
        for _ in range(5):
            machine.browser.click("@e1")
        assert made == 0
        assert told.guest.verbs == ["click"] * 5
