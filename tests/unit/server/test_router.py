"""The router through the real client, with machines that are local processes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.client.transport import Transport
from cloudrouter.providers.memory import MemoryProvider
from cloudrouter.server.settings import Settings
from cloudrouter.testing.live_router import live_router
from cloudrouter.wire import routes
from cloudrouter.wire.errors import CloudRouterError, Conflict, InvalidSpec, NotFound, NotRunning, UsageError

from .conftest import start, wait


def test_a_machine_from_birth_to_its_end(router: Transport) -> None:
    made = start(router, name="web")
    assert made["state"] == "pending"
    ready = wait(router, made["id"])["machine"]
    assert ready["state"] == "running"
    assert ready["ready_ms"] >= 0
    stopped = router.call("POST", routes.machine("web", "stop"))
    assert (stopped["state"], stopped["started_at"]) == ("stopped", None)
    assert router.call("POST", routes.machine("web", "resume"))["state"] == "running"
    assert router.call("DELETE", routes.machine("web"))["state"] == "gone"
    assert router.call("GET", routes.MACHINES)["machines"] == []
    assert [one["id"] for one in router.call("GET", routes.MACHINES + "?all=true")["machines"]] == [made["id"]]
    assert router.call("GET", routes.machine(made["id"]))["state"] == "gone"
    kinds = [event["kind"] for event in router.call("GET", f"{routes.EVENTS}?machine={made['id']}")["events"]]
    assert kinds == [
        "machine.pending",
        "machine.starting",
        "machine.running",
        "machine.ready",
        "machine.stopping",
        "machine.stopped",
        "machine.resuming",
        "machine.running",
        "machine.deleting",
        "machine.gone",
    ]


def test_the_same_key_is_the_same_machine(router: Transport) -> None:
    first, second = start(router, key="k1"), start(router, key="k1")
    other = start(router, key="k2")
    assert first["id"] == second["id"] != other["id"]
    router.call("DELETE", routes.machine(first["id"]))
    assert start(router, key="k1")["state"] == "gone"


def test_many_starts_of_one_folder_at_once_get_a_name_each(router: Transport) -> None:
    def ask(_number: int) -> str:
        own = Transport(router.socket_path)
        try:
            return str(start(own, labels={"folder": "proj"})["name"])
        finally:
            own.close()

    with ThreadPoolExecutor(8) as pool:
        names = sorted(pool.map(ask, range(8)))
    assert names == ["proj", *(f"proj-{number}" for number in range(2, 9))]


def test_the_same_request_twice_at_once_is_one_machine(router: Transport) -> None:
    def ask(_number: int) -> str:
        own = Transport(router.socket_path)
        try:
            return str(start(own, key="same", name="twin")["id"])
        finally:
            own.close()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert len(router.call("GET", routes.MACHINES)["machines"]) == 1


def test_a_machine_larger_than_the_host_is_refused_with_its_numbers(router: Transport) -> None:
    with pytest.raises(InvalidSpec, match="larger than this host: "):
        start(router, cpu=5000)


def test_a_provisional_machine_becomes_running_when_confirmed(router: Transport) -> None:
    made = start(router, provisional=True)
    assert wait(router, made["id"])["machine"]["state"] == "starting"
    assert router.call("POST", routes.machine(made["id"], "confirm"))["state"] == "running"
    assert router.call("POST", routes.machine(made["id"], "confirm"))["state"] == "running"


def test_a_delete_during_the_start_ends_it(router: Transport, tmp_path: Path) -> None:
    made = start(router)
    assert router.call("DELETE", routes.machine(made["id"]))["state"] == "gone"
    assert not list((tmp_path / "machines").glob("cr_*"))


def test_extend_is_exact(router: Transport) -> None:
    made = start(router)
    before = time.time()
    router.call("POST", routes.machine(made["id"], "extend"), {"seconds": 100})
    shown = router.call("GET", routes.machine(made["id"]))["expires_at"]
    from datetime import datetime

    assert before + 100 - 0.001 <= datetime.fromisoformat(shown).timestamp() <= time.time() + 100


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (UsageError, {"nmae": "x"}),
        (UsageError, {"cpu": "many"}),
        (InvalidSpec, {"name": "Bad"}),
        (InvalidSpec, {"size": "huge"}),
        (InvalidSpec, {"memory_bytes": 1}),
        (InvalidSpec, {"env": {"A=B": "x"}}),
        (InvalidSpec, {"timeout_seconds": -1}),
    ],
)
def test_a_wrong_start_is_refused_and_leaves_nothing(router: Transport, kind: type, body: dict[str, Any]) -> None:
    with pytest.raises(CloudRouterError) as caught:
        start(router, **body)
    assert isinstance(caught.value, kind)
    assert caught.value.message
    assert router.call("GET", routes.MACHINES)["machines"] == []


def test_a_taken_name_is_a_conflict_and_a_folder_name_gets_a_number(router: Transport) -> None:
    start(router, name="web")
    with pytest.raises(Conflict, match="taken"):
        start(router, name="web")
    assert start(router, labels={"folder": "web"})["name"] == "web-2"
    assert start(router, labels={"folder": "Web"})["name"] == "web-3"


def test_verbs_on_what_is_not_there(router: Transport) -> None:
    for verb in ("stop", "resume", "confirm"):
        with pytest.raises(NotFound):
            router.call("POST", routes.machine("nothing", verb))
    with pytest.raises(NotFound):
        router.call("GET", "/v1/no-such-path")
    with pytest.raises(UsageError):
        router.call("POST", routes.MACHINES, [1])


def test_a_stopped_machine_cannot_be_spoken_to(router: Transport) -> None:
    made = start(router)
    wait(router, made["id"])
    router.call("POST", routes.machine(made["id"], "stop"))
    with router.stream(routes.machine(made["id"], "stream")) as stream:
        stream.send_text('{"op": "health"}')
        import json

        kind, text = stream.receive() or ("", b"{}")
    assert kind == "text"
    assert json.loads(text)["error"]["code"] == NotRunning.code


def test_clients_may_not_configure_the_guest(router: Transport) -> None:
    made = start(router)
    wait(router, made["id"])
    with router.stream(routes.machine(made["id"], "stream")) as stream:
        stream.send_text('{"op": "configure", "env": {}}')
        import json

        _, text = stream.receive() or ("", b"{}")
    assert json.loads(text)["error"]["code"] == "usage"


def test_a_router_that_starts_again_finds_its_machines(settings: Settings, tmp_path: Path) -> None:
    def make(router_id: str) -> dict[str, Any]:
        return {
            "memory": MemoryProvider(router_id=router_id, clock=time.time, config={"root": str(tmp_path / "machines")})
        }

    with live_router(settings, make) as router:
        made = start(router)
        wait(router, made["id"])
    with live_router(settings, make) as router:
        (found,) = router.call("GET", routes.MACHINES)["machines"]
        assert (found["id"], found["state"]) == (made["id"], "running")
        assert router.call("DELETE", routes.machine(made["id"]))["state"] == "gone"


def test_openapi_names_every_verb(router: Transport) -> None:
    paths = router.call("GET", "/schema/openapi.json")["paths"]
    for verb in ("wait", "confirm", "stop", "resume", "extend"):
        assert f"/v1/machines/{{ref}}/{verb}" in paths
