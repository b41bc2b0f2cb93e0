"""Apps: started with all they require, once; kept up, found again, ended whole."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
from typing import Any

import pytest
from tests.unit.guest.appmaker import install, starts
from tests.unit.guest.machine import Machine, Outcome, alive, finish, processes_of, read_until, send, until

from cloudrouter.guest import holding


async def start(machine: Machine, name: str) -> dict[str, Any]:
    outcome = await machine.ask({"op": "app.start", "app": name})
    assert "app" in outcome.final, outcome.final
    app: dict[str, Any] = outcome.final["app"]
    return app


async def app_of(machine: Machine, name: str) -> dict[str, Any]:
    apps = (await machine.ask({"op": "app.list"})).final["apps"]
    return {app["name"]: app for app in apps}[name]  # type: ignore[no-any-return]


async def until_app(machine: Machine, name: str, **wanted: Any) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            app = await app_of(machine, name)
            if all(app[key] == value for key, value in wanted.items()):
                return app
            await asyncio.sleep(0.02)


async def say(machine: Machine, name: str, words: bytes) -> Outcome:
    return await machine.ask({"op": "app.connect", "app": name}, words, {"eof": True})


async def test_an_app_when_nobody_asked_for_it_then_is_off(own: Machine) -> None:
    install(own, "one")
    app = await app_of(own, "one")
    assert (app["state"], app["title"], app["pid"], app["memory_bytes"]) == ("off", "One", None, None)
    assert starts(own, "one") == []


async def test_apps_when_the_machine_has_none_then_are_an_empty_list_and_no_app_is_found(own: Machine) -> None:
    assert (await own.ask({"op": "app.list"})).final["apps"] == []
    assert (await own.ask({"op": "app.start", "app": "one"})).error["code"] == "not_found"


async def test_an_app_when_started_then_runs_healthy_in_its_own_closed_folder(own: Machine) -> None:
    install(own, "one", health={"path": "/healthz"})
    outcome = await own.ask({"op": "app.start", "app": "one"})
    app = outcome.final["app"]
    assert [text["starting"]["state"] for text in outcome.texts if "starting" in text] == ["off"]
    assert (app["state"], app["reason"], app["restarts"], app["port"]) == ("running", "", 0, None)
    assert app["memory_bytes"] > 1_000_000
    assert app["uptime_s"] >= 0
    assert starts(own, "one") == [app["pid"]]
    assert stat.S_IMODE(os.stat(f"{own.root}/run/one").st_mode) == 0o700
    again = await own.ask({"op": "app.start", "app": "one"})
    assert [text for text in again.texts if "starting" in text] == []
    assert again.final["app"]["pid"] == app["pid"]


async def test_an_app_when_connected_to_then_starts_and_carries_bytes_both_ways_and_counts_clients(
    own: Machine,
) -> None:
    install(own, "one")
    async with own.connect() as stream:
        await send(stream, {"op": "app.connect", "app": "one"}, b"hel", b"lo")
        outcome = Outcome()
        await read_until(stream, b"hello", outcome)
        assert {"started": {"app": "one"}} in outcome.texts
        assert (await app_of(own, "one"))["clients"] == 1
        await send(stream, {"eof": True})
        await finish(stream, outcome)
    assert outcome.final == {"end": {}}
    assert (await app_of(own, "one"))["clients"] == 0


async def test_an_app_on_a_port_when_connected_to_then_answers_and_every_connection_is_a_client(own: Machine) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    install(own, "one", port=port)
    assert (await say(own, "one", b"hello")).stdout == b"hello"
    with socket.create_connection(("127.0.0.1", port)) as by_itself:
        by_itself.sendall(b"x")
        assert by_itself.recv(1) == b"x"
        app = await app_of(own, "one")
        assert (app["clients"], app["port"]) == (1, port)


async def test_an_app_when_twenty_start_it_at_once_then_starts_once(own: Machine) -> None:
    install(own, "one", "wait")
    asking = [asyncio.ensure_future(own.ask({"op": "app.start", "app": "one"})) for _ in range(20)]
    await until(lambda: starts(own, "one"))
    with open(f"{own.home}/go", "w"):
        outcomes = await asyncio.gather(*asking)
    assert {outcome.final["app"]["pid"] for outcome in outcomes} == set(starts(own, "one"))
    assert len(starts(own, "one")) == 1


async def test_an_app_when_who_starts_it_leaves_then_starts_all_the_same(own: Machine) -> None:
    install(own, "one", "wait")
    async with own.connect() as stream:
        await send(stream, {"op": "app.start", "app": "one"})
        await until(lambda: starts(own, "one"))
        stream.transport.abort()
    with open(f"{own.home}/go", "w"):
        app = await until_app(own, "one", state="running")
    assert starts(own, "one") == [app["pid"]]


async def test_a_required_app_when_its_dependent_starts_then_runs_before_it_and_stops_after_it(own: Machine) -> None:
    install(own, "below", exports={"SHOWN": ":1", "PLACE": "${socket}"})
    install(own, "above", requires=["below"], environment={"OWN": "${workspace}/x"})
    await start(own, "above")
    assert (await app_of(own, "below"))["state"] == "running"
    assert (await say(own, "above", b"env SHOWN")).stdout == b":1"
    assert (await say(own, "above", b"env OWN")).stdout.decode() == f"{own.workspace}/x"
    stopped = (await own.ask({"op": "app.stop", "app": "below"})).final["app"]
    assert (stopped["state"], stopped["reason"], stopped["pid"]) == ("off", "It was stopped.", None)
    assert (await app_of(own, "above"))["state"] == "off"
    assert not any(alive(pid) for pid in (*starts(own, "above"), *starts(own, "below")))


async def test_exports_when_an_app_is_installed_then_reach_every_command_and_the_persons_own_win(own: Machine) -> None:
    install(own, "one", exports={"DISPLAY": ":1", "OTHER": "app"})
    assert (await own.run("echo $DISPLAY $OTHER")).stdout == b":1 app\n"
    assert (await own.run("echo $DISPLAY", env={"DISPLAY": ":7"})).stdout == b":7\n"
    await own.ask({"op": "configure", "env": {"OTHER": "mine"}})
    assert (await own.run("echo $DISPLAY $OTHER")).stdout == b":1 mine\n"
    assert (await say(own, "one", b"env OTHER")).stdout == b"mine"
    assert starts(own, "one")


async def test_an_app_when_it_crashes_then_is_started_again_and_says_so(own: Machine) -> None:
    install(own, "one")
    first = await start(own, "one")
    os.kill(first["pid"], signal.SIGKILL)
    app = await until_app(own, "one", state="running", restarts=1)
    assert app["pid"] != first["pid"]
    why = f"It ended by the signal KILL. Its last output: begins {first['pid']}"
    assert app["reason"] == f"It was started again after this: {why}"
    assert (await say(own, "one", b"back")).stdout == b"back"


async def test_an_app_when_it_has_crashed_and_nobody_knows_yet_then_who_connects_waits_for_its_next_start(
    own: Machine,
) -> None:
    install(own, "one")
    first = await start(own, "one")
    with open(f"/proc/{first['pid']}/stat") as file:
        holder = int(file.read().rpartition(")")[2].split()[1])
    os.kill(holder, signal.SIGSTOP)  # who would tell how it ended
    os.kill(first["pid"], signal.SIGKILL)
    try:
        await until(lambda: not alive(first["pid"]))  # as long as it is not, it may still answer
        connecting = asyncio.ensure_future(say(own, "one", b"hello"))
        await until_app(own, "one", clients=1)
        assert (await app_of(own, "one"))["state"] == "running"
    finally:
        os.kill(holder, signal.SIGCONT)
    outcome = await connecting
    assert outcome.stdout == b"hello", outcome.final
    assert len(starts(own, "one")) == 2


async def test_an_app_when_it_runs_and_takes_no_connection_then_that_is_told(own: Machine) -> None:
    install(own, "one")
    await start(own, "one")
    os.unlink(f"{own.root}/run/one/socket")
    assert (await say(own, "one", b"hello")).error["code"] == "unreachable"


async def test_an_app_when_it_crashes_under_a_client_then_waits_before_the_next_try_and_a_client_waits_too(
    own: Machine,
) -> None:
    install(own, "one")
    await start(own, "one")
    await say(own, "one", b"exit 9")
    app = await until_app(own, "one", state="failed")
    assert app["reason"].startswith("It ended with exit code 9.")
    assert "It is tried again in 1 s." in app["reason"]
    assert (await say(own, "one", b"back")).stdout == b"back"


async def test_an_app_when_it_ends_by_itself_and_nobody_is_there_then_stays_off(own: Machine) -> None:
    install(own, "one")
    await start(own, "one")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{own.root}/run/one/socket")
        sock.sendall(b"exit 0")
        sock.recv(1)
    app = await until_app(own, "one", state="off")
    assert app["reason"] == "It ended by itself (exit code 0)."


async def test_an_app_when_it_ends_by_itself_under_a_client_then_is_started_again(own: Machine) -> None:
    install(own, "one")
    await start(own, "one")
    await say(own, "one", b"exit 0")
    app = await until_app(own, "one", state="running", restarts=1)
    assert app["reason"].startswith("It was started again after this: It ended with exit code 0.")


@pytest.mark.parametrize("first", ["above", "below"])
async def test_an_app_when_it_ends_together_with_what_it_requires_then_comes_back(own: Machine, first: str) -> None:
    install(own, "below")
    install(own, "above", requires=["below"])
    above = await start(own, "above")

    def end(name: str, words: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"{own.root}/run/{name}/socket")
            sock.sendall(words)
            sock.recv(1)

    ends = {"above": b"exit 0", "below": b"exit 9"}
    end(first, ends.pop(first))
    if first == "above":
        await until_app(own, "above", state="off")
    else:
        await until_app(own, "below", state="failed")
    for name, words in ends.items():
        end(name, words)
    app = await until_app(own, "above", state="running", restarts=1)
    assert app["pid"] != above["pid"]
    assert "It was started again after this: It ended" in app["reason"]


async def test_an_app_when_it_cannot_start_then_fails_with_its_last_words_and_is_tried_again(own: Machine) -> None:
    install(own, "one", "fail")
    error = (await own.ask({"op": "app.start", "app": "one"})).error
    assert error["code"] == "unreachable"
    assert "It ended with exit code 3 before it answered." in error["message"]
    assert "cannot go on" in error["message"]
    await until(lambda: len(starts(own, "one")) >= 3)
    app = await until_app(own, "one", state="failed")
    assert app["restarts"] >= 2
    before = len(starts(own, "one"))
    error = (await own.ask({"op": "app.connect", "app": "one"})).error
    assert "It is tried again in" in error["message"]
    assert len(starts(own, "one")) == before
    assert "cannot go on" in (await own.ask({"op": "app.start", "app": "one"})).error["message"]
    assert len(starts(own, "one")) == before + 1


async def test_a_reason_when_the_app_wrote_colours_then_is_plain_text(own: Machine) -> None:
    line = "printf '\\033[1;31mred\\033[0m \\033]0;title\\007 \\r\\ngrün\\n'; exit 1"
    install(own, "one", command=["/bin/sh", "-c", line])
    message = (await own.ask({"op": "app.start", "app": "one"})).error["message"]
    assert "Its last output: red ]0;title \ngrün\nIt is tried again" in message


async def test_an_app_when_it_never_answers_then_fails_in_time_and_leaves_nothing(own: Machine) -> None:
    install(own, "one", "never", start_timeout_s=0.5)
    error = (await own.ask({"op": "app.start", "app": "one"})).error
    assert "It did not answer within 0.5 s." in error["message"]
    assert "begins" in error["message"]
    assert not alive(starts(own, "one")[0])


async def test_an_app_when_it_answers_with_errors_then_is_not_healthy(own: Machine) -> None:
    install(own, "one", "sick", health={"path": "/"}, start_timeout_s=0.5)
    assert "It answers with HTTP 503." in (await own.ask({"op": "app.start", "app": "one"})).error["message"]


async def test_an_app_when_its_program_is_missing_then_says_so(own: Machine) -> None:
    install(own, "one", command=["/no/such/program"])
    assert "no such file" in (await own.ask({"op": "app.start", "app": "one"})).error["message"]


async def test_an_app_when_stopped_then_also_what_left_its_session_is_gone(own: Machine) -> None:
    install(own, "one", "daemon")
    await start(own, "one")
    await until(lambda: len(processes_of(f"CLOUDROUTER_APP={own.state}/apps/one")) == 3)  # with its holder
    await own.ask({"op": "app.stop", "app": "one"})
    assert processes_of(f"CLOUDROUTER_APP={own.state}/apps/one") == []
    assert (await own.ask({"op": "app.stop", "app": "one"})).final["app"]["state"] == "off"


async def test_an_app_when_the_guest_is_killed_then_is_adopted_and_never_there_twice(own: Machine) -> None:
    install(own, "below")
    install(own, "above", requires=["below"])
    before = await start(own, "above")
    own.stop(signal.SIGKILL)
    own.restart()
    app = await until_app(own, "above", state="running")
    assert app["pid"] == before["pid"]
    assert (await say(own, "above", b"same")).stdout == b"same"
    await start(own, "below")
    assert (len(starts(own, "above")), len(starts(own, "below"))) == (1, 1)
    os.kill(before["pid"], signal.SIGKILL)
    assert (await until_app(own, "above", state="running", restarts=1))["pid"] != before["pid"]
    own.stop()
    own.restart()
    assert (await until_app(own, "above", state="running"))["restarts"] == 1


async def test_an_app_when_its_holder_died_with_the_guest_then_is_ended_before_the_next_start(own: Machine) -> None:
    install(own, "one", "daemon")
    before = await start(own, "one")
    held = holding.read_held(f"{own.state}/apps/one/1")
    assert held is not None
    own.stop(signal.SIGKILL)
    os.kill(held.pid, signal.SIGKILL)
    assert alive(before["pid"])
    own.restart()
    app = await start(own, "one")
    assert app["pid"] != before["pid"]
    assert not alive(before["pid"])
    await until(lambda: len(processes_of(f"CLOUDROUTER_APP={own.state}/apps/one")) == 3)


async def test_a_stale_socket_when_an_app_starts_then_is_taken_away(own: Machine) -> None:
    install(own, "one")
    os.makedirs(f"{own.root}/run/one")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{own.root}/run/one/socket")
    await start(own, "one")
    assert (await say(own, "one", b"fresh")).stdout == b"fresh"


async def test_a_link_when_it_stands_for_the_socket_then_is_not_followed(own: Machine) -> None:
    install(own, "one")
    await start(own, "one")
    path = f"{own.root}/run/one/socket"
    os.rename(path, f"{own.root}/elsewhere")
    os.symlink(f"{own.root}/elsewhere", path)
    error = (await say(own, "one", b"x")).error
    assert error["code"] == "unreachable"
    assert "no socket of the machine's user" in error["message"]


async def test_logs_when_asked_for_then_are_those_of_the_last_two_runs(own: Machine) -> None:
    install(own, "one")
    assert (await own.ask({"op": "app.logs", "app": "one"})).stdout == b""
    pids = []
    for _ in range(3):
        pids.append((await start(own, "one"))["pid"])
        await own.ask({"op": "app.stop", "app": "one"})
    lines = [f"begins {pid}\n" for pid in pids]
    assert (await own.ask({"op": "app.logs", "app": "one"})).stdout.decode() == "".join(lines[1:])
    assert (await own.ask({"op": "app.logs", "app": "one", "tail": 1})).stdout.decode() == lines[2]
    assert (await own.ask({"op": "app.logs", "app": "one", "tail": -1})).error["code"] == "usage"


async def test_a_log_when_an_app_writes_without_end_then_is_bounded(own: Machine) -> None:
    line = "head -c 5000000 /dev/zero | tr '\\\\0' x; echo; echo last; exec sleep 600"
    install(own, "one", command=["/bin/sh", "-c", line], start_timeout_s=1)
    await own.ask({"op": "app.start", "app": "one"})
    outcome = await own.ask({"op": "app.logs", "app": "one", "tail": 1})
    assert outcome.stdout == b"last\n"
    folder = f"{own.state}/apps/one/1"
    assert sum(os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder)) < 700_000


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"command": "sh"}, "list of words"),
        ({"view": "page"}, "view"),
        ({"socket": False}, "exactly one"),
        ({"surprise": 1}, "surprise"),
        ({"name": "other"}, "name"),
        ({"requires": ["missing"]}, "missing, which is not in this machine"),
        ({"exports": {"PATH": "/x"}}, "PATH"),
        ({"stop_signal": "SIGTERM"}, "stop_signal"),
        ({"idle_stop_s": 0}, "idle_stop_s"),
    ],
)
async def test_a_broken_app_when_listed_then_is_failed_with_its_reason_and_harms_no_other(
    own: Machine, change: dict[str, Any], why: str
) -> None:
    install(own, "good")
    install(own, "bad", **change)
    install(own, "needy", requires=["bad"])
    app = await app_of(own, "bad")
    assert app["state"] == "failed"
    assert why in app["reason"]
    assert why in (await own.ask({"op": "app.start", "app": "bad"})).error["message"]
    assert "requires the app bad, which cannot be used" in (await app_of(own, "needy"))["reason"]
    assert (await start(own, "good"))["state"] == "running"


async def test_an_apps_file_when_it_is_no_json_then_is_failed(own: Machine) -> None:
    for name, text in (("one", "{"), ("two", "[" * 5000), ("three", json.dumps([1]))):
        os.makedirs(f"{own.root}/apps/{name}")
        with open(f"{own.root}/apps/{name}/app.json", "w") as file:
            file.write(text)
        assert (await app_of(own, name))["state"] == "failed"


async def test_apps_when_they_require_each_other_then_are_failed(own: Machine) -> None:
    install(own, "one", requires=["two"])
    install(own, "two", requires=["one"])
    install(own, "three", requires=["one"])
    assert {(await app_of(own, name))["state"] for name in ("one", "two", "three")} == {"failed"}


@pytest.mark.parametrize("fields", [{}, {"app": 3}, {"app": None}, {"app": ["one"]}])
async def test_a_request_when_it_names_no_app_then_gets_an_error(own: Machine, fields: dict[str, object]) -> None:
    install(own, "one")
    for operation in ("app.start", "app.stop", "app.connect", "app.logs"):
        assert (await own.ask({"op": operation, **fields})).error["code"] == "usage"
    assert (await own.ask({"op": "app.start", "app": "../one"})).error["code"] == "not_found"


async def test_a_stop_when_an_app_is_starting_then_ends_the_start(own: Machine) -> None:
    install(own, "one", "never")
    asking = asyncio.ensure_future(own.ask({"op": "app.start", "app": "one"}))
    await until(lambda: starts(own, "one"))
    assert (await own.ask({"op": "app.stop", "app": "one"})).final["app"]["state"] == "off"
    assert (await asking).error["code"] == "conflict"
    assert processes_of(f"CLOUDROUTER_APP={own.state}/apps/one") == []
