"""cp: its words, what it prints, and stdin and stdout as places."""

from __future__ import annotations

import io
import sys
from typing import Any, BinaryIO

import pytest

from cloudrouter.client import copying
from cloudrouter.client.copying import Place

from .conftest import Cli, FakeTransport

REPORT: dict[str, Any] = {
    "kind": "tree", "target": "lab:new", "files": 1200, "dirs": 1, "links": 0, "bytes": 2048,
    "changed": [], "skipped": [], "git_left_out": False,
}  # fmt: skip


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport) -> list[tuple[Any, ...]]:
    seen: list[tuple[Any, ...]] = []

    def copy(_way: Any, source: Place, target: Place, *, with_git: bool, progress: Any) -> dict[str, Any]:
        progress({"phase": "copying", "files": 1, "bytes": 5, "rate": 5, "done": True})
        seen.append((source.shown, target.shown, with_git))
        return {**REPORT, "path": "p", "git_left_out": not with_git and target.machine is None, "skipped": ["s\x1b"]}

    def copy_in(_way: Any, stream: BinaryIO, target: Place, *, progress: Any) -> dict[str, Any]:
        assert progress
        seen.append((stream.read(), target.shown))
        return {**REPORT, "kind": "file"}

    def copy_out(_way: Any, source: Place, stream: BinaryIO, *, progress: Any) -> dict[str, Any]:
        assert progress
        seen.append((source.shown, "-"))
        stream.write(b"content\x00")
        stream.flush()
        return {**REPORT, "target": "-"}

    assert transport
    for function in (copy, copy_in, copy_out):
        monkeypatch.setattr(copying, function.__name__, function)
    return seen


@pytest.mark.flag("cp --json")
def test_cp_when_done_then_says_what_went_where(cli: Cli, copies: list[tuple[Any, ...]]) -> None:
    found = cli("cp", "a", "lab:new")
    assert (found.code, found.out) == (0, "1,200 files (2 KiB) copied to lab:new\n")
    assert found.err == "not copied, no file or folder: s\\x1b\n"
    assert cli("cp", "a", "lab:new", "--json").json == {**REPORT, "source": "a", "skipped": ["s\x1b"]}
    assert copies == [("a", "lab:new", False), ("a", "lab:new", False)]


@pytest.mark.flag("cp --with-git")
def test_cp_when_git_stays_there_then_says_so_unless_asked_for(cli: Cli, copies: list[tuple[Any, ...]]) -> None:
    assert "Left there: .git" in cli("cp", "lab:a", ".").err
    assert "Left there" not in cli("cp", "lab:a", ".", "--with-git").err
    assert copies == [("lab:a", ".", False), ("lab:a", ".", True)]


def test_cp_when_from_stdin_then_reads_it(
    cli: Cli, copies: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff data")))
    assert cli("cp", "-", "lab:x").out == "1,200 files (2 KiB) copied to lab:new\n"
    assert copies == [(b"\xff data", "lab:x")]


def test_cp_when_to_stdout_then_prints_the_file_and_nothing_else(cli: Cli, copies: list[tuple[Any, ...]]) -> None:
    assert cli("cp", "lab:x", "-") == (0, "content\x00", "")
    assert copies == [("lab:x", "-")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "b"], "Neither place is in a machine."),
        (["-", "-"], "Neither place is in a machine."),
        (["-", "b"], "Neither place is in a machine."),
        (["lab:x", "-", "--json"], "--json and a file on stdout do not go together."),
        (["a", "lab:x", "--with-git"], "--with-git is for folders that come here."),
        (["", "lab:x"], "A path for `cp` is empty."),
        (["lab:x"], "`cp` needs TARGET."),
        (["a", "b", "lab:x"], "`cp` does not take 'lab:x'."),
    ],
)
def test_cp_when_it_cannot_work_then_is_refused_before_anything(
    cli: Cli, copies: list[tuple[Any, ...]], words: list[str], message: str
) -> None:
    found = cli("cp", *words)
    assert (found.code, copies) == (2, [])
    assert found.err.splitlines()[0] == f"cloudrouter: {message}"
    assert found.err.splitlines()[2] == "Next: cloudrouter cp --help"
