"""What can be seen through the API: filtered lists, names, everything about a machine, its use, its events."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cloudrouter.client.transport import Transport
from cloudrouter.wire import routes
from cloudrouter.wire.errors import CloudRouterError, Conflict, InvalidSpec, NotFound, Unsupported, UsageError

from .conftest import start, wait

SECRET = "s3cret-canary"
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def listed(router: Transport, *pairs: tuple[str, str]) -> list[str]:
    """The names of the machines that a list shows."""
    return [one["name"] for one in router.call("GET", routes.query(routes.MACHINES, pairs))["machines"]]


def settle(router: Transport, machine: str) -> None:
    """Wait until the machine is ready and its events are in the database."""
    wait(router, machine)
    kinds = {"machine.ready", "machine.running"}
    lines = router.lines("GET", f"{routes.EVENTS_FOLLOW}?after=0&machine={machine}")
    while kinds:
        kinds.discard(next(lines)["kind"])
    lines.close()


def raw(router: Transport, request: bytes) -> bytes:
    """The answer to a request as it is."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(router.socket_path)
        sock.sendall(request)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        return answer


def test_list_when_filtered_then_the_router_does_it(router: Transport) -> None:
    for name, labels in (
        ("web-1", {"agent": "me"}),
        ("web-2", {"agent": "you"}),
        ("api", {"agent": "me", "x": "a&b=c"}),
    ):
        wait(router, start(router, name=name, labels=labels)["id"])
    router.call("POST", routes.machine("web-2", "stop"))
    assert listed(router) == ["web-1", "web-2", "api"]
    assert listed(router, ("label", "agent=me")) == ["web-1", "api"]
    assert listed(router, ("label", "agent=me"), ("label", "x=a&b=c")) == ["api"]
    assert listed(router, ("state", "stopped")) == ["web-2"]
    assert listed(router, ("state", "stopped,running"), ("label", "agent=me")) == ["web-1", "api"]
    assert listed(router, ("name", "web-*"), ("sort", "name"), ("reverse", "true")) == ["web-2", "web-1"]
    assert listed(router, ("provider", "docker")) == []
    router.call("DELETE", routes.machine("api"))
    assert listed(router, ("state", "gone")) == ["api"]
    assert listed(router, ("all", "true"), ("label", "agent=me")) == ["web-1", "api"]
    with pytest.raises(UsageError, match="no state 'runing'"):
        listed(router, ("state", "runing"))
    with pytest.raises(UsageError, match="sorted by 'age'"):
        listed(router, ("sort", "age"))


def test_rename_when_done_then_only_the_name_changes(router: Transport) -> None:
    made = wait(router, start(router, name="before")["id"])["machine"]
    renamed = router.call("POST", routes.machine("before", "rename"), {"name": "after"})
    assert {**renamed, "name": ""} == {**made, "name": ""}
    assert router.call("GET", routes.machine("after"))["id"] == made["id"]
    with pytest.raises(NotFound):
        router.call("GET", routes.machine("before"))
    assert router.call("POST", routes.machine("after", "rename"), {"name": "after"})["name"] == "after"
    assert router.call("POST", routes.machine("after", "rename"), {"name": ""})["name"] == ""
    events = router.call("GET", f"{routes.EVENTS}?machine={made['id']}&kind=machine.renamed")["events"]
    assert [event["data"] for event in events] == [
        {"before": "before", "name": "after"},
        {"before": "after", "name": ""},
    ]


def test_rename_when_the_name_cannot_be_had_then_is_refused_as_at_the_start(router: Transport) -> None:
    one, other = start(router, name="one"), start(router, name="other")
    with pytest.raises(Conflict, match=f"'other' is taken by {other['id']}"):
        router.call("POST", routes.machine("one", "rename"), {"name": "other"})
    for name in ("Bad", "cr-x", "a" * 32, "a b"):
        with pytest.raises(InvalidSpec):
            router.call("POST", routes.machine("one", "rename"), {"name": name})
    with pytest.raises(UsageError, match="`name`"):
        router.call("POST", routes.machine("one", "rename"), {})
    router.call("DELETE", routes.machine("other"))
    assert router.call("POST", routes.machine(one["id"], "rename"), {"name": "other"})["name"] == "other"


def test_rename_when_many_want_one_name_at_once_then_one_gets_it(router: Transport) -> None:
    ids = [start(router)["id"] for _ in range(6)]

    def ask(machine: str) -> str:
        own = Transport(router.socket_path)
        try:
            return str(own.call("POST", routes.machine(machine, "rename"), {"name": "wanted"})["name"])
        except CloudRouterError as error:
            return error.code
        finally:
            own.close()

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(ask, ids)) == ["conflict"] * 5 + ["wanted"]


def test_inspect_when_the_machine_runs_then_says_everything_but_secrets(router: Transport) -> None:
    made = start(router, name="web", env={"TOKEN": SECRET}, labels={"agent": "me"}, ca_pem=f"# {SECRET}\n{PEM}")
    assert wait(router, made["id"])["machine"]["state"] == "running"
    seen = router.call("GET", routes.machine("web", "inspect"))
    assert SECRET not in json.dumps(seen)
    assert "token" not in json.dumps(seen["spec"])
    assert (seen["id"], seen["name"], seen["labels"]) == (made["id"], "web", {"agent": "me"})
    assert seen["env_names"] == ["TOKEN"]
    assert seen["ca"]["present"] is True
    assert seen["handle"] == {"machine_id": made["id"]}
    assert seen["observation"]["state"] == "running"
    assert seen["features"]["pause"] is True
    assert seen["guest"]["answers"] is True
    assert seen["guest"]["health"]["machine_id"] == made["id"]
    assert seen["jobs"] == []
    assert seen["events"][0]["kind"] == "machine.pending"
    assert seen["spec"]["memory_bytes"] == 2**28


def test_inspect_when_the_machine_is_stopped_or_gone_then_says_why_the_guest_does_not_answer(router: Transport) -> None:
    made = start(router)
    wait(router, made["id"])
    router.call("POST", routes.machine(made["id"], "stop"))
    seen = router.call("GET", routes.machine(made["id"], "inspect"))
    assert (seen["guest"]["answers"], seen["guest"]["reason"]) == (False, "the machine is stopped")
    assert seen["observation"]["state"] == "stopped"
    router.call("DELETE", routes.machine(made["id"]))
    assert router.call("GET", routes.machine(made["id"], "inspect"))["state"] == "gone"


def test_stats_when_asked_then_measures_those_that_run_and_follows(router: Transport) -> None:
    running, stopped = start(router, name="a")["id"], start(router, name="b")["id"]
    wait(router, running)
    wait(router, stopped)
    router.call("POST", routes.machine(stopped, "stop"))
    usages = router.call("GET", routes.STATS)["stats"]
    assert [(one["id"], one["state"]) for one in usages] == [(running, "running"), (stopped, "stopped")]
    assert usages[0]["memory_bytes"] > 2**20
    assert usages[0]["cpu"] >= 0
    assert {usages[1][key] for key in ("cpu", "memory_bytes", "disk_bytes", "processes")} == {None}
    assert usages[1]["memory_limit_bytes"] == 2**28
    lines = router.lines("GET", f"{routes.STATS_FOLLOW}?machine=a&machine=a&interval=0.5")
    first, second = next(lines), next(lines)
    lines.close()
    assert [one["id"] for one in first["stats"]] == [one["id"] for one in second["stats"]] == [running]
    assert first["stats"][0]["at"] < second["stats"][0]["at"]
    with pytest.raises(NotFound):
        router.call("GET", f"{routes.STATS}?machine=nobody")
    with pytest.raises(UsageError, match="interval"):
        next(router.lines("GET", f"{routes.STATS_FOLLOW}?interval=0"))


def test_events_when_followed_from_the_last_then_tell_what_comes_and_no_more(router: Transport) -> None:
    made = start(router, name="web")
    settle(router, made["id"])
    last = router.call("GET", f"{routes.EVENTS}?tail=0")["last"]
    lines = router.lines("GET", f"{routes.EVENTS_FOLLOW}?after={last}")
    router.call("POST", routes.machine("web", "stop"))
    assert [next(lines)["kind"] for _ in range(2)] == ["machine.stopping", "machine.stopped"]
    router.call("POST", routes.machine("web", "rename"), {"name": "new"})
    event = next(lines)
    assert (event["kind"], event["seq"]) == ("machine.renamed", last + 3)
    lines.close()


def test_events_when_narrowed_then_give_that_part(router: Transport) -> None:
    one, other = start(router, name="one")["id"], start(router, name="other")["id"]
    settle(router, one)
    settle(router, other)
    everything = router.call("GET", routes.EVENTS)
    assert everything["last"] == everything["events"][-1]["seq"]
    assert [event["seq"] for event in router.call("GET", f"{routes.EVENTS}?tail=2")["events"]] == [
        event["seq"] for event in everything["events"][-2:]
    ]
    assert {event["machine_id"] for event in router.call("GET", f"{routes.EVENTS}?machine=one")["events"]} == {one}
    assert router.call("GET", f"{routes.EVENTS}?kind=machine.no*")["events"] == []
    assert router.call("GET", f"{routes.EVENTS}?since=1e9")["events"] == everything["events"]
    assert router.call("GET", f"{routes.EVENTS}?since=-100")["events"] == []
    with pytest.raises(NotFound):
        router.call("GET", f"{routes.EVENTS}?machine=nobody")
    with pytest.raises(UsageError):
        router.call("GET", f"{routes.EVENTS}?tail=100000")


@pytest.mark.parametrize("gpu", ["A100", "A100:2", "T4:1"])
def test_a_gpu_when_nobody_has_one_then_is_unsupported_and_nothing_is_made(router: Transport, gpu: str) -> None:
    with pytest.raises(Unsupported, match="kinds there are: none"):
        start(router, gpu=gpu)
    assert listed(router) == []


@pytest.mark.parametrize("gpu", ["", ":2", "A100:", "A100:0", "A100:x", "a b", "A100:2:3"])
def test_a_gpu_when_it_is_none_then_is_invalid(router: Transport, gpu: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        start(router, gpu=gpu)
    assert caught.value.details["field"] == "gpu"


@pytest.mark.parametrize("path", [routes.MACHINES, f"{routes.MACHINES}/x/extend", f"{routes.MACHINES}/x/rename"])
@pytest.mark.parametrize("opening", [b"[", b'{"labels":'])
def test_a_body_when_it_is_deeper_than_anybody_reads_then_is_a_usage_error(
    router: Transport, path: str, opening: bytes
) -> None:
    body = opening * 100_000
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    answer = raw(router, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    told: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert told["error"]["code"] == "usage"
    assert router.call("GET", routes.MACHINES)["machines"] == []


def test_uninstall_when_there_are_machines_then_is_refused_and_when_there_are_none_then_removes(
    router: Transport,
) -> None:
    made = start(router, name="web")
    plan = router.call("GET", routes.UNINSTALL)
    assert [(one["id"], one["name"]) for one in plan["machines"]] == [(made["id"], "web")]
    with pytest.raises(Conflict, match=f"still one machine: {made['id']}"):
        router.call("POST", routes.UNINSTALL, {})
    router.call("DELETE", routes.machine("web"))
    assert router.call("POST", routes.UNINSTALL, {}) == {"removed": [], "kept": [], "errors": []}
