"""Files of `browser` verbs: whole or not at all, over nothing that is somebody's, under no name of a machine's."""

from __future__ import annotations

import base64
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.cli.main import run
from cloudrouter.client import transfer
from cloudrouter.wire.errors import TransferFailed

from .browser_router import PNG, STEP, FakeBrowser, answer, browser
from .conftest import Cli

__all__ = ["browser"]


def test_screenshot_when_a_file_is_named_then_it_is_there_and_its_name_printed(cli: Cli, browser: FakeBrowser) -> None:
    found = cli("browser", "screenshot", "x", "page.png")
    assert (found.code, found.out, found.err) == (0, "page.png\n", "18 bytes\n")
    assert (Path("page.png").read_bytes(), os.listdir()) == (PNG, ["page.png"])
    assert (browser.step["words"], browser.fetched) == ([], ["/run/out/1/made"])


def test_screenshot_when_it_came_with_the_answer_then_is_not_fetched(cli: Cli, browser: FakeBrowser) -> None:
    content = base64.b64encode(PNG).decode()
    browser.says(answer(file={"path": "/run/out/1/made", "size": len(PNG), "name": "made", "content": content}))
    said = cli("browser", "screenshot", "x", "page.png", "--json").json
    assert (Path("page.png").read_bytes(), os.listdir(), browser.fetched) == (PNG, ["page.png"], [])
    assert "content" not in said["file"]
    assert browser.step["bring"] is True
    assert base64.b64decode(cli("browser", "screenshot", "x").out) == PNG
    assert cli("browser", "state-save", "x", "state.json").code == 0
    assert Path("state.json").stat().st_mode & 0o777 == 0o600
    assert cli("browser", "screenshot", "x", "/home/user/p.png", "--in-machine").code == 0
    assert "bring" not in browser.steps[-1]


def test_screenshot_when_no_file_is_named_then_is_base64_on_stdout(cli: Cli, browser: FakeBrowser) -> None:
    found = cli("browser", "screenshot", "x")
    assert (base64.b64decode(found.out), os.listdir()) == (PNG, [])
    said = cli("browser", "screenshot", "x", "--json").json
    assert base64.b64decode(said["saved"]["base64"]) == PNG
    assert said["saved"]["bytes"] == len(PNG)


def test_screenshot_when_to_stdout_then_is_the_bytes_alone(
    browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    assert run(["browser", "screenshot", "x", "-"]) == 0
    assert (out.getvalue(), browser.step["words"]) == (PNG, [])


def test_file_when_to_stdout_that_is_taken_or_a_terminal_then_is_refused(
    cli: Cli, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("browser", "pdf", "x", "-", "--json").code == 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert cli("browser", "pdf", "x", "-").code == 2
    assert browser.steps == []


@pytest.mark.parametrize(("verb", "before"), [("screenshot", PNG), ("screenshot", b"\xff\xd8\xff"), ("pdf", b"%PDF-1"),
                                              ("pdf", b"")])  # fmt: skip
def test_picture_when_an_older_one_is_there_then_replaces_it(
    cli: Cli, browser: FakeBrowser, verb: str, before: bytes
) -> None:
    Path("file").write_bytes(before)
    browser.content = b"new"
    assert cli("browser", verb, "x", "file").code == 0
    assert Path("file").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("verb", "words"),
    [("screenshot", []), ("pdf", []), ("state-save", []), ("har-stop", []), ("download", ["@e1"]), ("trace-stop", [])],
)
def test_file_when_something_of_somebody_is_there_then_nothing_is_asked_for(
    cli: Cli, browser: FakeBrowser, verb: str, words: list[str]
) -> None:
    Path("file").write_text("mine")
    found = cli("browser", verb, "x", *words, "file")
    assert (found.code, Path("file").read_text(), browser.steps) == (1, "mine", [])
    assert "file is there already." in found.err


def test_picture_when_a_link_is_there_then_what_it_leads_to_stays(cli: Cli, browser: FakeBrowser) -> None:
    Path("real.png").write_bytes(PNG)
    os.symlink("real.png", "link.png")
    browser.content = b"new"
    assert cli("browser", "screenshot", "x", "link.png").code == 1
    assert cli("browser", "screenshot", "x", "link.png", "--force").code == 0
    assert (Path("real.png").read_bytes(), Path("link.png").read_bytes()) == (PNG, b"new")


@pytest.mark.parametrize(("verb", "ending"), [("pdf", ".pdf"), ("har-stop", ".har"), ("trace-stop", ".json"),
                                              ("profiler-stop", ".json")])  # fmt: skip
def test_file_when_none_is_named_then_is_called_by_machine_and_time(
    cli: Cli, browser: FakeBrowser, verb: str, ending: str
) -> None:
    assert browser
    name = cli("browser", verb, "x").out.strip()
    assert os.listdir() == [name]
    assert name.startswith("my-project-20")
    assert name.endswith(ending)


def test_file_when_the_machine_gives_it_a_name_then_that_is_no_path_here(cli: Cli, browser: FakeBrowser) -> None:
    browser.says(answer("download", file={"path": "/run/x", "size": 3, "name": "../../../etc/passwd\x1b"}))
    assert cli("browser", "download", "x", "@e1", "report.csv").code == 0
    assert os.listdir() == ["report.csv"]


@pytest.mark.parametrize("made", [None, {}, {"path": 5}, {"path": "relative"}, "x"])
def test_file_when_the_machine_does_not_say_where_then_nothing_is_written(
    cli: Cli, browser: FakeBrowser, made: Any
) -> None:
    browser.says(answer("screenshot", file=made))
    found = cli("browser", "screenshot", "x", "page.png")
    assert (found.code, os.listdir()) == (1, [])
    assert "did not tell where its file is" in found.err


def test_file_when_it_does_not_arrive_then_nothing_is_left_and_the_old_one_stays(
    cli: Cli, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(_transport: Any, _machine: str, _remote: str, local: str, **_more: Any) -> Any:
        Path(local).write_bytes(b"half")
        raise TransferFailed("It broke.")

    assert browser
    Path("page.png").write_bytes(PNG)
    monkeypatch.setattr(transfer, "download", download)
    assert cli("browser", "screenshot", "x", "page.png").code == 1
    assert (os.listdir(), Path("page.png").read_bytes()) == (["page.png"], PNG)


@pytest.mark.parametrize(("verb", "words", "mode"), [("state-save", ["s.json"], 0o600), ("har-stop", ["s.har"], 0o600),
                                                     ("screenshot", ["s.png"], 0o644)])  # fmt: skip
def test_file_when_it_holds_cookies_then_is_for_its_owner_alone(
    cli: Cli, browser: FakeBrowser, verb: str, words: list[str], mode: int
) -> None:
    assert browser
    before = os.umask(0o022)
    try:
        assert cli("browser", verb, "x", *words).code == 0
    finally:
        os.umask(before)
    assert Path(words[0]).stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {"format": "jpeg"}), ("a.JPEG", {"format": "jpeg"}),
                                               ("a.png", {})])  # fmt: skip
def test_screenshot_when_called_jpg_then_is_a_jpeg(
    cli: Cli, browser: FakeBrowser, name: str, options: dict[str, str]
) -> None:
    assert cli("browser", "screenshot", "x", name).code == 0
    assert browser.step["options"] == options


def test_folder_when_there_is_none_then_is_said_before_the_step(cli: Cli, browser: FakeBrowser) -> None:
    found = cli("browser", "screenshot", "x", "no/such/page.png")
    assert (found.code, browser.steps) == (1, [])
    assert "There is no folder no/such." in found.err


# -- to the machine -------------------------------------------------------------------------------------------------


def test_upload_when_files_are_named_then_are_sent_first_each_to_a_place_of_its_own(
    cli: Cli, browser: FakeBrowser
) -> None:
    Path("a b.txt").write_bytes(b"one")
    os.mkdir("sub")
    Path("sub/ü.txt").write_bytes(b"two")
    assert cli("browser", "upload", "x", "@e7", "a b.txt", "sub/ü.txt").out == "done\n"
    selector, first, second = browser.step["words"]
    assert (selector, browser.sent) == ("@e7", {first: b"one", second: b"two"})
    assert first.startswith("/run/cloudrouter/browser/in/")
    assert (os.path.basename(first), os.path.basename(second)) == ("a b.txt", "ü.txt")
    assert os.path.dirname(first) != os.path.dirname(second)


@pytest.mark.parametrize(("path", "message"), [("missing", "There is no file missing here."), (".", ". is a folder."),
                                               ("a\nb", "The name a\\nb cannot be sent")])  # fmt: skip
def test_upload_when_one_is_no_file_then_nothing_is_sent(
    cli: Cli, browser: FakeBrowser, path: str, message: str
) -> None:
    Path("fine").write_bytes(b"one")
    found = cli("browser", "upload", "x", "@e7", "fine", path)
    assert found.code in (2, 4)
    assert (browser.sent, browser.steps) == ({}, [])
    assert message in found.err


def test_state_load_when_done_then_the_file_was_sent(cli: Cli, browser: FakeBrowser) -> None:
    Path("state.json").write_bytes(b"{}")
    assert cli("browser", "state-load", "x", "state.json").code == 0
    assert browser.sent == {browser.step["words"][0]: b"{}"}


def test_in_machine_when_no_file_is_named_then_the_machine_chooses_and_tells(cli: Cli, browser: FakeBrowser) -> None:
    found = cli("browser", "screenshot", "x", "--in-machine")
    assert (found.out, browser.step["words"], os.listdir()) == ("/run/out/1/made\n", [], [])
    assert cli("browser", "pdf", "x", "--in-machine", "/tmp/a.pdf").code == 0
    assert browser.steps[-1]["words"] == ["/tmp/a.pdf"]
    assert cli("browser", "pdf", "x", "--in-machine", "~/a.pdf").code == 2


def test_json_when_a_file_came_then_says_where_it_is(cli: Cli, browser: FakeBrowser) -> None:
    said = cli("browser", "screenshot", "x", "page.png", "--json").json
    assert said["saved"] == {"path": "page.png", "bytes": len(PNG)}
    assert said == {**browser.transport.answers[STEP], "saved": said["saved"]}
