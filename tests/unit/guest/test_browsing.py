"""Steps of the browser through a guest: a fake agent-browser and a fake debugging port behind it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.unit.guest import browsermaker
from tests.unit.guest.browsermaker import asked, cdp_log, happen, told
from tests.unit.guest.machine import Machine, send, until
from websockets.asyncio.client import ClientConnection

from cloudrouter.wire.browsing import PART


@pytest.fixture
def surfed() -> Iterator[Machine]:
    machine = Machine()
    browsermaker.install(machine)
    yield machine
    machine.remove()


class Channel:
    """An opener of the operation `browser`."""

    def __init__(self, stream: ClientConnection) -> None:
        self.stream = stream
        self.count = 0
        self.others: list[dict[str, Any]] = []

    async def post(self, verb: str, *words: str, session: str = "main", **more: Any) -> int:
        self.count += 1
        body = {"n": self.count, "verb": verb, "words": list(words), "session": session, **more}
        await send(self.stream, {"step": body})
        return self.count

    async def answer(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                body = json.loads(await self.stream.recv())
                if "result" in body:
                    found: dict[str, Any] = body["result"]
                    return found
                self.others.append(body)

    async def do(self, verb: str, *words: str, **more: Any) -> dict[str, Any]:
        number = await self.post(verb, *words, **more)
        found = await self.answer()
        assert found.pop("n") == number
        return found


@asynccontextmanager
async def channel(machine: Machine) -> AsyncIterator[Channel]:
    async with machine.connect() as stream:
        await send(stream, {"op": "browser"})
        assert json.loads(await stream.recv()) == {"started": {}}
        yield Channel(stream)


def code(answer: dict[str, Any]) -> str:
    return str(answer["error"]["code"])


async def test_a_first_step_when_nothing_runs_then_starts_the_browser_and_closes_the_pictures_door(
    surfed: Machine,
) -> None:
    async with channel(surfed) as steps:
        answer = await steps.do("eval", "1+1")
        assert answer["data"] == {"result": "1+1"}
        assert answer["url"] == "http://page/"
        await steps.do("eval", "2")
    assert steps.others[0]["starting"]["name"] == "browser"
    assert [one["asked"] for one in told(surfed)] == [
        [["stream", "disable"], ["eval", "1+1"]],
        [["eval", "2"]],
    ]


async def test_texts_when_they_are_secrets_or_flags_then_are_in_no_argument(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        answer = await steps.do("fill", "#name", "--json")
        assert answer["warning"] is None
        await steps.do("eval", "--stdin")
    run = told(surfed)[0]
    assert run["argv"] == ["--json", "batch"]
    assert run["cwd"] == "/"
    assert run["asked"] == [["stream", "disable"], ["fill", "#name", "--json"], ["get", "value", "#name"]]
    assert asked(surfed)[-1] == ["eval", " --stdin"]
    assert {"HTTP_PROXY", "https_proxy", "CLOUDROUTER_TOKEN_SHA256"}.isdisjoint(run["env"])
    assert run["env"]["AGENT_BROWSER_PIN_TAB"] == "1"


async def test_steps_of_one_session_when_sent_at_once_then_go_one_after_another_and_others_beside(
    surfed: Machine,
) -> None:
    async with channel(surfed) as steps:
        first = await steps.post("eval", "sleep 30", timeout_s=60)
        await until(lambda: asked(surfed))
        second = await steps.post("eval", "after")
        beside = await steps.do("eval", "beside", session="two")
        assert beside["data"]["result"] == "beside"
        assert asked(surfed) == [["eval", "sleep 30"]]
        listed = await steps.do("sessions")
        assert {one["name"]: one["busy"] for one in listed["data"]["sessions"]} == {"main": True, "two": False}
        with open(f"{surfed.home}/go", "w"):
            pass
        assert [(await steps.answer())["n"] for _ in range(2)] == [first, second]
    targets = {one["session"]: one["asked"][0] for one in told(surfed)}
    assert set(targets) == {"main", "two"}


async def test_the_main_session_when_it_begins_then_is_bound_to_the_tab_in_front_and_others_to_none(
    surfed: Machine,
) -> None:
    async with channel(surfed) as steps:
        await steps.do("eval", "1")
        await steps.do("eval", "1", session="two")
    folder = f"{surfed.root}/browser/daemons"
    with open(f"{folder}/main.target") as file:
        assert json.load(file)["targetId"] == "TAB1"
    assert not os.path.exists(f"{folder}/two.target")
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


async def test_a_long_answer_when_it_does_not_fit_a_message_then_comes_in_parts(surfed: Machine) -> None:
    letters = PART * 2 + 7
    async with channel(surfed) as steps:
        number = await steps.post("eval", f"big {letters}")
        result = await steps.answer()
        parts = [one["part"] for one in steps.others if "part" in one]
    assert result == {"n": number, "parts": len(parts)}
    assert {part["n"] for part in parts} == {number}
    assert len(json.loads("".join(part["text"] for part in parts))["data"]["result"]) == letters


async def test_a_step_when_cancelled_then_ends_soon_and_the_session_is_free(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        number = await steps.post("eval", "sleep 30", timeout_s=60)
        await until(lambda: asked(surfed))
        await send(steps.stream, {"cancel": {"n": number}})
        answer = await steps.answer()
        assert (answer["n"], answer["error"]["code"]) == (number, "step_failed")
        assert (await steps.do("eval", "next"))["data"]["result"] == "next"
    assert "Page.stopLoading" in {one["method"] for one in cdp_log(surfed)}


async def test_a_step_when_cancelled_before_it_has_begun_then_is_answered_too(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        await send(steps.stream, {"step": {"n": 5, "verb": "eval", "words": ["1"]}}, {"cancel": {"n": 5}})
        answer = await steps.answer()
        assert (answer["n"], answer["error"]["message"]) == (5, "The step was cancelled.")
        assert (await steps.do("eval", "next"))["data"]["result"] == "next"


async def test_a_step_when_its_time_is_over_then_says_so_and_that_its_session_was_begun_again(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        answer = await steps.do("eval", "sleep 30", timeout_s=0.2)
        assert code(answer) == "timed_out"
        assert "begun again" in answer["error"]["message"]
        await steps.do("eval", "next")
    assert told(surfed)[-1]["asked"][0] == ["stream", "disable"]


async def test_a_wait_when_nothing_comes_then_is_done_in_pieces_until_its_time_is_over(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        answer = await steps.do("wait", "#never", timeout_s=2.5)
        assert code(answer) == "timed_out"
    pieces = [int(words[-1]) for words in asked(surfed)]
    assert len(pieces) == 2
    assert max(pieces) <= 2000


async def test_a_wait_when_longer_than_its_time_then_is_refused_at_once(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        answer = await steps.do("wait", "5000", timeout_s=2)
        assert (code(answer), "--timeout 6s" in answer["error"]["fix"]) == ("usage", True)
        assert (await steps.do("wait", "20"))["data"]["ms"] == 20
    assert asked(surfed) == []


async def test_steps_when_a_dialog_is_open_then_are_answered_at_once_until_it_is_answered(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        await steps.do("eval", "1")
        happen(surfed, "confirm")
        await until(lambda: not os.path.exists(f"{surfed.home}/event"))
        ran = len(told(surfed))
        answer = await steps.do("eval", "2")
        while "error" not in answer:  # the event is on its way
            ran, answer = len(told(surfed)), await steps.do("eval", "2")
        assert code(answer) == "dialog_open"
        assert answer["error"]["details"]["dialog"] == {"type": "confirm", "message": "Sure?", "default": ""}
        assert (await steps.do("dialog-status"))["data"]["hasDialog"] is True
        assert len(told(surfed)) == ran
        assert (await steps.do("dialog-accept"))["data"]["accepted"] is True
        assert (await steps.do("eval", "3"))["dialog"] is None
    assert [one["params"] for one in cdp_log(surfed) if one["method"] == "Page.handleJavaScriptDialog"] == [
        {"accept": True}
    ]


async def test_a_step_when_it_opens_a_dialog_and_hangs_then_tells_the_dialog_soon(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        await steps.post("eval", "sleep 30", timeout_s=25)
        await until(lambda: asked(surfed))
        happen(surfed, "confirm")
        answer = await steps.answer()
        assert code(answer) == "dialog_open"
    assert "Page.stopLoading" not in {one["method"] for one in cdp_log(surfed)}


async def test_an_alert_when_agent_browser_accepts_it_then_is_told_as_a_warning_once(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        await steps.post("eval", "sleep 30", timeout_s=25)
        await until(lambda: asked(surfed))
        happen(surfed, "alert")
        await until(lambda: not os.path.exists(f"{surfed.home}/event"))
        happen(surfed, "closed")
        await until(lambda: not os.path.exists(f"{surfed.home}/event"))
        with open(f"{surfed.home}/go", "w"):
            pass
        assert "'Hello'" in (await steps.answer())["warning"]
        assert (await steps.do("eval", "1"))["warning"] is None


async def test_fill_when_it_is_no_field_then_is_refused_and_nothing_is_typed(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        assert code(await steps.do("fill", "#button", "x")) == "not_a_field"
        await steps.do("snapshot")
        assert code(await steps.do("fill", "@e2", "x")) == "not_a_field"
        assert (await steps.do("fill", "@e1", "short"))["warning"] is None
        assert "is not what was filled in" in (await steps.do("fill", "#name", "y" * 30))["warning"]
    assert [words[1] for words in asked(surfed) if words[0] == "fill"] == ["@e1", "#name"]


async def test_complaints_when_agent_browser_makes_them_then_are_errors_with_advice(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        stale = await steps.do("click", "@e99")
        assert (code(stale), "new one" in stale["error"]["fix"]) == ("stale_ref", True)
        assert code(await steps.do("click", "#gone")) == "tab_gone"
        assert "no json" in (await steps.do("eval", "garbage"))["error"]["message"]
        opened = await steps.do("open", "http://gone")
        assert "new one" in opened["warning"]
    assert asked(surfed)[-1] == ["tab", "new", "http://gone"]


async def test_a_tool_that_is_killed_when_it_only_reads_then_is_run_again_and_else_told(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        answer = await steps.do("eval", "die")
        assert code(answer) == "browser_down"
        assert (await steps.do("eval", "1"))["data"]["result"] == "1"


async def test_a_browser_that_is_killed_under_a_step_then_runs_again_and_acts_are_refused_once(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        await steps.post("eval", "sleep 30", timeout_s=25)
        await until(lambda: asked(surfed))
        with open(f"{surfed.home}/starts") as file:
            os.kill(int(file.readline()), signal.SIGKILL)
        answer = await steps.answer()
        assert code(answer) == "browser_down"
        assert "runs again" in answer["error"]["message"]
        assert code(await steps.do("click", "#name")) == "tab_gone"
        assert "error" not in await steps.do("click", "#name")
    with open(f"{surfed.home}/starts") as file:
        assert len(file.readlines()) == 2


async def test_a_page_that_crashes_under_a_step_then_is_loaded_again_and_told(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        await steps.post("eval", "sleep 30", timeout_s=25)
        await until(lambda: asked(surfed))
        happen(surfed, "crash")
        answer = await steps.answer()
        assert (code(answer), "loaded again" in answer["error"]["message"]) == ("step_failed", True)
        await steps.do("eval", "1")
        happen(surfed, "crash")
        await until(lambda: not os.path.exists(f"{surfed.home}/event"))
        answer = await steps.do("snapshot")
        while not answer["recovered"]:  # the event is on its way
            answer = await steps.do("snapshot")
        assert "had crashed" in answer["warning"]
    assert [one["method"] for one in cdp_log(surfed)].count("Page.reload") == 2


async def test_a_tab_that_is_closed_by_hand_under_a_step_then_is_told_soon(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        await steps.post("eval", "sleep 30", timeout_s=25)
        await until(lambda: asked(surfed))
        happen(surfed, "gone")
        assert code(await steps.answer()) == "tab_gone"


async def test_a_file_that_a_step_makes_then_lies_in_a_folder_of_its_own_for_the_user_alone(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        one, two = [(await steps.do("screenshot"))["file"] for _ in range(2)]
        named = await steps.do("screenshot", f"{surfed.home}/mine.png")
        relative = await steps.do("screenshot", "mine.png")
        jpeg = await steps.do("screenshot", options={"format": "jpeg", "quality": "5"})
    assert (one["size"], one["name"]) == (3, "screenshot.png")
    assert os.path.dirname(one["path"]) != os.path.dirname(two["path"])
    assert stat.S_IMODE(os.stat(one["path"]).st_mode) == 0o600
    assert named["file"]["path"] == f"{surfed.home}/mine.png"
    assert code(relative) == "usage"
    assert jpeg["file"]["name"] == "screenshot.jpg"
    assert told(surfed)[-1]["argv"] == [
        "--json",
        *("--screenshot-format", "jpeg", "--screenshot-quality", "5"),
        "batch",
    ]


async def test_a_file_that_is_to_be_brought_then_comes_with_the_answer(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        plain = (await steps.do("screenshot"))["file"]
        brought = (await steps.do("screenshot", bring=True))["file"]
    assert "content" not in plain
    with open(brought["path"], "rb") as file:
        assert base64.b64decode(brought["content"]) == file.read()


async def test_files_that_are_given_when_they_are_none_then_are_refused_before_the_browser_hears_of_them(
    surfed: Machine,
) -> None:
    os.mkfifo(f"{surfed.home}/fifo")
    async with channel(surfed) as steps:
        for path, wanted in (("a.txt", "usage"), ("/no/such", "not_found"), (f"{surfed.home}/fifo", "usage")):
            assert code(await steps.do("upload", "#file", path)) == wanted
    assert asked(surfed) == []


async def test_a_compact_snapshot_of_a_large_page_then_stays_small_and_says_so(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        whole = await steps.do("snapshot")
        small = await steps.do("snapshot", options={"compact": True})
    assert small["data"]["truncated"] is True
    assert len(small["data"]["snapshot"]) < 31_000
    assert "more lines" in small["data"]["snapshot"].splitlines()[-1]
    assert set(small["data"]["refs"]) == {"e2"}
    assert "truncated" not in whole["data"]
    assert len(whole["data"]["snapshot"]) > 90_000


async def test_a_viewport_when_set_then_is_the_tabs_alone_until_off(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        answer = await steps.do("set-viewport", "400", "300", "2")
        assert answer["data"] == {"width": 400, "height": 300, "deviceScaleFactor": 2.0, "mobile": False}
        await steps.do("set-viewport", "off")
        assert code(await steps.do("set-viewport", "400")) == "usage"
        assert code(await steps.do("set-device", "Nokia 3310")) == "usage"
        assert (await steps.do("set-device", "pixel 7"))["data"]["device"] == "Pixel 7"
    methods = [one["method"] for one in cdp_log(surfed)]
    assert methods.count("Emulation.setDeviceMetricsOverride") == 2
    assert methods.count("Emulation.clearDeviceMetricsOverride") == 1
    assert asked(surfed) == []


async def test_close_when_it_is_main_then_ends_the_browser_and_all_sessions(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        await steps.do("eval", "1")
        assert code(await steps.do("close", session="two")) == "not_found"
        assert (await steps.do("close"))["data"] == {"closed": True}
        assert (await steps.do("sessions"))["data"] == {"sessions": []}
    apps = (await surfed.ask({"op": "app.list"})).final["apps"]
    assert [app["state"] for app in apps] == ["off"]


async def test_a_channel_when_its_messages_are_wrong_then_ends_with_an_error(surfed: Machine) -> None:
    for wrong in ({"step": {"verb": "url"}}, {"step": {"n": -1}}, {"cancel": {}}, {"other": 1}):
        outcome = await surfed.ask({"op": "browser"}, wrong)
        assert outcome.error["code"] == "usage", wrong


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        ({"verb": "fly"}, "no verb"),
        ({"verb": "click"}, "SELECTOR is missing"),
        ({"verb": "click", "words": [1]}, "no text"),
        ({"verb": "click", "words": "ab"}, "list"),
        ({"verb": "url", "words": ["x"]}, "0 words at most"),
        ({"verb": "url", "session": "a/b"}, "cannot be called"),
        ({"verb": "url", "timeout_s": 0}, "timeout_s"),
        ({"verb": "url", "timeout_s": True}, "timeout_s"),
        ({"verb": "url", "options": {"x": True}}, "no option"),
        ({"verb": "snapshot", "options": {"compact": "yes"}}, "true or false"),
        ({"verb": "wait", "options": {"text": "--load"}}, "dash"),
        ({"verb": "eval", "words": ["a\0b"]}, "NUL"),
        ({"verb": "eval", "words": ["\ud800"]}, "no character"),
        ({"verb": "find", "words": ["label", "x", "fill", "--name"]}, "cannot be --name"),
    ],
)
async def test_a_step_when_it_does_not_fit_its_verb_then_is_refused_and_the_channel_goes_on(
    surfed: Machine, step: dict[str, Any], wanted: str
) -> None:
    async with channel(surfed) as steps:
        await send(steps.stream, {"step": {"n": 7, **step}})
        answer = await steps.answer()
        assert answer["error"]["code"] == "usage"
        assert wanted in answer["error"]["message"]
        assert (await steps.do("eval", "1"))["data"]["result"] == "1"


async def test_a_machine_without_the_program_then_says_what_is_missing(surfed: Machine) -> None:
    os.unlink(f"{surfed.root}/apps/browser/bin/agent-browser")
    async with channel(surfed) as steps:
        assert code(await steps.do("url")) == "not_configured"


async def test_a_session_when_nothing_is_done_then_does_not_keep_the_browser_running(surfed: Machine) -> None:
    async with channel(surfed) as steps:
        await steps.do("eval", "1")
        apps = (await surfed.ask({"op": "app.list"})).final["apps"]
        assert apps[0]["clients"] == 0
        await steps.post("eval", "sleep 30", timeout_s=60)
        await until(lambda: len(told(surfed)) == 2)
        apps = (await surfed.ask({"op": "app.list"})).final["apps"]
        assert apps[0]["clients"] == 1


async def test_following_when_things_happen_then_tells_them(
    surfed: Machine,
) -> None:
    event = {"type": "log", "args": [{"value": "hi"}, {"value": None}], "timestamp": 1.7e12}
    async with asyncio.timeout(20), surfed.connect() as stream:
        await send(stream, {"op": "browser.follow", "kind": "console"})
        first = json.loads(await stream.recv())
        while "starting" in first:
            first = json.loads(await stream.recv())
        assert first == {"started": {}}
        await until(lambda: any(one["method"] == "Log.enable" for one in cdp_log(surfed)))
        happen(surfed, "event", "Runtime.consoleAPICalled", json.dumps(event))
        item = json.loads(await stream.recv())["item"]
    assert (item["type"], item["text"], item["tab"], item["url"]) == ("log", "hi null", "TAB1", "http://page/")
    assert item["time"] == "2023-11-14T22:13:20.000Z"
    assert (await surfed.ask({"op": "browser.follow", "kind": "secrets"})).error["code"] == "usage"
