"""whoami, login, logout and auth: the truth about a router that is one's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloudrouter import __version__

from .conftest import Cli, FakeTransport

FACTS = {
    "pid": 77, "version": "9.9", "router_id": "e58219d7", "started_at": "2026-07-31T12:00:00.000Z", "machines": 1,
}  # fmt: skip


@pytest.mark.usefixtures("no_router")
@pytest.mark.parametrize("words", [["whoami"], ["auth", "whoami"]])
def test_whoami_when_no_router_runs_then_starts_none_and_says_so(cli: Cli, places: Path, words: list[str]) -> None:
    found = cli(*words, "--json")
    assert found.json["router"] is None
    assert found.json["account"] is None
    assert found.json["uid"] == os.getuid()
    assert found.json["version"] == __version__
    assert found.json["state_dir"] == str(places / "state")
    assert found.json["socket"] == f"{places}/run/router.sock"
    text = cli(*words).out
    assert "account  none needed" in text
    assert "router   not running" in text


@pytest.mark.flag("whoami --json")
def test_whoami_when_a_router_runs_then_shows_which(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/server"] = FACTS
    assert "running, version 9.9, pid 77, id e58219d7" in cli("whoami").out
    assert cli("whoami", "--json").json["router"] == {
        key: FACTS[key] for key in ("pid", "version", "router_id", "started_at")
    }


@pytest.mark.usefixtures("no_router")
@pytest.mark.parametrize("words", [["login"], ["auth", "login"], ["logout"], ["auth", "logout"]])
def test_login_and_logout_when_called_then_say_that_none_is_needed(cli: Cli, words: list[str]) -> None:
    found = cli(*words)
    assert (found.code, found.err) == (0, "")
    assert "No login is needed" in found.out or "Nothing to log out of" in found.out
    assert cli(*words, "--json").json["login_needed"] is False


@pytest.mark.parametrize("words", [["login"], ["logout"], ["whoami"], ["auth", "login"]])
def test_account_verbs_when_a_remote_router_is_asked_for_then_are_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("CLOUDROUTER_URL", "https://router.example")
    found = cli(*words)
    assert (found.code, found.out) == (2, "")
    assert "CLOUDROUTER_URL" in found.err
