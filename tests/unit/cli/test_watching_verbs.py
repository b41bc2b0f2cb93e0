"""`ls` with filters, `stats`, `events`: what is asked, and what is shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cloudrouter.cli import output, screen
from cloudrouter.cli.verbs import events as events_verb
from cloudrouter.client.transport import NotListening

from .conftest import MACHINE, Cli, FakeTransport

USAGE = {
    "id": "cr_7k2m9xqd",
    "name": "web",
    "state": "running",
    "at": "2026-07-31T12:00:00.000Z",
    "cpu": 0.5,
    "cpu_limit": 2.0,
    "memory_bytes": 256 * 2**20,
    "memory_limit_bytes": 2**30,
    "disk_bytes": 5 * 2**20,
    "network_received_bytes": 2048,
    "network_sent_bytes": 0,
    "processes": 12,
}
STOPPED = {**USAGE, "id": "cr_bbbbbbbb", "name": "", "state": "stopped"} | dict.fromkeys(
    ("cpu", "memory_bytes", "disk_bytes", "network_received_bytes", "network_sent_bytes", "processes")
)


def event(seq: int, **values: Any) -> dict[str, Any]:
    usual = {"at": "2020-07-31T12:00:00.000Z", "kind": "machine.running", "machine_id": "cr_x", "data": {}}
    return {"seq": seq, **usual, "message": f"number {seq}", **values}


# -- ls -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "query"),
    [
        pytest.param(["-l", "a=me", "--label", "x"], "label=a%3Dme&label=x", marks=pytest.mark.flag("ls --label")),
        pytest.param(["--state", "a", "--state", "b,c"], "state=a&state=b%2Cc", marks=pytest.mark.flag("ls --state")),
        pytest.param(["-p", "docker"], "provider=docker", marks=pytest.mark.flag("ls --provider")),
        pytest.param(["--name", "web-*"], "name=web-%2A", marks=pytest.mark.flag("ls --name")),
        pytest.param(["--sort", "name"], "sort=name", marks=pytest.mark.flag("ls --sort")),
        pytest.param(["-r"], "reverse=true", marks=pytest.mark.flag("ls --reverse")),
        pytest.param(["-a", "-l", "x"], "all=true&label=x", marks=pytest.mark.flag("ls --all")),
    ],
)  # fmt: skip
def test_ls_when_filtered_then_the_router_is_asked_for_that(
    cli: Cli, transport: FakeTransport, words: list[str], query: str
) -> None:
    transport.answers["GET", f"/v1/machines?{query}"] = {"machines": [], "errors": []}
    found = cli("ls", *words)
    assert (found.code, found.out, found.err) == (0, "", "No machine fits.\n")
    assert transport.versions_checked == 1  # one of before would take no notice


def test_ls_when_nothing_is_filtered_then_any_router_will_do(cli: Cli, transport: FakeTransport) -> None:
    transport.answers["GET", "/v1/machines"] = {"machines": [], "errors": []}
    cli("ls")
    assert transport.versions_checked == 0


@pytest.mark.flag("ls --quiet")
@pytest.mark.flag("ls --labels")
@pytest.mark.flag("ls --json")
def test_ls_when_quiet_or_with_labels_then_shows_that(cli: Cli, transport: FakeTransport) -> None:
    machines = [{**MACHINE, "labels": {"agent": "me", "x": "\x1b[2J"}}, {**MACHINE, "id": "cr_bbbbbbbb", "labels": {}}]
    transport.answers["GET", "/v1/machines"] = {"machines": machines, "errors": []}
    assert cli("ls", "-q") == (0, "cr_7k2m9xqd\ncr_bbbbbbbb\n", "")
    assert [line.split()[-1] for line in cli("ls", "--labels").out.splitlines()] == [
        "LABELS",
        "agent=me,x=\\x1b[2J",
        "-",
    ]
    assert cli("ls", "--json").json["machines"] == machines
    assert cli("ls", "-q", "--json").code == cli("ls", "-q", "--labels").code == cli("ls", "--sort", "age").code == 2


# -- stats ----------------------------------------------------------------------------------------------------------


@pytest.mark.flag("stats --json")
def test_stats_when_asked_once_then_prints_a_table_with_dashes_where_nothing_is_known(
    cli: Cli, transport: FakeTransport
) -> None:
    transport.answers["GET", "/v1/stats"] = {"stats": [USAGE, STOPPED]}
    lines = cli("stats").out.splitlines()
    assert [line.split() for line in lines] == [
        ["ID", "NAME", "CPU", "MEMORY", "MEM", "%", "DISK", "NET", "IN", "NET", "OUT", "PIDS"],
        "cr_7k2m9xqd web 50.0% of 200% 256 MiB / 1 GiB 25.0% 5 MiB 2 KiB 0 B 12".split(),  # noqa: SIM905
        ["cr_bbbbbbbb", *["-"] * 8],
    ]
    assert cli("stats", "--json").json == {"stats": [USAGE, STOPPED]}


@pytest.mark.flag("stats --follow")
@pytest.mark.flag("stats --interval")
def test_stats_when_followed_as_json_then_prints_one_line_each_time(cli: Cli, transport: FakeTransport) -> None:
    answers = [{"stats": [USAGE]}, {"stats": [STOPPED]}]
    transport.answers["GET", "/v1/stats/follow?machine=a&machine=b&interval=2.0"] = answers
    found = cli("stats", "a", "b", "-f", "--json")
    assert [json.loads(line) for line in found.out.splitlines()] == answers
    assert (found.code, found.err) == (1, "cloudrouter: the router has ended.\n")
    transport.answers["GET", "/v1/stats/follow?interval=90.0"] = answers
    assert len(cli("stats", "--follow", "--interval", "90s").out.split("\n\n")) == 3
    assert cli("stats", "--interval", "2s").code == 2


class Terminal:
    """Remembers what was written to it."""

    def __init__(self) -> None:
        self.written = ""

    def write(self, text: str) -> None:
        self.written += text

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


def test_screen_when_drawn_again_then_the_new_lines_stand_in_the_old_ones_place() -> None:
    terminal = Terminal()
    with screen.Screen(terminal) as drawn:  # type: ignore[arg-type]
        drawn.draw(["one", "two", "three"])
        first = terminal.written
        drawn.draw(["four"])
    assert terminal.written.count("\x1b[3A") == 1
    assert terminal.written[len(first) :].startswith("\x1b[3A\rfour\x1b[K\n\x1b[J")
    assert "\x1b[2J" not in terminal.written  # a cleared screen flickers
    assert terminal.written.startswith(screen.BEGIN)
    assert terminal.written.endswith(screen.END)


def test_screen_when_there_are_more_lines_than_rows_then_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "_height", lambda _stream: 5)
    terminal = Terminal()
    screen.Screen(terminal).draw([str(number) for number in range(9)])  # type: ignore[arg-type]
    assert terminal.written.replace("\x1b[K", "").split("\n")[:-1] == ["\r0", "1", "2", "... and 6 more"]


def test_stats_when_followed_at_a_terminal_then_draws_in_place(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda stream: stream is sys.stdout)
    transport.answers["GET", "/v1/stats/follow?interval=2.0"] = [{"stats": [USAGE]}, {"stats": []}]
    found = cli("stats", "-f")
    assert "\x1b[2A\rNo machines." in found.out
    assert found.out.rstrip().endswith(screen.END)


# -- events ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "query"),
    [
        ([], "tail=100"),
        pytest.param(["--tail", "7"], "tail=7", marks=pytest.mark.flag("events --tail")),
        pytest.param(["--kind", "a.*"], "kind=a.%2A&tail=100", marks=pytest.mark.flag("events --kind")),
        (["x"], "machine=cr_7k2m9xqd&tail=100"),
        pytest.param(["--since", "10m"], "since=600.0&after=0", marks=pytest.mark.flag("events --since")),
        pytest.param(["--after", "5"], "after=5", marks=pytest.mark.flag("events --after")),
    ],
)  # fmt: skip
def test_events_when_narrowed_then_the_router_is_asked_for_that(
    cli: Cli, transport: FakeTransport, words: list[str], query: str
) -> None:
    transport.answers["GET", "/v1/machines/x"] = MACHINE
    transport.answers["GET", f"/v1/events?{query}"] = {"events": [event(6, message="a\x1b\nb")], "last": 6}
    found = cli("events", *words)
    assert found.err == ""
    assert found.out.split(maxsplit=2)[2] == "machine.running     a\\x1b\\nb\n"


@pytest.mark.flag("events --json")
def test_events_when_json_is_wanted_then_is_one_event_a_line_and_all_pages(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_verb, "PAGE", 2)
    for after, seqs in ((0, [1, 2]), (2, [3, 5]), (5, [])):
        answer = {"events": [event(seq) for seq in seqs], "last": 5}
        transport.answers["GET", f"/v1/events?after={after}"] = answer
    found = cli("events", "--after", "0", "--json")
    assert [json.loads(line)["seq"] for line in found.out.splitlines()] == [1, 2, 3, 5]


@pytest.mark.flag("events --follow")
def test_events_when_the_router_goes_away_then_goes_on_behind_the_last(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Over(KeyboardInterrupt):
        pass

    def lines(_method: str, path: str, *_more: Any) -> Iterator[dict[str, Any]]:
        transport.asked.append(("LINES", path, None))
        match len(transport.asked):
            case 2:
                yield from (event(10), event(11))
                raise NotListening("No router is running.")
            case 3:
                raise NotListening("No router is running.")
            case 4:
                yield event(12)  # then this router ends well
            case _:
                raise Over

    monkeypatch.setattr(transport, "lines", lines)
    monkeypatch.setattr(events_verb, "FIRST_RETRY_S", 0.001)
    transport.answers["GET", "/v1/events?kind=a&tail=0"] = {"events": [], "last": 9}
    found = cli("events", "-f", "--kind", "a", "--json")
    assert [json.loads(line)["seq"] for line in found.out.splitlines()] == [10, 11, 12]
    assert [path for method, path, _ in transport.asked if method == "LINES"] == [
        f"/v1/events/follow?kind=a&after={seq}" for seq in (9, 11, 11, 12)
    ]
    assert found.err.count("waiting for it") == 2
    assert found.code == 130


@pytest.mark.parametrize(
    "words", [["--tail", "1", "--since", "1h"], ["--tail", "1", "--after", "1"], ["--tail", "1001"]]
)
def test_events_when_the_words_contradict_then_status_2(cli: Cli, transport: FakeTransport, words: list[str]) -> None:
    assert cli("events", *words).code == 2


# -- gpu and labels -------------------------------------------------------------------------------------------------


@pytest.mark.flag("start --gpu")
@pytest.mark.flag("run --gpu")
@pytest.mark.flag("start --label")
@pytest.mark.flag("run --label")
@pytest.mark.parametrize("verb", ["start", "run"])
def test_gpu_and_labels_when_given_then_are_part_of_the_request(verb: str) -> None:
    from cloudrouter.cli import launching
    from cloudrouter.cli.parsing import parse_words
    from cloudrouter.cli.table import load_verb

    words = ["--gpu", "A100:2", "-l", "agent=me", "--label", "x="] + ([".", "true"] if verb == "run" else [])
    request = launching.build_request(parse_words(verb, load_verb(verb), words), None, timeout=None)
    assert (request["gpu"], request["labels"]) == ("A100:2", {"agent": "me", "x": ""})
