"""The SDK as a program uses it, against a fake router with a guest that really runs commands."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.fake_guest import FakeGuest
from tests.unit.client.fake_router import Answer, FakeRouter, Seen

import cloudrouter
from cloudrouter.client.machines import Client, CommandFailed, Machine
from cloudrouter.wire.errors import Ambiguous, CloudRouterError, Internal, InvalidSpec, NotFound, UsageError

Make = Callable[..., FakeRouter]
ID = "cr_7k2m9xqd"


class Book:
    """One machine, and what is asked of it."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {"id": ID, "name": "proj", "state": "starting", "image": "core", "cpu": 2.0}

    def handle(self, seen: Seen) -> Answer:
        verb = seen.path.rsplit("/", 1)[-1]
        if seen.path.startswith("/v1/machines?") or (seen.method, seen.path) == ("GET", "/v1/machines"):
            return Answer(200, {"machines": [self.facts]})
        if seen.path.startswith("/v1/machines/none"):
            return Answer(404, {"error": NotFound("There is no machine none.").to_json()})
        if verb == "wait":
            return Answer(lines=[{"machine": self.facts}])
        if seen.method == "DELETE":
            if self.facts["state"] == "gone":
                return Answer(404, {"error": NotFound("It was deleted.").to_json()})
            self.facts["state"] = "gone"
        states = {"confirm": "running", "stop": "stopped", "resume": "running"}
        self.facts["state"] = states.get(verb, self.facts["state"])
        if verb == "extend":
            self.facts["expires_at"] = seen.body["seconds"]
        return Answer(200, self.facts)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def guest(tmp_path: Path) -> FakeGuest:
    (tmp_path / "guest").mkdir()
    return FakeGuest(str(tmp_path / "guest"))


@pytest.fixture
def router(fake_router: Make, book: Book, guest: FakeGuest) -> FakeRouter:
    return fake_router(handle=book.handle, talk=guest.talk)


@pytest.fixture
def client(router: FakeRouter) -> Client:
    return Client(router.path)


@pytest.fixture
def machine(client: Client) -> Machine:
    return client.start()


def test_names_of_the_package_are_these() -> None:
    assert cloudrouter.Client is Client
    assert cloudrouter.Machine is Machine


def test_with_block_starts_runs_and_deletes(client: Client, book: Book, tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj" / "hello.txt").write_text("hi")
    with client.start(tmp_path / "proj", name="proj") as m:
        assert m.state == "running"
        assert m.run("cat hello.txt").check().out == "hi"
    assert book.facts["state"] == "gone"
    assert m.state == "gone"


def test_with_block_deletes_also_after_an_exception(client: Client, book: Book) -> None:
    with pytest.raises(ZeroDivisionError), client.start():
        raise ZeroDivisionError
    assert book.facts["state"] == "gone"


def test_start_sends_what_was_asked_for(client: Client, router: FakeRouter) -> None:
    client.start(
        name="a", size="small", cpu=1.5, memory="2g", image="i", provider="memory", env={"K": "V"},
        labels={"l": "1"}, timeout=60,
    )  # fmt: skip
    body = router.seen[0].body
    for key in ("ca_pem", "client_env", "provisional"):
        body.pop(key, None)
    assert body == {
        "name": "a", "size": "small", "cpu": 1.5, "memory_bytes": 2 * 1024**3, "image": "i", "provider": "memory",
        "env": {"K": "V"}, "labels": {"l": "1"}, "timeout_seconds": 60,
    }  # fmt: skip


def test_memory_that_is_no_amount_is_refused_before_anything_is_asked(client: Client, router: FakeRouter) -> None:
    with pytest.raises(InvalidSpec, match="lots"):
        client.start(memory="lots")
    assert not router.seen


def test_run_gives_output_apart_and_the_exact_code(machine: Machine) -> None:
    result = machine.run("printf out; printf err >&2; exit 7")
    assert (result.exit_code, result.stdout, result.stderr, result.ok) == (7, b"out", b"err", False)
    assert result.out == "out"
    assert result.err == "err"
    assert result.duration_ms == 3


def test_run_of_words_starts_the_program_itself(machine: Machine) -> None:
    assert machine.run(["printf", "%s|", "a b", "$HOME", "*"]).stdout == b"a b|$HOME|*|"


def test_run_takes_folder_environment_and_input(machine: Machine, guest: FakeGuest, tmp_path: Path) -> None:
    (tmp_path / "guest" / "sub").mkdir()
    assert machine.run("pwd; echo $X", cwd="sub", env={"X": "1"}).out == f"{guest.root}/sub\n1\n"
    assert machine.run("wc -c", input=b"x" * 3_000_000).out.strip() == "3000000"
    assert machine.run("cat", input="text ü").out == "text ü"
    (tmp_path / "file").write_bytes(b"from a file")
    with open(tmp_path / "file", "rb") as file:
        assert machine.run("cat", input=file).stdout == b"from a file"


def test_check_raises_with_the_end_of_stderr(machine: Machine) -> None:
    with pytest.raises(CommandFailed, match="exit code 3") as caught:
        machine.run("seq 100 >&2; exit 3", check=True)
    assert caught.value.message.endswith("96\n97\n98\n99\n100")
    assert "\n95\n" not in caught.value.message
    assert caught.value.result.exit_code == 3
    assert isinstance(caught.value, CloudRouterError)
    assert machine.run("true").check().ok


def test_timeout_is_told(machine: Machine, guest: FakeGuest) -> None:
    guest.alter = lambda _message: {"exit": {"code": 124, "signal": "TERM", "timeout": True, "duration_ms": 5}}
    result = machine.run("true", timeout=0.5)
    assert (result.timed_out, result.exit_code, result.signal) == (True, 124, "TERM")
    assert guest.requests[-1]["timeout_s"] == 0.5
    with pytest.raises(CommandFailed, match="timeout"):
        result.check()


def test_exit_without_a_code_is_an_error_and_never_success(machine: Machine, guest: FakeGuest) -> None:
    guest.alter = lambda _message: {"exit": {"duration_ms": 5}}
    with pytest.raises(Internal):
        machine.run("true")
    guest.alter = lambda _message: {"exit": {}}
    with machine.exec("true") as execution, pytest.raises(Internal):
        execution.wait()


def test_empty_command_is_refused(machine: Machine) -> None:
    with pytest.raises(UsageError):
        machine.run([])


def test_exec_gives_output_as_it_comes(machine: Machine) -> None:
    with machine.exec("printf a; printf b >&2; exit 2") as execution:
        assert execution.exit_code is None
        assert list(execution) == [("stdout", b"a"), ("stderr", b"b")]
        assert execution.exit_code == 2


def test_exec_can_be_written_to_beyond_the_window(machine: Machine) -> None:
    data = b"0123456789abcdef" * 200_000
    with machine.exec("md5sum", stdin=True) as execution:
        execution.write(data[:100])
        execution.write(data[100:])
        execution.close_input()
        result = execution.wait()
    import hashlib

    assert result.out.split()[0] == hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_unknown_signal_is_refused(machine: Machine) -> None:
    with machine.exec("cat", stdin=True) as execution:
        with pytest.raises(UsageError):
            execution.send_signal("NOPE")
        execution.close_input()
        execution.wait()


def test_job_starts_tells_its_logs_and_ends(machine: Machine, guest: FakeGuest) -> None:
    job = machine.start_job("npm run dev", env={"A": "1"})
    assert guest.requests[-1] == {"op": "job.start", "line": "npm run dev", "env": {"A": "1"}}
    assert (job.id, job.state, job.exit_code) == ("job_4tq8w2", "running", None)
    assert [one.id for one in machine.jobs()] == [job.id]
    assert [one.data for one in job.logs(follow=True, tail=10)] == [b"out\n", b"err\n"]
    assert guest.requests[-1] == {"op": "job.logs", "job": job.id, "follow": True, "tail": 10}
    assert job.wait() == 4
    assert job.state == "exited"
    guest.job = {}
    with pytest.raises(NotFound):
        job.refresh()


def test_files_are_read_and_written(machine: Machine, tmp_path: Path, guest: FakeGuest) -> None:
    machine.files.write("deep/tool", b"\x00\xff", mode=0o755)
    assert machine.files.read("deep/tool") == b"\x00\xff"
    assert Path(f"{guest.root}/deep/tool").stat().st_mode & 0o777 == 0o755
    machine.files.write("t", "ü")
    assert machine.files.read_text("t") == "ü"
    with pytest.raises(NotFound):
        machine.files.read("nothere")
    with pytest.raises(UsageError, match="folder"):
        machine.files.read("deep")
    machine.files.download("deep", tmp_path / "here")
    assert (tmp_path / "here" / "tool").read_bytes() == b"\x00\xff"
    machine.files.upload(tmp_path / "here", "again")
    assert Path(f"{guest.root}/again/tool").read_bytes() == b"\x00\xff"


def test_life_verbs_update_the_machine(machine: Machine) -> None:
    assert machine.stop().state == "stopped"
    assert machine.resume().state == "running"
    assert machine.extend(90).expires_at == 90
    assert machine.refresh().image == "core"
    assert machine.facts["cpu"] == 2.0
    machine.delete()
    machine.delete()
    assert machine.state == "gone"
    with pytest.raises(AttributeError):
        _ = machine.colour


def test_list_get_and_delete(client: Client, router: FakeRouter) -> None:
    assert [one.id for one in client.list()] == [ID]
    client.list(all=True)
    assert client.get("proj").name == "proj"
    client.delete(ID)
    assert router.requests() == [
        "GET /v1/machines", "GET /v1/machines?all=true", "GET /v1/machines/proj", f"DELETE /v1/machines/{ID}",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="is not a machine"):
        client.get("none/../x")
    with pytest.raises(NotFound):
        client.get("none")


def test_answer_that_is_no_machine_is_an_error(fake_router: Make) -> None:
    with Client(fake_router(handle=lambda _seen: Answer(200, [])).path) as client:
        for call in (client.list, lambda: client.get("x")):
            with pytest.raises(Internal):
                call()


def test_errors_of_the_router_keep_their_class(fake_router: Make) -> None:
    error = Ambiguous("cr_7k fits several.").to_json()
    router = fake_router(handle=lambda _seen: Answer(409, {"error": error}))
    with Client(router.path) as client, pytest.raises(Ambiguous):
        client.get("cr_7k")


def test_one_machine_serves_many_threads(machine: Machine) -> None:
    found: list[str] = []

    def work(number: int) -> None:
        found.extend(machine.run(f"echo {number}").out.strip() for _ in range(5))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == sorted(str(number) for number in range(6) for _ in range(5))
