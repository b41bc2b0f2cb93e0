"""screenshot and record: what runs in the machine, and that only whole files come here, over nothing that is there."""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.cli import placing
from cloudrouter.cli.verbs import record
from cloudrouter.client import commands, pictures, transfer
from cloudrouter.wire.errors import Conflict, NotFound, TransferFailed

from .conftest import MACHINE, Cli, FakeTransport
from .fake_commands import FakeCommands

START = ("POST", "/v1/machines/x/apps/desktop/start")
FILM = "/tmp/cloudrouter-recording-0123456789ab.mp4"
RECORDING = {"id": "job_4tq8w2", "state": "running", "command": f"{pictures.RECORD} {FILM}", "started_at": None}


def png(width: int = 1280, height: int = 800) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"x")) + chunk(b"IEND", b"")


@pytest.fixture
def desktop(transport: FakeTransport, machine: FakeCommands) -> FakeCommands:
    transport.answers[START] = {"name": "desktop", "state": "running"}
    transport.answers["GET", "/v1/machines/x"] = MACHINE
    machine.output = [(1, png())]
    return machine


def test_screenshot_when_taken_then_the_file_is_whole_and_its_name_is_printed(
    cli: Cli, desktop: FakeCommands, transport: FakeTransport
) -> None:
    found = cli("screenshot", "x", "out.png")
    assert (found.code, found.out) == (0, "out.png\n")
    assert Path("out.png").read_bytes() == png()
    assert os.listdir() == ["out.png"]
    assert desktop.requests == [{"op": "exec", "argv": ["/opt/cloudrouter/apps/desktop/screenshot"]}]
    assert [asked[:2] for asked in transport.asked] == [START]


def test_screenshot_when_no_file_is_named_then_is_called_by_machine_and_time(cli: Cli, desktop: FakeCommands) -> None:
    assert desktop
    name = cli("screenshot", "x").out.strip()
    assert name.startswith("my-project-20")
    assert name.endswith(".png")
    assert os.listdir() == [name]


@pytest.mark.flag("screenshot --force")
def test_screenshot_when_something_is_there_then_only_force_replaces_it(cli: Cli, desktop: FakeCommands) -> None:
    Path("out.png").write_text("mine")
    found = cli("screenshot", "x", "out.png")
    assert (found.code, Path("out.png").read_text()) == (1, "mine")
    assert desktop.requests == []
    assert cli("screenshot", "x", "out.png", "--force").code == 0
    assert Path("out.png").read_bytes() == png()
    Path("folder").mkdir()
    assert cli("screenshot", "x", "folder", "--force").code == 1
    assert cli("screenshot", "x", "none/out.png").code == 1


@pytest.mark.flag("screenshot --json")
def test_screenshot_as_json_then_has_the_size(cli: Cli, desktop: FakeCommands) -> None:
    assert desktop
    assert cli("screenshot", "x", "out.png", "--json").json == {
        "path": "out.png", "bytes": len(png()), "width": 1280, "height": 800,
    }  # fmt: skip


def test_screenshot_when_for_stdout_then_is_the_bytes_alone(
    cli: Cli, desktop: FakeCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desktop
    reads, writes = os.pipe()
    with os.fdopen(writes, "w") as out, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert cli("screenshot", "x", "-").code == 0
        assert cli("screenshot", "x", "-", "--json").code == 2
    with os.fdopen(reads, "rb") as written:
        assert written.read().startswith(png())
    assert os.listdir() == []


@pytest.mark.parametrize(
    "data", [b"", b"<html>", png()[:-1], png()[:40], b"\x89PNG\r\n\x1a\n" + png()[-12:], png(0, 5), png(1 << 20, 5)]
)
def test_screenshot_when_what_comes_is_no_whole_picture_then_nothing_is_written(
    cli: Cli, desktop: FakeCommands, data: bytes
) -> None:
    desktop.output = [(1, data)] if data else []
    assert cli("screenshot", "x", "out.png").code == 1
    assert os.listdir() == []


@given(st.binary(max_size=200))
def test_picture_when_it_is_anything_then_is_judged_without_harm(data: bytes) -> None:
    with pytest.raises(TransferFailed):
        pictures.check_png(data)


def test_screenshot_when_it_fails_then_the_reason_and_the_log_are_named(cli: Cli, desktop: FakeCommands) -> None:
    desktop.output, desktop.end["code"] = [(2, b"scrot: no display\x1b\n")], 1
    found = cli("screenshot", "x", "out.png")
    assert found.code == 1
    assert r"no display\x1b" in found.err
    assert "cloudrouter apps x logs desktop" in found.err


def test_screenshot_when_the_machine_floods_us_then_is_ended(
    cli: Cli, desktop: FakeCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "PICTURE_LIMIT", 10)
    desktop.output = [(1, png())]
    assert "larger than any can be" in cli("screenshot", "x", "out.png").err


def test_screenshot_when_there_is_no_desktop_then_says_how_to_get_one(
    cli: Cli, desktop: FakeCommands, transport: FakeTransport
) -> None:
    assert desktop
    transport.answers[START] = NotFound("There is no app desktop.")
    found = cli("screenshot", "x", "out.png")
    assert found.code == 4
    assert "cloudrouter start --apps desktop DIR" in found.err


def test_file_when_it_comes_while_ours_is_written_then_stays(tmp_path: Path) -> None:
    (tmp_path / "ours").write_text("ours")
    (tmp_path / "taken").write_text("theirs")
    with pytest.raises(Conflict):
        placing.put(str(tmp_path / "ours"), str(tmp_path / "taken"), force=False)
    assert (tmp_path / "taken").read_text() == "theirs"


# -- record ---------------------------------------------------------------------------------------------------------


class FakeMachine:
    """A machine with jobs and files, in the place of client.commands and client.transfer."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.requests: list[dict[str, Any]] = []
        self.ends = True

    def ask(self, _stream: str, request: dict[str, Any], timeout: float | None = 30.0) -> Any:
        assert timeout
        self.requests.append(request)
        if request["op"] == "job.list":
            return {"jobs": self.jobs}
        if request["op"] == "job.start":
            self.jobs.append({**RECORDING, "command": " ".join(request["argv"])})
            self.files[request["argv"][1]] = b"begun"
            return {"job": self.jobs[-1]}
        job = next(job for job in self.jobs if job["id"] == request["job"])
        if request["op"] == "job.wait" and self.ends:
            job.update(state="exited", code=0)
            self.files[job["command"].split()[1]] = b"a whole film"
        return {"job": {**job, "signalled": 1}}

    def run(self, _stream: str, request: dict[str, Any], *, on_stdout: Any, **_more: Any) -> Any:
        self.requests.append(request)
        program, path = request["argv"][0], request["argv"][-1]
        if program == "rm":
            self.files.pop(path, None)
        elif path in self.files:
            on_stdout(memoryview(b"%d\n" % len(self.files[path])))
        return {"code": 0, "duration_ms": 1}

    def download(self, _transport: Any, _machine: str, remote: str, local: str, **more: Any) -> Any:
        assert more["kind"] == "file"
        if remote not in self.files:
            raise NotFound("There is no file.")
        Path(local).write_bytes(self.files[remote])
        return {"bytes": len(self.files[remote])}


@pytest.fixture
def studio(transport: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    transport.answers[START] = {"name": "desktop", "state": "running"}
    transport.answers["GET", "/v1/machines/x"] = MACHINE
    fake = FakeMachine()
    monkeypatch.setattr(commands, "ask", fake.ask)
    monkeypatch.setattr(commands, "run", fake.run)
    monkeypatch.setattr(transfer, "download", fake.download)
    return fake


def test_record_when_started_and_stopped_then_the_film_is_here_and_not_there(cli: Cli, studio: FakeMachine) -> None:
    assert cli("record", "x", "start").out == "job_4tq8w2\n"
    command = studio.jobs[0]["command"]
    assert command.startswith(f"{pictures.RECORD} /tmp/cloudrouter-recording-")
    found = cli("record", "x", "stop", "out.mp4")
    assert (found.code, found.out) == (0, "out.mp4\n")
    assert Path("out.mp4").read_bytes() == b"a whole film"
    assert os.listdir() == ["out.mp4"]
    assert {"op": "job.kill", "job": "job_4tq8w2", "signal": "INT"} in studio.requests
    assert studio.files == {}
    assert cli("record", "x", "stop").code == 4


def test_record_when_it_runs_already_then_is_told(cli: Cli, studio: FakeMachine) -> None:
    studio.jobs = [RECORDING.copy()]
    found = cli("record", "x", "start")
    assert found.code == 1
    assert "is being recorded already (job_4tq8w2)" in found.err
    assert len(studio.jobs) == 1


@pytest.mark.flag("record --json")
def test_record_as_json_then_tells_how_it_is(cli: Cli, studio: FakeMachine) -> None:
    assert cli("record", "x", "status", "--json").json == {
        "recording": False, "job": None, "started_at": None, "path": None, "bytes": None,
    }  # fmt: skip
    assert cli("record", "x", "status").out == "not recording\n"
    path = cli("record", "x", "start", "--json").json["path"]
    assert cli("record", "x", "status", "--json").json == {
        "recording": True, "job": "job_4tq8w2", "started_at": None, "path": path, "bytes": 5,
    }  # fmt: skip
    assert cli("record", "x", "status").out == "recording  -  5 B  job_4tq8w2\n"
    assert cli("record", "x", "stop", "o.mp4", "--json").json == {"path": "o.mp4", "bytes": 12, "job": "job_4tq8w2"}


@pytest.mark.flag("record --force")
def test_record_when_something_is_there_then_only_force_replaces_it(cli: Cli, studio: FakeMachine) -> None:
    studio.jobs, studio.files = [RECORDING.copy()], {FILM: b"begun"}
    Path("out.mp4").write_text("mine")
    assert cli("record", "x", "stop", "out.mp4").code == 1
    assert (Path("out.mp4").read_text(), studio.jobs[0]["state"]) == ("mine", "running")
    assert cli("record", "x", "stop", "out.mp4", "--force").code == 0
    assert Path("out.mp4").read_bytes() == b"a whole film"
    assert cli("record", "x", "start", "--force").code == 2
    assert cli("record", "x", "start", "out.mp4").code == 2


def test_record_when_it_ended_by_itself_then_the_film_is_fetched_still(cli: Cli, studio: FakeMachine) -> None:
    studio.jobs = [{**RECORDING, "state": "exited", "code": 1}]
    assert cli("record", "x", "status").out == "not recording\n"
    studio.files = {FILM: b"what there is"}
    assert cli("record", "x", "status").out.startswith("ended by itself, not fetched yet")
    assert cli("record", "x", "stop", "out.mp4").code == 0
    assert Path("out.mp4").read_bytes() == b"what there is"


def test_record_when_the_recorder_does_not_end_then_nothing_is_fetched(cli: Cli, studio: FakeMachine) -> None:
    studio.jobs, studio.files, studio.ends = [RECORDING.copy()], {FILM: b"begun"}, False
    found = cli("record", "x", "stop", "out.mp4")
    assert found.code == 124
    assert "cloudrouter logs x job_4tq8w2" in found.err
    assert (os.listdir(), studio.files) == ([], {FILM: b"begun"})


def test_record_when_the_film_is_empty_then_it_stays_where_it_is(cli: Cli, studio: FakeMachine) -> None:
    studio.jobs = [{**RECORDING, "state": "exited", "code": 0}]
    studio.files = {FILM: b""}
    assert cli("record", "x", "stop", "out.mp4").code == 1
    assert (os.listdir(), studio.files) == ([], {FILM: b""})


@pytest.mark.parametrize(
    "command",
    ["make", f"{pictures.RECORD} /etc/passwd", f"{pictures.RECORD} /tmp/cloudrouter-recording-../../x.mp4", ""],
)
def test_job_when_it_is_no_recording_of_ours_then_is_left_alone(command: str) -> None:
    assert record._path({"command": command}) == ""
