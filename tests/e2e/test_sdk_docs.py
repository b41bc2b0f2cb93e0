"""The SDK against real machines: every example of its guide, many commands at once, starts that are cancelled."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloudrouter import AsyncClient, AsyncMachine, Client
from tests.e2e.conftest import User
from tests.unit.docs.examples import Example, check_output, read_examples, run_example

pytestmark = pytest.mark.engine

EXAMPLES = read_examples(Path(__file__).parents[2] / "docs" / "sdk.md")


@pytest.fixture
async def client(resident: User, home: str) -> AsyncIterator[AsyncClient]:
    """A client of the resident's router, which `home` has started."""
    assert home
    async with AsyncClient(resident.env["CLOUDROUTER_RUNTIME_DIR"] + "/router.sock") as made:
        yield made


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_example_when_run_on_real_machines_then_prints_what_the_page_says(
    example: Example, resident: User, tmp_path: Path
) -> None:
    check_output(example, run_example(example, tmp_path, resident.env))


async def test_hundred_commands_at_once_when_run_on_one_machine_then_all_come_back(
    client: AsyncClient, home: str
) -> None:
    machine = await client.get(home)
    results = await asyncio.gather(*(machine.run(f"echo {number}; exit {number % 7}") for number in range(100)))
    assert [result.out for result in results] == [f"{number}\n" for number in range(100)]
    assert [result.exit_code for result in results] == [number % 7 for number in range(100)]


async def test_start_when_cancelled_at_any_step_then_leaves_no_container(client: AsyncClient, resident: User) -> None:
    before = {one.id for one in await client.list()}
    for phase in ("creating", "created", "booted", "ready"):
        task: asyncio.Task[AsyncMachine]

        def note(event: dict[str, object], phase: str = phase) -> None:
            if event["phase"] == phase:
                task.cancel()  # noqa: B023 - the task of this turn, which ends within it

        task = asyncio.create_task(client.start(progress=note))
        try:
            await asyncio.wait_for(task, 60)
        except asyncio.CancelledError:
            pass
        else:
            pytest.fail(f"nothing was cancelled at {phase}")
        assert {one.id for one in await client.list()} == before, phase
    assert len(containers(resident)) == len(before)


async def test_run_when_cancelled_then_its_processes_are_gone(client: AsyncClient, home: str) -> None:
    machine = await client.get(home)
    async with machine.exec("echo up; exec sleep 4242") as execution:
        assert (await anext(aiter(execution))).data == b"up\n"
        task = asyncio.create_task(execution.wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    deadline = time.monotonic() + 20
    while (await machine.run("pgrep -f 'sleep 424[2]'")).exit_code == 0:
        assert time.monotonic() < deadline


async def test_upload_when_much_is_sent_then_the_loop_goes_on(client: AsyncClient, home: str, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 200_000_000)
    machine = await client.get(home)
    task = asyncio.create_task(machine.files.upload(tmp_path / "big", "big"))
    commands = 0
    while not task.done():
        assert (await machine.run("true")).ok
        commands += 1
    assert (await task)["bytes"] == 200_000_000
    assert commands > 0
    assert (await machine.run("stat -c %s big")).out == "200000000\n"
    await machine.run("rm big")


def test_forward_when_the_router_is_killed_then_new_connections_work_again(user: User, tmp_path: Path) -> None:
    with Client(user.env["CLOUDROUTER_RUNTIME_DIR"] + "/router.sock") as client:
        machine = client.get(user.start())
        job = machine.start_job("python3 -m http.server 8000 --bind 127.0.0.1")
        machine.wait_ready(port=8000, job=job)
        with machine.forward(8000) as forward:
            fetch = ["curl", "-sf", "-o", str(tmp_path / "page"), forward.url]
            subprocess.run(fetch, check=True, timeout=30)
            subprocess.run(["kill", "-9", str(user.json("server", "status")["pid"])], check=True)
            user.ok("ls")  # starts a new router
            subprocess.run(fetch, check=True, timeout=30)


def containers(user: User) -> list[str]:
    """The router's containers in the engine."""
    label = f"label=cloudrouter.dev/router={user.router_id()}"
    done = subprocess.run(
        ["docker", "ps", "-aq", "--filter", label, "--filter", "label=cloudrouter.dev/machine"],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()
