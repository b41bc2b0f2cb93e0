"""`cache` and its verbs, and the ways to do without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudrouter.client import commands, launch
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Unreachable

from .conftest import MACHINE, Cli, FakeTransport

STATUS: dict[str, Any] = {
    "folder": "/s/packages",
    "restarts": 0,
    "pid": 7,
    "entries": 22,
    "bytes": 9 * 1024**2,
    "bound_bytes": 10 * 1024**3,
    "dropped": 0,
    "hits": 30,
    "misses": 10,
    "revalidated": 0,
    "stale": 0,
    "passed": 1,
    "artifact_fetches": 10,
    "saved_bytes": 27 * 1024**2,
    "fetched_bytes": 9 * 1024**2,
    "refused_bodies": 0,
}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport) -> list[dict[str, Any]]:
    """The requests of every start."""
    requests: list[dict[str, Any]] = []

    def fake(_transport: Any, _folder: str | None, request: dict[str, Any], **_more: Any) -> dict[str, Any]:
        requests.append(request)
        return {**MACHINE, "upload": None, "commands": [], "jobs": []}

    monkeypatch.setattr(launch, "launch", fake)
    monkeypatch.delenv("CLOUDROUTER_PACKAGE_CACHE", raising=False)
    return requests


@pytest.mark.parametrize("words", [("cache",), ("cache", "status")])
def test_cache_when_asked_then_shows_what_it_saved(cli: Cli, transport: FakeTransport, words: tuple[str, ...]) -> None:
    transport.answers["GET", routes.PACKAGE_CACHE] = STATUS
    found = cli(*words)
    assert found.code == 0
    assert [line.split()[0] for line in found.out.splitlines()] == [
        "kept", "answered", "saved", "carried", "process", "folder",
    ]  # fmt: skip
    assert "22 files, 9 MiB of 10 GiB" in found.out
    assert "30 of 40 requests without a download (75 %)" in found.out
    assert "27 MiB not downloaded again, 9 MiB downloaded" in found.out
    assert "1 request that" in found.out


def test_cache_when_there_was_trouble_then_says_so(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", routes.PACKAGE_CACHE] = {**STATUS, "stale": 2, "refused_bodies": 1, "restarts": 3}
    found = cli("cache")
    assert "2 answers, their registry out of reach" in found.out
    assert "1 download that came broken or altered" in found.out
    assert "begun again 3 times" in found.out


def test_cache_when_nothing_was_asked_yet_then_there_is_no_share(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", routes.PACKAGE_CACHE] = dict.fromkeys(STATUS, 0) | {"folder": "/s"}
    assert "0 of 0 requests without a download\n" in cli("cache").out


@pytest.mark.flag("cache status --json")
def test_cache_status_when_json_then_is_what_the_router_says(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", routes.PACKAGE_CACHE] = STATUS
    assert cli("cache", "status", "--json").json == STATUS
    assert cli("cache", "--json").json == STATUS


@pytest.mark.flag("cache clear --json")
def test_cache_clear_when_done_then_tells_how_much_there_was(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["POST", f"{routes.PACKAGE_CACHE}/clear"] = {"entries": 1, "bytes": 2048}
    assert cli("cache", "clear").out == "1 file forgotten, 2 KiB free\n"
    assert cli("cache", "clear", "--json").json == {"entries": 1, "bytes": 2048}


@pytest.mark.flag("cache verify --json")
def test_cache_verify_when_something_is_damaged_then_status_1(cli: Cli, transport: FakeTransport) -> None:
    answers = transport.answers
    answers["POST", f"{routes.PACKAGE_CACHE}/verify"] = {"checked": 5, "damaged": 0}
    assert cli("cache", "verify")[:2] == (0, "5 files read, all as they came\n")
    answers["POST", f"{routes.PACKAGE_CACHE}/verify"] = {"checked": 5, "damaged": 2}
    found = cli("cache", "verify")
    assert found.code == 1
    assert found.out.startswith("2 files of 5 damaged and forgotten")
    assert cli("cache", "verify", "--json").json == {"checked": 5, "damaged": 2}


def test_cache_when_its_process_is_away_then_three_lines(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", routes.PACKAGE_CACHE] = Unreachable(
        "It was not ready.", fix="Look.", next="cloudrouter doctor"
    )
    found = cli("cache")
    assert (found.code, found.out) == (1, "")
    assert len(found.err.splitlines()) == 3


@pytest.mark.flag("start --no-package-cache")
def test_start_when_no_cache_is_wanted_then_asks_for_none(cli: Cli, launched: list[dict[str, Any]]) -> None:
    cli("start", "--no-package-cache")
    cli("start")
    assert [request.get("package_cache") for request in launched] == [False, None]


@pytest.mark.flag("run --no-package-cache")
def test_run_when_no_cache_is_wanted_then_asks_for_none(
    cli: Cli, launched: list[dict[str, Any]], transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "run", lambda *_words, **_more: {"exit": {"code": 0}})
    transport.answers["DELETE", routes.machine("cr_7k2m9xqd")] = {**MACHINE, "state": "gone"}
    cli("run", "--no-package-cache", ".", "ls")
    cli("run", ".", "ls")
    assert [request.get("package_cache") for request in launched] == [False, None]


@pytest.mark.parametrize(
    ("written", "variable", "wanted"),
    [
        ("package_cache = false", "", False),
        ('package_cache = "off"', "", False),
        ("package_cache = true", "", None),
        ("", "off", False),
        ("package_cache = false", "on", None),
    ],
)
def test_start_when_a_default_is_set_then_it_counts(
    cli: Cli,
    launched: list[dict[str, Any]],
    places: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: str,
    variable: str,
    wanted: object,
) -> None:
    (places / "work" / ".cloudrouter.toml").write_text(written + "\n")
    monkeypatch.setenv("CLOUDROUTER_PACKAGE_CACHE", variable)
    cli("start")
    assert launched[0].get("package_cache") is wanted


def test_the_default_when_it_is_neither_on_nor_off_then_is_refused(
    cli: Cli, launched: list[dict[str, Any]], places: Path
) -> None:
    (places / "work" / ".cloudrouter.toml").write_text('package_cache = "maybe"\n')
    found = cli("start")
    assert found.code == 2
    assert "line 1: package_cache is on or off, not 'maybe'" in found.err
    assert launched == []


def test_status_when_a_machine_has_the_cache_or_not_then_says_so(cli: Cli, transport: FakeTransport) -> None:
    for has, words in ((True, "through this host's cache"), (False, "straight from the registries")):
        transport.answers["GET", routes.machine("cr_7k2m9xqd")] = {**MACHINE, "package_cache": has}
        assert f"packages   {words}\n" in cli("status", "cr_7k2m9xqd").out
