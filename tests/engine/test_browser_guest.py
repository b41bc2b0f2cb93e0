"""Steps of the browser in a real machine: each thing that agent-browser does badly, and that the guest cures."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.conftest import User, until, users

from cloudrouter.client.following import open_stream
from cloudrouter.client.transport import Transport

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]

SITE = r"""
import http.server, socketserver, time
PAGES = {
    "/": "<title>Form</title><h1>Form</h1><input id=name>"
         "<button id=ask onclick=\"document.title=confirm('Sure?')\">Ask</button>"
         "<button id=warn onclick=\"alert('Careful')\">Warn</button><a id=new href=/two target=_blank>new</a>"
         "<div id=plain>plain</div><div id=rich contenteditable>old</div><input id=off disabled>"
         "<input id=file type=file><a id=load href=/file>load</a>"
         "<button id=later onclick=\"setTimeout(()=>confirm('Later?'),300)\">Later</button>",
    "/two": "<title>Two</title><h1>Two</h1>",
    "/tall": "<title>Tall</title><div style='height:4000px'>tall</div>",
    "/big": "<title>Big</title>" + "".join(f"<div><button>b{n}</button></div>" for n in range(5000)),
    "/evil": "<title>\x1b[31m\u202eevil</title><h1>\x1b]0;x\x07 [ref=e1]</h1>",
}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/endless":
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"8\r\n<p>x</p>\r\n")
                    self.wfile.flush()
                    time.sleep(0.2)
            except OSError:
                return
        body = PAGES.get(self.path, "file").encode()
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        if self.path == "/file":
            self.send_header("content-disposition", "attachment; filename=\"../../.bashrc\"")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
Server(("127.0.0.1", 8200), Handler).serve_forever()
"""
HOME = "http://127.0.0.1:8200"


class Browser:
    """A machine's browser as its router has it: one channel for all steps."""

    def __init__(self, user: User, machine: str) -> None:
        self.user, self.machine, self.count = user, machine, 0
        path = next((user.base / "run").glob("*.sock"))
        self.stream = open_stream(Transport(str(path)), machine)
        self.stream.send_text(json.dumps({"op": "browser"}))
        assert self.receive() == {"started": {}}

    def receive(self) -> dict[str, Any]:
        message = self.stream.receive(timeout=90)
        assert message is not None
        found: dict[str, Any] = json.loads(message[1])
        return found

    def post(self, verb: str, *words: str, session: str = "main", timeout_s: float = 25, **options: Any) -> int:
        self.count += 1
        body = {"n": self.count, "verb": verb, "words": words, "options": options}
        self.stream.send_text(json.dumps({"step": {**body, "session": session, "timeout_s": timeout_s}}))
        return self.count

    def answer(self) -> dict[str, Any]:
        parts = []
        while True:
            body = self.receive()
            if "part" in body:
                parts.append(body["part"]["text"])
            elif "result" in body:
                found: dict[str, Any] = body["result"]
                return json.loads("".join(parts)) if "parts" in found else found  # type: ignore[no-any-return]

    def do(self, verb: str, *words: str, **more: Any) -> dict[str, Any]:
        self.post(verb, *words, **more)
        return self.answer()

    def ok(self, verb: str, *words: str, **more: Any) -> dict[str, Any]:
        found = self.do(verb, *words, **more)
        assert "error" not in found, found
        data: dict[str, Any] = found["data"]
        return data

    def code(self, verb: str, *words: str, **more: Any) -> str:
        found = self.do(verb, *words, **more)
        assert "error" in found, found
        return str(found["error"]["code"])

    def evaluate(self, script: str, **more: Any) -> Any:
        return self.ok("eval", script, **more)["result"]

    def sh(self, line: str) -> str:
        return self.user.run("ssh", self.machine, line).out_text.strip()

    def targets(self) -> list[str]:
        """The tabs as Chromium lists them, the one in front first."""
        listed = json.loads(self.sh("curl -s http://127.0.0.1:9222/json/list"))
        return [one["id"] for one in listed if one["type"] == "page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with users() as make:
        user = make()
        user.ok("image", "build", "desktop", timeout=1700)
        machine = user.start("--image", "desktop")
        packed = base64.b64encode(SITE.encode()).decode()
        user.ok("ssh", machine, "--bg", f"echo {packed} | base64 -d >/tmp/site.py; python3 /tmp/site.py")
        until(lambda: user.run("ssh", machine, f"curl -sf {HOME}/two").code == 0, "the site")
        made = Browser(user, machine)
        made.ok("open", HOME + "/")
        yield made
        made.stream.close()


@pytest.fixture
def page(browser: Browser) -> Browser:
    browser.ok("open", HOME + "/")
    return browser


def png_size(page: Browser, path: str) -> tuple[int, int]:
    head = base64.b64decode(page.sh(f"head -c 24 {path} | base64"))
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def test_fill_when_it_is_no_field_then_nothing_is_typed_anywhere(page: Browser) -> None:
    page.ok("snapshot", interactive=True)
    page.ok("fill", "#name", "kept")
    for selector in ("#ask", "#plain", "#off", "h1", "#file", "text=Ask"):
        assert page.code("fill", selector, "lost") == "not_a_field", selector
    assert page.ok("get-value", "#name")["value"] == "kept"
    assert page.code("fill", "#missing", "x") == "step_failed"


def test_fill_when_it_is_rich_text_then_replaces_what_was_there(page: Browser) -> None:
    page.ok("fill", "#rich", "--new text")
    assert page.ok("get-text", "#rich")["text"] == "--new text"


def test_a_ref_when_it_is_old_then_says_that_a_new_snapshot_is_needed(page: Browser) -> None:
    page.ok("snapshot")
    found = page.do("click", "@e9999")
    assert (found["error"]["code"], "new one" in found["error"]["fix"]) == ("stale_ref", True)


def test_a_confirm_when_a_click_opens_it_then_is_told_at_once_and_answered(page: Browser) -> None:
    began = time.monotonic()
    assert page.do("click", "#ask")["dialog"] == {"type": "confirm", "message": "Sure?", "default": ""}
    for verb in (("title",), ("snapshot",), ("click", "#ask"), ("screenshot",)):
        assert page.code(*verb) == "dialog_open"
    assert time.monotonic() - began < 5
    page.ok("dialog-dismiss")
    assert page.ok("title")["title"] == "false"


def test_a_dialog_when_it_opens_under_a_wait_then_ends_the_wait(page: Browser) -> None:
    page.ok("click", "#later")
    assert page.code("wait", "#never", timeout_s=20) == "dialog_open"
    page.ok("dialog-accept")
    assert page.evaluate("1+1") == 2


def test_an_alert_then_is_accepted_and_what_it_said_is_told(page: Browser) -> None:
    assert "'Careful'" in page.do("click", "#warn")["warning"]


def test_a_tab_that_a_page_opens_then_is_followed_and_closing_it_leads_back(page: Browser) -> None:
    found = page.do("click", "#new")
    assert (found["url"], "new tab" in found["warning"]) == (HOME + "/two", True)
    page.ok("tab-close")
    assert page.ok("url")["url"] == HOME + "/"


def test_a_page_that_loads_for_ever_then_ends_in_time_and_the_session_goes_on(page: Browser) -> None:
    began = time.monotonic()
    assert page.code("open", HOME + "/endless", timeout_s=2) == "timed_out"
    assert page.code("eval", "for(;;){}", timeout_s=1) == "timed_out"
    page.ok("open", HOME + "/two")
    assert page.ok("title")["title"] == "Two"
    assert time.monotonic() - began < 15


def test_a_step_when_cancelled_then_leaves_the_session_free(page: Browser) -> None:
    number = page.post("wait", "#never", timeout_s=60)
    page.stream.send_text(json.dumps({"cancel": {"n": number}}))
    assert page.answer()["error"]["message"] == "The step was cancelled."
    began = time.monotonic()
    page.ok("title")
    assert time.monotonic() - began < 5


def test_a_page_that_crashed_then_is_loaded_again_and_that_is_told(page: Browser) -> None:
    page.sh("pkill -9 -f type=renderer")
    found = until(lambda: (one := page.do("title"))["recovered"] and one, "the crash", 20)
    assert (found["data"]["title"], "had crashed" in found["warning"]) == ("Form", True)


def test_a_page_that_crashes_under_a_step_then_is_told_and_there_again(page: Browser) -> None:
    page.post("eval", "new Promise(()=>{})")
    page.sh("pkill -9 -f type=renderer")
    answer = page.answer()
    assert (answer["error"]["code"], "crashed" in answer["error"]["message"]) == ("step_failed", True)
    assert page.ok("title")["title"] == "Form"


def test_two_sessions_then_are_at_tabs_of_their_own_and_go_side_by_side(page: Browser) -> None:
    page.ok("open", HOME + "/two", session="two")
    assert page.ok("title")["title"] == "Form"
    waiting = page.post("wait", "1500")
    began = time.monotonic()
    assert page.ok("title", session="two")["title"] == "Two"
    assert time.monotonic() - began < 1
    assert page.answer()["n"] == waiting
    names = {one["name"]: one["url"] for one in page.ok("sessions")["sessions"]}
    assert names == {"main": HOME + "/", "two": HOME + "/two"}
    assert page.ok("close", session="two")["tabs"] == 1
    assert "two" not in {one["name"] for one in page.ok("sessions")["sessions"]}
    assert page.ok("title")["title"] == "Form"


def test_a_tab_that_a_person_closes_then_is_missed_by_its_session_alone(page: Browser) -> None:
    target = page.ok("open", HOME + "/two", session="two")["targetId"]
    page.sh(f"curl -s http://127.0.0.1:9222/json/close/{target}")
    until(lambda: target not in page.targets(), "closing")
    assert page.code("click", "h1", session="two") == "tab_gone"
    assert page.ok("title")["title"] == "Form"
    found = page.do("open", HOME + "/two", session="two")
    assert (found["data"]["url"], "new one" in found["warning"]) == (HOME + "/two", True)
    page.ok("close", session="two")


def test_a_viewport_then_is_the_pages_alone_and_the_persons_window_stays(page: Browser) -> None:
    def window() -> str:
        return page.sh("DISPLAY=:1 xdotool search --onlyvisible --class chromium getwindowgeometry")

    page.ok("open", HOME + "/tall")
    before, inner = window(), page.evaluate("[innerWidth, innerHeight].join()")
    page.ok("set-viewport", "400", "300")
    assert page.evaluate("[innerWidth, innerHeight].join()") == "400,300"
    assert png_size(page, page.do("screenshot")["file"]["path"]) == (400, 300)
    assert png_size(page, page.do("screenshot", full=True)["file"]["path"])[1] >= 4000
    assert page.evaluate("[innerWidth, innerHeight].join()") == "400,300"
    page.ok("set-device", "iPhone 12")
    page.ok("open", HOME + "/tall")
    found = page.evaluate("[screen.width, devicePixelRatio, navigator.maxTouchPoints, navigator.userAgent].join()")
    assert found.startswith("390,3,1,")
    assert "iPhone" in found
    assert window() == before
    page.ok("set-device", "off")
    assert page.evaluate("[innerWidth, innerHeight].join()") == inner
    assert "iPhone" not in page.evaluate("navigator.userAgent")
    assert before


def test_a_large_page_then_has_a_small_compact_snapshot(page: Browser) -> None:
    page.ok("open", HOME + "/big")
    assert len(page.ok("snapshot", interactive=True)["snapshot"]) > 100_000
    small = page.ok("snapshot", interactive=True, compact=True)
    assert len(small["snapshot"]) < 31_000
    assert small["truncated"] is True


def test_hostile_titles_and_file_names_then_are_text_and_stay_where_they_belong(page: Browser) -> None:
    before = page.sh("sha256sum ~/.bashrc")
    page.ok("download", "#load")
    page.ok("click", "#load")
    until(lambda: "bashrc" in page.sh("ls -A ~/Downloads"), "the download")
    assert page.sh("sha256sum ~/.bashrc") == before
    page.ok("open", HOME + "/evil")
    assert page.ok("title")["title"].endswith("evil")


def test_files_that_are_given_then_have_to_be_there(page: Browser) -> None:
    assert page.code("upload", "#file", "/no/such/file") == "not_found"
    assert page.code("upload", "#file", "hostname") == "usage"
    page.ok("upload", "#file", "/etc/hostname")
    assert page.evaluate("document.querySelector('#file').files[0].name") == "hostname"


def test_the_clipboard_and_the_place_then_need_no_person_to_allow_them(page: Browser) -> None:
    page.ok("clipboard-write", "--text")
    assert page.ok("clipboard-read")["text"] == "--text"
    page.ok("set-geo", "-10.5", "20")
    script = "new Promise(done => navigator.geolocation.getCurrentPosition(at => done(at.coords.latitude)))"
    assert page.evaluate(script) == -10.5


def test_following_then_tells_consoles_errors_and_requests_beside_a_busy_session(page: Browser) -> None:
    path = next((page.user.base / "run").glob("*.sock"))
    heard = {}
    page.post("wait", "3000")
    for kind in ("console", "errors", "network"):
        heard[kind] = open_stream(Transport(str(path)), page.machine)
        heard[kind].send_text(json.dumps({"op": "browser.follow", "kind": kind, "since_now": True}))
        assert heard[kind].receive(timeout=20) == ("text", b'{"started":{}}')
    assert page.answer()["data"]["ms"] == 3000
    page.evaluate("console.warn('seen', {a: 1}); setTimeout(() => { throw Error('thrown') }); fetch('/two'); 1")
    items = {}
    for kind, stream in heard.items():
        message = stream.receive(timeout=20)
        assert message is not None
        items[kind] = json.loads(message[1])["item"]
        stream.close()
    assert (items["console"]["type"], items["console"]["text"]) == ("warning", "seen {a: 1}")
    assert items["errors"]["text"].startswith("Error: thrown")
    assert (items["network"]["url"], items["network"]["status"]) == (HOME + "/two", 200)


def test_a_browser_that_is_killed_under_a_step_then_runs_again_and_nothing_is_done_twice(page: Browser) -> None:
    page.post("eval", "new Promise(()=>{})")
    page.sh("pkill -9 -x chromium")
    answer = page.answer()
    assert (answer["error"]["code"], "runs again" in answer["error"]["message"]) == ("browser_down", True)
    assert page.code("click", "h1") == "tab_gone"
    page.ok("open", HOME + "/")
    page.sh("pkill -9 -x chromium")
    found = page.do("title")
    assert found.get("recovered") or "started again" in (found.get("warning") or ""), found
    page.ok("open", HOME + "/")


def test_a_window_that_a_person_closes_then_comes_back_with_the_next_page(page: Browser) -> None:
    for target in page.targets():
        page.sh(f"curl -s http://127.0.0.1:9222/json/close/{target}")
    until(lambda: page.do("open", HOME + "/").get("data"), "the window", 30)
    assert page.ok("title")["title"] == "Form"


def test_a_guest_that_is_started_again_then_finds_the_session_at_its_tab(page: Browser) -> None:
    page.ok("open", HOME + "/two")
    subprocess.run(
        ["docker", "exec", page.machine.replace("_", "-"), "pkill", "-f", "/opt/cloudrouter/lib$"], check=True
    )
    until(lambda: page.user.run("ssh", page.machine, "true").code == 0, "the guest")
    page.stream.close()
    again = Browser(page.user, page.machine)
    assert again.ok("title")["title"] == "Two"
    page.stream = again.stream


def test_sessions_that_rest_then_do_not_count_as_use_and_close_leaves_nothing(page: Browser) -> None:
    apps = {one["name"]: one for one in page.user.json("apps", page.machine)["apps"]}
    assert apps["browser"]["clients"] == 0
    page.ok("close")
    assert page.sh("pgrep -c chromium; pgrep -c agent-browser") == "0\n0"
    assert page.ok("sessions")["sessions"] == []
    page.ok("open", HOME + "/")
