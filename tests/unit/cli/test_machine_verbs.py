"""The verbs about machines as a whole: ls, status, extend, stop, resume, delete."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.wire.errors import NotFound, NotRunning

from .conftest import MACHINE, Cli, FakeTransport


def ago(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - seconds))


def test_ls_when_there_are_machines_then_prints_a_table(cli: Cli, transport: FakeTransport) -> None:
    machines = [
        {**MACHINE, "created_at": ago(200), "expires_at": ago(-7290)},
        {**MACHINE, "id": "cr_4hq2wn8t", "name": "", "state": "stopped", "size": "custom", "created_at": ago(7300)},
    ]
    transport.answers["GET", "/v1/machines"] = {"machines": machines, "errors": []}
    found = cli("ls")
    assert found.err == ""
    assert found.out.splitlines() == [
        "ID           NAME        STATE    AGE    LEFT   SIZE          IMAGE",
        "cr_7k2m9xqd  my-project  running  3m     2h 1m  small         core",
        "cr_4hq2wn8t  -           stopped  2h 1m  -      2 cpu, 8 GiB  core",
    ]


def test_ls_when_there_are_none_then_stdout_is_empty_and_a_hint_is_given(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/machines"] = {"machines": [], "errors": []}
    found = cli("ls")
    assert (found.code, found.out) == (0, "")
    assert "cloudrouter start ./my-project" in found.err


def test_ls_when_all_and_json_are_wanted_then_asks_for_all_and_prints_the_answer(
    cli: Cli, transport: FakeTransport
) -> None:
    answer = {"machines": [MACHINE], "errors": []}
    transport.answers["GET", "/v1/machines?all=true"] = answer
    assert cli("ls", "-a", "--json").json == answer
    assert cli("list", "--all", "--json").json == answer


def test_ls_when_a_name_is_hostile_then_is_escaped(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/machines"] = {"machines": [{**MACHINE, "name": "x\x1b[2J", "image": "a\nb"}]}
    found = cli("ls")
    assert "\x1b" not in found.out
    assert len(found.out.splitlines()) == 2


def test_status_when_printed_then_says_what_a_person_wants_to_know(cli: Cli, transport: FakeTransport) -> None:
    machine = {**MACHINE, "created_at": ago(200), "urls": {"web": "http://x"}, "labels": {"a": "b\x1b"}}
    transport.answers["GET", "/v1/machines/my-project"] = machine
    found = cli("status", "my-project")
    lines = found.out.splitlines()
    assert lines[0] == "cr_7k2m9xqd  my-project  running"
    assert "  size       small (2 cpu, 8 GiB)" in lines
    assert "  boot       0.31 s" in lines
    assert "  deadline   none" in lines
    assert "  url web    http://x" in lines
    assert "  label      a=b\\x1b" in lines
    assert not any(line.startswith("  reason") for line in lines)


def test_status_when_a_background_start_failed_then_says_why(cli: Cli, transport: FakeTransport, places: Path) -> None:
    logs = places / "state" / "logs"
    logs.mkdir(parents=True)
    error = NotFound("The image broke.").to_json()
    (logs / "start-cr_7k2m9xqd.log").write_text(f"cr_7k2m9xqd boots\nfailed: {json.dumps(error)}\n")
    transport.answers["GET", "/v1/machines/cr_7k2m9xqd"] = {**MACHINE, "state": "gone"}
    assert "  reason     The image broke." in cli("status", "cr_7k2m9xqd").out
    assert cli("status", "cr_7k2m9xqd", "--json").json["reason"] == "The image broke."


def test_extend_when_no_time_is_given_then_is_an_hour(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["POST", "/v1/machines/cr_7k2m9xqd/extend"] = {**MACHINE, "expires_at": ago(-3600)}
    found = cli("extend", "cr_7k2m9xqd")
    assert transport.asked == [("POST", "/v1/machines/cr_7k2m9xqd/extend", {"seconds": 3600.0})]
    assert found.out.startswith("cr_7k2m9xqd  lives until ")
    assert found.out.endswith(", 1h from now\n")


@pytest.mark.parametrize(("text", "seconds"), [("600", 600.0), ("90s", 90.0), ("2h", 7200.0), ("1h30m", 5400.0)])
def test_extend_when_given_a_duration_then_sends_exactly_that(
    cli: Cli, transport: FakeTransport, text: str, seconds: float
) -> None:
    transport.answers["POST", "/v1/machines/x/extend"] = MACHINE
    assert cli("extend", "x", "--seconds", text, "--json").json == MACHINE
    assert transport.asked[-1][2] == {"seconds": seconds}


@pytest.mark.parametrize("verb", ["stop", "resume"])
def test_stop_and_resume_when_done_then_show_the_machine(cli: Cli, transport: FakeTransport, verb: str) -> None:
    machine = {**MACHINE, "state": "stopped"}
    transport.answers["POST", f"/v1/machines/a/{verb}"] = machine
    assert cli(verb, "a") == (0, "cr_7k2m9xqd  my-project  stopped\n", "")
    assert transport.versions_checked == 1
    assert cli(verb, "a", "--json").json == machine


@pytest.mark.parametrize("verb", ["delete", "rm"])
def test_delete_when_one_fails_then_the_others_go_and_its_status_counts(
    cli: Cli, transport: FakeTransport, verb: str
) -> None:
    transport.answers["DELETE", "/v1/machines/missing"] = NotFound("There is no machine 'missing'.", fix="Look.")
    transport.answers["DELETE", "/v1/machines/a"] = MACHINE
    found = cli(verb, "missing", "a", "a")
    assert (found.code, found.out) == (4, "cr_7k2m9xqd  my-project  deleted\n")
    assert found.err == "cloudrouter: There is no machine 'missing'.\nFix:  Look.\n"
    assert sorted(one[1] for one in transport.asked) == ["/v1/machines/a", "/v1/machines/missing"]
    assert transport.versions_checked == 1
    both = cli(verb, "--json", "missing", "a").json
    assert both["machines"] == [MACHINE]
    assert [(one["ref"], one["code"]) for one in both["errors"]] == [("missing", "not_found")]


def test_delete_when_several_are_named_then_they_go_at_the_same_time(cli: Cli, transport: FakeTransport) -> None:
    both = threading.Barrier(2, timeout=10)

    class Meeting(dict[Any, Any]):
        def __getitem__(self, key: tuple[str, str]) -> Any:
            both.wait()
            return {**MACHINE, "id": key[1].rpartition("/")[2], "name": ""}

    transport.answers = Meeting()
    assert cli("delete", "cr_b", "cr_a") == (0, "cr_b  deleted\ncr_a  deleted\n", "")


def test_delete_when_a_reference_has_odd_characters_then_they_are_encoded(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["DELETE", "/v1/machines/%2E%2Ex%3Fy"] = MACHINE
    assert cli("delete", "..x?y").code == 0


def test_stop_when_the_machine_is_not_running_then_status_6(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["POST", "/v1/machines/x/stop"] = NotRunning("x is failed.")
    assert cli("stop", "x").code == 6


@pytest.mark.usefixtures("unreachable")
@pytest.mark.parametrize(
    "verb", ["stop", "resume", "delete", "status", "inspect", "extend", "ps", "logs", "upload", "download"]
)
def test_verbs_on_a_machine_when_none_is_named_then_status_2(cli: Cli, verb: str) -> None:
    found = cli(verb)
    assert found.code == 2
    assert found.err.startswith(f"cloudrouter: `{verb}` needs ID.\n")
