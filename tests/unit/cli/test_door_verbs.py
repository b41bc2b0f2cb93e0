"""open, vnc, code, jupyter, ports and apps: what is asked of the router, what is printed, what is refused."""

from __future__ import annotations

import os
import stat
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.cli import browsing
from cloudrouter.client import relaying
from cloudrouter.wire.errors import NotConfigured, NotFound, UsageError

from .conftest import MACHINE, Cli, FakeTransport

URL = "http://3000--cr-7k2m9xqd.localhost:7080/?cloudrouter-ticket=s3cret"
DOOR = {
    "target": "3000", "url": URL, "lasting_url": "http://3000--cr-7k2m9xqd.localhost:7080/",
    "expires_at": "2026-11-24T12:00:00Z",
}  # fmt: skip
OPEN, CLOSE = ("POST", "/v1/machines/x/open"), ("POST", "/v1/machines/x/close")
PORTS, APPS = ("GET", "/v1/machines/x/ports"), ("GET", "/v1/machines/x/apps")
NODE = {"port": 3000, "addresses": ["::1"], "pid": 7, "process": "node\x1b[1m", "app": None, "url": "http://3000--a/"}
CDP = {"port": 9222, "addresses": ["127.0.0.1"], "pid": 9, "process": "chromium", "app": "browser", "url": None}
DESKTOP: dict[str, Any] = {
    "name": "desktop", "title": "Desktop", "view": "rfb", "state": "running", "reason": "", "since": None,
    "memory_bytes": 100 * 1024**2, "uptime_s": 75.0, "pid": 5, "restarts": 0, "clients": 2, "port": None,
    "requires": [], "url": "http://desktop--cr-7k2m9xqd.localhost:7080/", "kind": "app",
}  # fmt: skip
BROKEN = {
    **DESKTOP, "name": "vscode", "state": "failed", "reason": "It ended with 1; tried again in 4 s.",
    "memory_bytes": None, "uptime_s": None, "clients": 0, "url": None,
}  # fmt: skip


@pytest.fixture
def doors(transport: FakeTransport) -> FakeTransport:
    transport.answers[OPEN] = DOOR
    return transport


def body(transport: FakeTransport) -> Any:
    return [asked[2] for asked in transport.asked if asked[:2] == OPEN][-1]


def test_open_when_a_port_is_named_then_stdout_is_the_address_alone(cli: Cli, doors: FakeTransport) -> None:
    found = cli("open", "x", "3000", "admin?a=1")
    assert (found.code, found.out) == (0, f"{URL}\n")
    assert body(doors) == {"target": "3000", "path": "/admin?a=1", "view_only": False}
    assert "one minute and one use" in found.err
    assert "cloudrouter forward x 3000" in found.err
    assert doors.versions_checked == 1


@pytest.mark.parametrize(
    ("words", "target", "path"),
    [
        (["desktop"], "desktop", "/"),
        ([":8000"], "8000", "/"),
        (["http://localhost:5173/app?x=1"], "5173", "/app?x=1"),
        (["http://127.0.0.1:5173"], "5173", "/"),
    ],
)
def test_open_when_the_target_is_written_in_some_way_then_is_understood(
    cli: Cli, doors: FakeTransport, words: list[str], target: str, path: str
) -> None:
    assert cli("open", "x", *words).code == 0
    assert body(doors) == {"target": target, "path": path, "view_only": False}


@pytest.mark.parametrize(
    "words", [["0"], ["70000"], ["http://example.com/"], ["a--b"], ["3000;ls"], ["http://localhost:1/", "x"]]
)
def test_open_when_the_target_can_be_none_then_nothing_is_asked(
    cli: Cli, doors: FakeTransport, words: list[str]
) -> None:
    assert cli("open", "x", *words).code == 2
    assert doors.asked == []


@pytest.mark.flag("open --json")
def test_open_as_json_then_is_the_door(cli: Cli, doors: FakeTransport) -> None:
    found = cli("open", "x", "3000", "--json")
    assert (found.json, found.err) == (DOOR, "")


@pytest.mark.flag("open --view-only")
@pytest.mark.flag("vnc --view-only")
@pytest.mark.parametrize("words", [["open", "x", "desktop"], ["vnc", "x"]])
def test_desktop_when_only_to_be_seen_then_the_door_says_so(cli: Cli, doors: FakeTransport, words: list[str]) -> None:
    cli(*words)
    assert body(doors) == {"target": "desktop", "path": "/", "view_only": False}
    cli(*words, "--view-only")
    assert body(doors) == {"target": "desktop", "path": "/", "view_only": True}


@pytest.mark.flag("open --open")
@pytest.mark.flag("vnc --open")
@pytest.mark.flag("code --open")
@pytest.mark.flag("jupyter --open")
@pytest.mark.parametrize("words", [["open", "x", "3000"], ["vnc", "x"], ["code", "x"], ["jupyter", "x"]])
def test_address_when_to_be_opened_then_the_browser_gets_it(
    cli: Cli, doors: FakeTransport, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    assert doors
    shown: list[tuple[str, str]] = []
    monkeypatch.setattr(browsing, "show", lambda url, folder, _environ: shown.append((url, folder)))
    found = cli(*words, "--open")
    assert (found.code, found.out) == (0, f"{URL}\n")
    assert shown == [(URL, "/nowhere")]


def test_address_when_no_browser_can_be_opened_then_is_printed_and_the_failure_is_told(
    cli: Cli, doors: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doors
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    found = cli("open", "x", "3000", "--open")
    assert (found.code, found.out) == (1, f"{URL}\n")
    assert "No browser could be opened on this host: this session has no screen." in found.err


def test_browser_when_opened_then_the_ticket_is_in_no_words_of_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    old = folder / "open-old.html"
    old.write_text("")
    os.utime(old, (1, 1))
    (folder / "router.sock").write_text("")
    url = "http://a.localhost:7080/?a=1&cloudrouter-ticket=s3cret"
    browsing.show(url, str(folder), {"DISPLAY": ":0"})
    assert len(opened) == 1
    assert "s3cret" not in opened[0]
    page = Path(opened[0].removeprefix("file://"))
    assert 'url=http://a.localhost:7080/?a=1&amp;cloudrouter-ticket=s3cret"' in page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert sorted(folder.iterdir()) == [page, folder / "router.sock"]


def test_browser_when_it_does_not_start_then_no_page_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _url: False)
    (tmp_path / "run").mkdir()
    with pytest.raises(NotConfigured, match="none was found"):
        browsing.show(URL, str(tmp_path / "run"), {"DISPLAY": ":0"})
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.flag("open --revoke")
def test_open_when_revoked_then_all_is_closed_and_nothing_opened(cli: Cli, transport: FakeTransport) -> None:
    transport.answers[CLOSE] = {"closed": 3}
    assert cli("open", "x", "--revoke").out == "3 closed\n"
    assert cli("open", "x", "--revoke", "--json").json == {"closed": 3}
    transport.answers[CLOSE] = {"closed": 0}
    assert cli("open", "x", "--revoke").out == "nothing was open\n"
    assert {asked[:2] for asked in transport.asked} == {CLOSE}
    assert cli("open", "x", "3000", "--revoke").code == 2
    assert cli("open", "x", "--revoke", "--view-only").code == 2


def test_open_when_one_port_listens_then_it_is_that_one(cli: Cli, doors: FakeTransport) -> None:
    doors.answers[PORTS] = {"ports": [CDP, NODE]}
    assert cli("open", "x").out == f"{URL}\n"
    assert body(doors)["target"] == "3000"


def test_open_when_several_things_could_be_meant_then_lists_them(cli: Cli, doors: FakeTransport) -> None:
    doors.answers[PORTS] = {"ports": [{**NODE, "port": 5173}, NODE]}
    doors.answers[APPS] = {"apps": [DESKTOP, BROKEN]}
    found = cli("open", "x")
    assert (found.code, found.out) == (2, "")
    assert found.err.splitlines()[0].endswith(r"x: 3000 (node\x1b[1m), 5173 (node\x1b[1m), desktop.")
    assert "Next: cloudrouter open x 3000" in found.err
    details = cli("open", "x", "--json").json["error"]["details"]
    assert [one["port"] for one in details["ports"]] == [3000, 5173]
    assert [one["name"] for one in details["apps"]] == ["desktop"]
    doors.answers[PORTS] = {"ports": []}
    assert "No port, but an app can be opened in x: desktop." in cli("open", "x").err


def test_open_when_nothing_is_there_then_says_how_to_have_something(cli: Cli, doors: FakeTransport) -> None:
    doors.answers[PORTS], doors.answers[APPS] = {"ports": []}, {"apps": []}
    found = cli("open", "x")
    assert found.code == 4
    assert "cloudrouter ssh x --bg" in found.err


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "http://a/\x1b[2J", 'http://a/"><script>', "http://a/ b", None, "http://ä/"]
)
def test_open_when_the_address_could_do_harm_then_is_not_printed(cli: Cli, doors: FakeTransport, url: Any) -> None:
    doors.answers[OPEN] = {**DOOR, "url": url}
    found = cli("open", "x", "3000")
    assert (found.code, found.out) == (1, "")


@pytest.mark.flag("vnc --json")
@pytest.mark.flag("code --json")
@pytest.mark.flag("jupyter --json")
@pytest.mark.parametrize(("verb", "app"), [("vnc", "desktop"), ("code", "vscode"), ("jupyter", "jupyter")])
def test_verb_of_an_app_then_opens_that_app(cli: Cli, doors: FakeTransport, verb: str, app: str) -> None:
    assert cli(verb, "x", "--json").json == DOOR
    assert body(doors) == {"target": app, "path": "/", "view_only": False}


def test_verb_of_an_app_when_the_image_has_none_then_says_how_to_get_one(cli: Cli, doors: FakeTransport) -> None:
    doors.answers[OPEN] = NotFound("There is no such app.")
    doors.answers["GET", "/v1/machines/x"] = {**MACHINE, "apps": ["desktop", "browser"]}
    found = cli("code", "x")
    assert found.code == 4
    assert found.err.splitlines() == [
        "cloudrouter: There is no app vscode in my-project: its image is core.",
        "Fix:  Apps in it: desktop, browser.",
        "Next: cloudrouter start --apps vscode DIR",
    ]
    found = cli("open", "x", "notes")
    assert "There is no app notes in my-project." in found.err
    assert "Next: cloudrouter apps x" in found.err
    doors.answers["GET", "/v1/machines/x"] = {**MACHINE, "apps": ["vscode"]}
    assert "There is no such app." in cli("code", "x").err


def test_code_when_a_folder_is_named_then_opens_on_it(
    cli: Cli, doors: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {"src/ü x": "tree", "a.py": "file", "none": None}
    monkeypatch.setattr(relaying, "kind_of", lambda _transport, _machine, path: kinds[path])
    monkeypatch.setattr(relaying, "real_path", lambda _transport, _machine, path: f"/w/{path}" if kinds[path] else None)
    assert cli("code", "x", "src/ü x").code == 0
    assert body(doors)["path"] == "/?folder=/w/src/%C3%BC%20x"
    assert "a.py is a file" in cli("code", "x", "a.py").err
    assert cli("code", "x", "none").code == 4


# -- ports ----------------------------------------------------------------------------------------------------------


@pytest.mark.flag("ports --json")
def test_ports_when_some_listen_then_are_listed_with_addresses(cli: Cli, transport: FakeTransport) -> None:
    transport.answers[PORTS] = {"ports": [CDP, NODE]}
    assert cli("ports", "x").out.splitlines() == [
        "PORT  PROCESS      APP      ADDRESS",
        r"3000  node\x1b[1m  -        http://3000--a/",
        "9222  chromium     browser  -",
    ]
    assert cli("ports", "--json", "x").json == {"ports": [NODE, CDP]}
    transport.answers[PORTS] = {"ports": []}
    assert "cloudrouter ssh x --bg" in cli("ports", "x").err


@pytest.mark.parametrize("answer", [{}, {"ports": [1]}, {"ports": [{"port": True}]}, {"ports": [{"port": 70000}]}, []])
def test_ports_when_the_machine_lies_then_is_a_clear_error(cli: Cli, transport: FakeTransport, answer: Any) -> None:
    transport.answers[PORTS] = answer
    found = cli("ports", "x")
    assert (found.code, found.out) == (1, "")


def test_verb_when_the_guest_is_older_then_says_so(cli: Cli, transport: FakeTransport) -> None:
    transport.answers[PORTS] = UsageError("There is no operation 'ports'.")
    found = cli("ports", "x")
    assert found.code == 2
    assert "is older than this verb" in found.err


# -- apps -----------------------------------------------------------------------------------------------------------


@pytest.mark.flag("apps --json")
def test_apps_when_listed_then_state_and_reason_are_told(cli: Cli, transport: FakeTransport) -> None:
    transport.answers[APPS] = {"apps": [DESKTOP, BROKEN]}
    found = cli("apps", "x")
    assert found.out.splitlines() == [
        "NAME     STATE    MEMORY   UPTIME  CLIENTS  ADDRESS",
        "desktop  running  100 MiB  1m      2        http://desktop--cr-7k2m9xqd.localhost:7080/",
        "vscode   failed   -        -       -        -",
    ]
    assert found.err == "vscode: It ended with 1; tried again in 4 s.\n"
    assert cli("apps", "x", "--json").json == {"apps": [DESKTOP, BROKEN]}
    transport.answers[APPS] = {"apps": []}
    assert "cloudrouter start --apps desktop,vscode" in cli("apps", "x").err


def test_apps_when_a_reason_ends_with_what_the_app_wrote_then_its_lines_stay_lines(
    cli: Cli, transport: FakeTransport
) -> None:
    wrote = {**BROKEN, "reason": "It ended. Its last output: one\ntwo\x1b[2J\nIt is tried again in 4 s."}
    transport.answers[APPS] = {"apps": [wrote]}
    told = ["It ended. Its last output: one", "  two\\x1b[2J", "  It is tried again in 4 s."]
    assert cli("apps", "x").err.splitlines() == [f"vscode: {told[0]}", *told[1:]]
    transport.answers["POST", "/v1/machines/x/apps/vscode/stop"] = wrote
    assert cli("apps", "x", "stop", "vscode").err.splitlines() == told


@pytest.mark.parametrize("action", ["start", "stop"])
def test_apps_when_one_is_started_or_stopped_then_its_state_is_told(
    cli: Cli, transport: FakeTransport, action: str
) -> None:
    transport.answers["POST", f"/v1/machines/x/apps/desktop/{action}"] = DESKTOP
    assert cli("apps", "x", action, "desktop").out == f"desktop  running  {DESKTOP['url']}\n"
    assert cli("apps", "x", action, "desktop", "--json").json == DESKTOP
    assert cli("apps", "x", action).code == 2
    assert cli("apps", "x", action, "../up").code == 2


@pytest.mark.flag("apps --tail")
def test_apps_when_logs_are_wanted_then_the_text_is_printed_safely(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/machines/x/apps/db/logs"] = {"log": "a\nb\x1b[2J\n"}
    transport.answers["GET", "/v1/machines/x/apps/db/logs?tail=1"] = {"log": "b\n"}
    assert cli("apps", "x", "logs", "db").out == "a\nb\\x1b[2J\n"
    assert cli("apps", "x", "logs", "db", "--tail", "1").out == "b\n"
    assert cli("apps", "x", "logs", "db", "--json").json == {"app": "db", "log": "a\nb\x1b[2J\n"}
    assert cli("apps", "x", "--tail", "1").code == 2


@pytest.mark.parametrize("answer", [{}, {"apps": [{"name": "a"}]}, {"apps": "x"}])
def test_apps_when_the_machine_lies_then_is_a_clear_error(cli: Cli, transport: FakeTransport, answer: Any) -> None:
    transport.answers[APPS] = answer
    assert cli("apps", "x").code == 1


def test_status_when_a_machine_has_apps_then_names_them_with_addresses(cli: Cli, transport: FakeTransport) -> None:
    urls = {"desktop": "http://desktop--cr-7k2m9xqd.localhost:7080/"}
    transport.answers["GET", "/v1/machines/x"] = {**MACHINE, "apps": ["desktop", "browser"], "urls": urls}
    found = cli("status", "x")
    assert "apps         desktop, browser\n" in found.out
    assert f"url desktop  {urls['desktop']}\n" in found.out
