"""`start`: everything in place or nothing left, whatever breaks and whenever."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.fake_guest import FakeGuest
from tests.unit.client.fake_router import Answer, FakeRouter, Seen
from websockets.sync.server import ServerConnection

from cloudrouter.client import launch as launch_module
from cloudrouter.client.launch import launch
from cloudrouter.client.steps import TAIL_BYTES, StepFailed
from cloudrouter.client.transport import Transport
from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.wire.errors import (
    CloudRouterError,
    Conflict,
    Internal,
    InvalidSpec,
    NotFound,
    TransferFailed,
    Unreachable,
    UsageError,
)

Make = Callable[..., FakeRouter]
ID = "cr_7k2m9xqd"


@dataclass
class Machines:
    """The router's side of a start: machines by idempotency key, and faults by the number of the request."""

    faults: dict[str, list[Answer | None]] = field(default_factory=dict)
    by_key: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    boot: list[dict[str, Any]] = field(default_factory=list)

    def handle(self, seen: Seen) -> Answer:
        verb = seen.method if seen.path == "/v1/machines" or seen.method == "DELETE" else seen.path.rsplit("/", 1)[-1]
        done = self._do(verb, seen)
        waiting = self.faults.get(verb)
        fault = waiting.pop(0) if waiting else None
        return done if fault is None else fault

    def _do(self, verb: str, seen: Seen) -> Answer:
        if verb == "POST":
            made = self.by_key.setdefault(seen.headers["idempotency-key"], f"{ID[:-1]}{len(self.by_key)}")
            self.states.setdefault(made, "starting")
            return Answer(201, self._show(made))
        made = seen.path.split("/")[3]
        if made not in self.states:
            return Answer(404, {"error": NotFound(f"There is no machine {made}.").to_json()})
        if verb == "wait":
            return Answer(lines=[*self.boot, {"machine": self._show(made)}])
        if verb == "confirm":
            self.states[made] = "running"
            return Answer(200, self._show(made))
        assert verb == "DELETE"
        del self.states[made]
        return Answer(200, {"id": made, "state": "gone"})

    def _show(self, made: str) -> dict[str, Any]:
        return {"id": made, "name": "proj", "state": self.states[made]}


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def guest(tmp_path: Path) -> FakeGuest:
    (tmp_path / "guest").mkdir()
    return FakeGuest(str(tmp_path / "guest"))


@pytest.fixture
def router(fake_router: Make, machines: Machines, guest: FakeGuest) -> FakeRouter:
    return fake_router(handle=machines.handle, talk=guest.talk)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    root = tmp_path / "my proj"
    (root / "src").mkdir(parents=True)
    (root / "src" / "main.py").write_text("print(1)\n")
    (root / ".env").write_text("TOKEN=hunter2hunter2\n")
    (root / "README").write_text("hello")
    return str(root)


def start(router: FakeRouter, folder: str | None, **given: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    with Transport(router.path) as way:
        given = {"progress": events.append, **given}
        return launch(way, folder, {"image": "core"}, **given), events


def test_folder_becomes_a_running_machine_with_its_files(router: FakeRouter, guest: FakeGuest, folder: str) -> None:
    machine, events = start(router, folder)
    assert machine["state"] == "running"
    assert sorted(os.listdir(guest.root)) == ["README", "src"]
    assert Path(f"{guest.root}/src/main.py").read_text() == "print(1)\n"
    assert machine["upload"]["files"] == 2
    assert machine["upload"]["bytes"] == 14
    assert "1 secret (.env)" in machine["upload"]["left_behind"]
    phases = [event["phase"] for event in events]
    assert phases == ["selecting", "selected", "creating", "created", "booted", "uploading", "ready"]


def test_request_carries_what_the_router_needs(
    router: FakeRouter, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    start(router, folder)
    first = router.seen[0]
    assert first.body["image"] == "core"
    assert first.body["provisional"] is True
    assert first.body["labels"] == {"folder": "my proj"}
    assert first.body["client_env"]["HTTPS_PROXY"] == "http://proxy:3128"
    assert len(first.headers["idempotency-key"]) >= 32


def test_secrets_go_along_only_when_asked_for(router: FakeRouter, guest: FakeGuest, folder: str) -> None:
    start(router, folder, with_secrets=True, exclude=("README",))
    assert sorted(os.listdir(guest.root)) == [".env", "src"]


def test_without_a_folder_nothing_is_sent(router: FakeRouter, guest: FakeGuest) -> None:
    machine, events = start(router, None)
    assert (machine["state"], machine["upload"]) == ("running", None)
    assert not guest.requests
    assert "labels" not in router.seen[0].body
    assert events[0]["phase"] == "creating"


def test_boot_events_are_passed_on(router: FakeRouter, machines: Machines) -> None:
    machines.boot = [{"event": {"kind": "machine.starting"}}, {"progress": {"layer": 3}}]
    _, events = start(router, None)
    booting = [event for event in events if event["phase"] == "booting"]
    assert booting == [{"phase": "booting", **message} for message in machines.boot]


# -- commands of a template -------------------------------------------------------------------------------------


def test_commands_run_in_order_when_the_files_are_there_and_jobs_begin_last(
    router: FakeRouter, machines: Machines, guest: FakeGuest, folder: str
) -> None:
    lines = ["cat README; cat README >&2", "echo second > made"]
    machine, events = start(router, folder, commands=lines, background=["sleep 9"])
    assert [(one["command"], one["exit_code"]) for one in machine["commands"]] == [(line, 0) for line in lines]
    assert machine["commands"][0]["output_tail"] == "hellohello"
    assert machine["commands"][0]["duration_ms"] == 3
    assert machine["jobs"] == [{"id": "job_4tq8w2", "command": "sleep 9"}]
    assert Path(f"{guest.root}/made").read_text() == "second\n"
    assert [request["op"] for request in guest.requests] == ["put", "exec", "exec", "job.start"]
    phases = [event["phase"] for event in events if event["phase"] not in ("output", "uploading")]
    assert phases[4:] == ["booted", "command", "commanded", "command", "commanded", "ready"]
    assert b"".join(bytes(event["data"]) for event in events if event["phase"] == "output") == b"hellohello"
    assert list(machines.states.values()) == ["running"]


def test_failing_command_fails_the_start_and_removes_the_machine(
    router: FakeRouter, machines: Machines, guest: FakeGuest
) -> None:
    with pytest.raises(StepFailed, match=r"'exit 7' ended with status 7.*was removed again") as caught:
        start(router, None, commands=["true", "exit 7", "true"], background=["sleep 9"])
    assert (caught.value.exit_code, caught.value.code) == (1, "command_failed")
    assert caught.value.details == {"command": "exit 7", "exit_code": 7, "output_tail": ""}
    assert caught.value.next == "cloudrouter templates ls"
    assert not machines.states
    assert [request["op"] for request in guest.requests] == ["exec", "exec"]


def test_failing_command_keeps_the_machine_when_asked_to(router: FakeRouter, machines: Machines) -> None:
    with pytest.raises(StepFailed, match="was kept") as caught:
        start(router, None, commands=["exit 7"], keep_on_failure=True)
    assert list(machines.states.values()) == ["running"]
    assert caught.value.next.startswith("cloudrouter ssh cr_")


def test_long_output_of_a_command_is_kept_by_its_end(router: FakeRouter) -> None:
    machine, _ = start(router, None, commands=["head -c 100000 /dev/zero | tr '\\0' x; echo end"])
    tail = machine["commands"][0]["output_tail"]
    assert len(tail) == TAIL_BYTES
    assert tail.endswith("xend\n")


def test_command_is_not_run_again_when_the_router_goes_away_behind_it(
    router: FakeRouter, machines: Machines, guest: FakeGuest
) -> None:
    machines.faults["confirm"] = [Answer(cut=True)] * 2
    machine, events = start(router, None, commands=["echo x >> count"])
    assert Path(f"{guest.root}/count").read_text() == "x\n"
    assert "reconnecting" in [event["phase"] for event in events]
    assert len(machine["commands"]) == 1


def test_upload_error_behind_a_removed_machine_does_not_send_anybody_there(
    router: FakeRouter, guest: FakeGuest, folder: str
) -> None:
    guest.alter = lambda message: {"done": {**message["done"], "files": 1}}
    with pytest.raises(TransferFailed) as caught:
        start(router, folder)
    assert "cr_" not in caught.value.next
    assert caught.value.fix


# -- what is wrong before anything is made ----------------------------------------------------------------------


def test_missing_folder_and_file_cost_nothing(router: FakeRouter, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, kind in (("nothere", NotFound), ("file", UsageError)):
        with pytest.raises(kind, match=name) as caught:
            start(router, str(tmp_path / name))
        assert caught.value.to_text().count("\n") == 2
    assert not router.seen


def test_unreadable_file_costs_nothing_and_is_named(router: FakeRouter, forbidden: Path) -> None:
    with pytest.raises(TransferFailed, match=r"secret\.txt") as caught:
        start(router, str(forbidden))
    assert caught.value.to_text().count("\n") == 2
    assert not router.seen


def test_request_that_is_refused_is_not_repeated(router: FakeRouter, machines: Machines) -> None:
    machines.faults["POST"] = [Answer(400, {"error": InvalidSpec("No such image.", field="image").to_json()})]
    with pytest.raises(InvalidSpec) as caught:
        start(router, None)
    assert caught.value.message == "No such image."
    assert router.requests() == ["POST /v1/machines"]


# -- what breaks in the middle ----------------------------------------------------------------------------------


def test_failing_boot_removes_the_machine_and_says_so(router: FakeRouter, machines: Machines) -> None:
    machines.boot = [{"error": Internal("The guest never answered.", next="cloudrouter server logs").to_json()}]
    with pytest.raises(Internal, match=r"never answered\. The machine cr_7k2m9xq0 was removed again") as caught:
        start(router, None)
    assert caught.value.next == "cloudrouter server logs"
    assert not machines.states


def test_failing_upload_removes_the_machine(
    router: FakeRouter, machines: Machines, guest: FakeGuest, folder: str
) -> None:
    guest.alter = lambda message: {"done": {**message["done"], "files": 1}}
    with pytest.raises(TransferFailed, match="was removed again"):
        start(router, folder)
    assert not machines.states


def test_failing_upload_keeps_the_machine_when_asked_to(
    router: FakeRouter, machines: Machines, guest: FakeGuest, folder: str
) -> None:
    guest.alter = lambda message: {"done": {**message["done"], "files": 1}}
    with pytest.raises(TransferFailed, match="cr_7k2m9xq0 was kept") as caught:
        start(router, folder, keep_on_failure=True)
    assert caught.value.next == "cloudrouter ssh cr_7k2m9xq0"
    assert machines.states == {"cr_7k2m9xq0": "running"}  # confirmed, or the router would remove it soon


def test_keeping_goes_on_with_the_next_router(
    router: FakeRouter, machines: Machines, guest: FakeGuest, folder: str
) -> None:
    guest.alter = lambda message: {"done": {**message["done"], "files": 1}}
    machines.faults["confirm"] = [Answer(cut=True)]
    with pytest.raises(TransferFailed, match="was kept"):
        start(router, folder, keep_on_failure=True)
    assert machines.states == {"cr_7k2m9xq0": "running"}


def test_a_machine_that_cannot_be_kept_is_not_called_kept(
    router: FakeRouter, machines: Machines, guest: FakeGuest, folder: str
) -> None:
    guest.alter = lambda message: {"done": {**message["done"], "files": 1}}
    machines.faults["confirm"] = [Answer(502, {"error": Unreachable("The engine is gone.").to_json()})]
    told: list[dict[str, Any]] = []
    with pytest.raises(TransferFailed, match=r"could not be kept.*The engine is gone") as caught:
        start(router, folder, keep_on_failure=True, progress=told.append)
    assert caught.value.next == "cloudrouter status cr_7k2m9xq0"
    assert told[-1]["phase"] == "unkept"


def test_machine_that_cannot_be_removed_is_named_with_the_command(
    router: FakeRouter, machines: Machines, guest: FakeGuest, folder: str
) -> None:
    guest.alter = lambda _message: {"error": TransferFailed("The disk is full.").to_json()}
    machines.faults["DELETE"] = [Answer(502, {"error": Unreachable("The engine is gone.").to_json()})]
    with pytest.raises(TransferFailed, match=r"kept .*The engine is gone") as caught:
        start(router, folder)
    assert caught.value.next == "cloudrouter delete cr_7k2m9xq0"


@pytest.mark.parametrize("phase", ["created", "booted", "uploading", "ready"])
def test_interrupt_in_any_phase_leaves_nothing(router: FakeRouter, machines: Machines, folder: str, phase: str) -> None:
    events: list[dict[str, Any]] = []

    def interrupt(event: dict[str, Any]) -> None:
        events.append(event)
        if event["phase"] == phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(router, folder, progress=interrupt)
    assert not machines.states
    assert events[-1] == {"phase": "removed", "id": "cr_7k2m9xq0"}


def test_interrupt_while_the_id_is_not_known_yet_leaves_nothing(
    router: FakeRouter, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is with the router, its answer not here: the same key tells the id, and that is deleted."""
    call, interrupted = Transport.call, []

    def interrupt_once(self: Transport, method: str, path: str, *args: Any, **given: Any) -> Any:
        answer = call(self, method, path, *args, **given)
        if not interrupted:
            interrupted.append(path)
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(Transport, "call", interrupt_once)
    with pytest.raises(KeyboardInterrupt):
        start(router, None)
    assert len(machines.by_key) == 1
    assert not machines.states


def test_router_that_vanishes_at_any_step_is_asked_again_and_makes_one_machine(
    router: FakeRouter, machines: Machines, folder: str
) -> None:
    for verb, times in (("POST", 1), ("wait", 2), ("confirm", 2)):
        # A kept connection that is cut is replaced without a word, a fresh one that is cut means a dead router.
        machines.faults[verb] = [Answer(cut=True)] * times
        machine, events = start(router, folder)
        assert machine["state"] == "running"
        assert [event["phase"] for event in events].count("reconnecting") == 1
    assert len(machines.by_key) == 3


def test_repeated_request_that_meets_the_first_one_is_asked_again(router: FakeRouter, machines: Machines) -> None:
    """The first request is still being worked on when the second comes: the router may see a taken name."""
    taken = Answer(409, {"error": Conflict("The name 'proj' is taken by another machine.").to_json()})
    machines.faults["POST"] = [Answer(cut=True), taken]
    machine, _ = start(router, None)
    assert machine["state"] == "running"
    assert len(machines.by_key) == 1


def test_name_that_is_taken_is_told_and_nothing_is_deleted(router: FakeRouter, machines: Machines) -> None:
    taken = Answer(409, {"error": Conflict("The name 'proj' is taken by cr_x.").to_json()})
    machines.faults["POST"] = [taken]
    with pytest.raises(Conflict) as caught:
        start(router, None)
    assert caught.value.message == "The name 'proj' is taken by cr_x."
    assert router.requests() == ["POST /v1/machines"]


def test_request_refused_only_when_repeated_still_leaves_nothing(router: FakeRouter, machines: Machines) -> None:
    refused = Answer(400, {"error": InvalidSpec("No.").to_json()})
    machines.faults["POST"] = [Answer(cut=True), refused]
    with pytest.raises(InvalidSpec, match="was removed again"):
        start(router, None)
    assert not machines.states


def test_files_that_have_arrived_are_not_sent_again(
    router: FakeRouter, machines: Machines, guest: FakeGuest, folder: str
) -> None:
    machines.faults["confirm"] = [Answer(cut=True)] * 2
    start(router, folder)
    assert len(guest.requests) == 1


def test_router_that_dies_in_the_upload_gets_the_files_again(router: FakeRouter, guest: FakeGuest, folder: str) -> None:
    def die_once(_connection: ServerConnection, _request: dict[str, Any]) -> None:
        if len(guest.requests) == 1:
            router.cut_connections()

    guest.before = die_once
    machine, _ = start(router, folder)
    assert machine["upload"]["files"] == 2
    assert len(guest.requests) == 2


def test_router_that_keeps_dying_ends_the_start_after_three_tries(router: FakeRouter, machines: Machines) -> None:
    machines.faults["wait"] = [Answer(cut=True)] * 10
    with pytest.raises(ConnectionLost, match="was removed again"):
        start(router, None)
    assert router.requests("POST") == ["POST /v1/machines"] * launch_module.ATTEMPTS
    assert not machines.states


def test_router_that_never_comes_back_is_told_without_inventing_an_id(fake_router: Make) -> None:
    router = fake_router(handle=lambda _seen: Answer(cut=True))
    events: list[dict[str, Any]] = []
    with pytest.raises(Unreachable, match="removes it by itself") as caught:
        start(router, None, progress=events.append)
    assert "cr_" not in caught.value.message
    assert events[-1]["phase"] == "unknown"


def test_defect_of_ours_also_removes_the_machine(
    router: FakeRouter, machines: Machines, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any, **_given: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(launch_module, "pack", broken)
    with pytest.raises(ZeroDivisionError):
        start(router, folder)
    assert not machines.states


def test_folder_name_that_is_not_utf8_becomes_a_readable_label(router: FakeRouter, tmp_path: Path) -> None:
    odd = os.fsdecode(bytes(tmp_path) + b"/caf\xe9")
    os.mkdir(odd)
    start(router, odd)
    assert router.seen[0].body["labels"] == {"folder": "caf\ufffd"}


def test_errors_stay_of_their_kind() -> None:
    error = NotFound("Gone.")
    launch_module._add(error, "More.", "next")
    assert isinstance(error, CloudRouterError)
    assert (str(error), error.message, error.next, error.exit_code) == ("Gone. More.", "Gone. More.", "next", 4)
