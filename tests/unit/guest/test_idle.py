"""Apps that nobody uses are stopped, by a clock of the test, and apps that fail pause longer and longer."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.unit.guest.appmaker import install, starts
from tests.unit.guest.machine import MACHINE_ID, TOKEN, Machine, alive

from cloudrouter.guest.appkeeping import Clock
from cloudrouter.guest.server import Guest, prepare_folders
from cloudrouter.guest.settings import Settings
from cloudrouter.guest.supervising import LOOK_S, Supervisor
from cloudrouter.wire.errors import Unreachable


class Hands(Clock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        if seconds < 0.5:  # between two questions whether it answers
            await asyncio.sleep(seconds)
            return
        self.pauses.append(seconds)
        end = self.time + seconds
        while self.time < end:
            await asyncio.sleep(0.01)


class Bench:
    """A guest in this process."""

    def __init__(self, machine: Machine) -> None:
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        places = (machine.home, machine.workspace, f"{machine.root}/state2")
        apps = {"apps": f"{machine.root}/apps", "apps_run": f"{machine.root}/run2"}
        settings = Settings(MACHINE_ID, digest, "unix:/x", "", *places, 1 << 20, **apps)
        prepare_folders(settings)
        self.machine = machine
        self.clock = Hands()
        self.guest = Guest(settings)
        self._supervisor: Supervisor | None = None

    @property
    def supervisor(self) -> Supervisor:
        if self._supervisor is None:
            installed = self.guest.config.apps()
            assert installed is not None
            self._supervisor = Supervisor(self.guest, installed, self.clock)
        return self._supervisor

    async def pass_time(self, seconds: float) -> None:
        self.clock.time += seconds
        self.supervisor.look_for_idle()
        while self.supervisor._tasks:
            await asyncio.wait(self.supervisor._tasks)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)

    @property
    def pauses(self) -> list[float]:
        """Those of apps that failed, not those between two looks for idle ones."""
        return [pause for pause in self.clock.pauses if pause != LOOK_S]

    def state(self, name: str) -> str:
        return self.supervisor.find(name).state


@pytest.fixture
async def bench(own: Machine) -> AsyncIterator[Bench]:
    bench = Bench(own)
    yield bench
    for app in list(bench.supervisor._apps.values()):
        await bench.supervisor.stop(app)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)


async def test_an_app_when_nobody_uses_it_for_long_enough_then_is_stopped_and_says_why(bench: Bench) -> None:
    install(bench.machine, "one", idle_stop_s=100)
    app = await bench.supervisor.start("one", hurry=True)
    await bench.pass_time(99)
    assert app.state == "running"
    await bench.supervisor.start("one", hurry=True)
    await bench.pass_time(99)
    assert app.state == "running"
    await bench.pass_time(2)
    assert (app.state, app.reason) == ("off", "It was stopped: nobody used it for 100 s.")
    assert not alive(starts(bench.machine, "one")[0])


async def test_an_app_when_somebody_is_at_it_then_is_not_idle_and_counts_from_its_leaving(bench: Bench) -> None:
    install(bench.machine, "one", idle_stop_s=100)
    app = await bench.supervisor.start("one", hurry=True)
    with bench.supervisor.using(app):
        await bench.pass_time(1000)
        assert app.state == "running"
    await bench.pass_time(99)
    assert app.state == "running"
    await bench.pass_time(2)
    assert app.state == "off"


async def test_an_app_when_it_may_be_unused_for_ever_then_is_never_stopped(bench: Bench) -> None:
    install(bench.machine, "one", idle_stop_s=None)
    app = await bench.supervisor.start("one", hurry=True)
    await bench.pass_time(10_000_000)
    assert app.state == "running"


async def test_a_required_app_when_its_dependent_is_used_or_runs_then_is_not_idle(bench: Bench) -> None:
    install(bench.machine, "below", idle_stop_s=100)
    install(bench.machine, "above", idle_stop_s=200, requires=["below"])
    above = await bench.supervisor.start("above", hurry=True)
    below = bench.supervisor.find("below")
    await bench.pass_time(150)
    assert below.state == "running"  # since above runs
    with bench.supervisor.using(below):
        await bench.pass_time(150)
        assert above.state == "running"  # since below is used
    await bench.pass_time(150)
    assert (above.state, below.state) == ("running", "running")
    await bench.pass_time(51)
    assert (above.state, below.state) == ("off", "running")
    await bench.pass_time(1)
    assert below.state == "off"


async def test_an_app_when_it_crashes_again_and_again_then_pauses_longer_until_nobody_wants_it(bench: Bench) -> None:
    install(bench.machine, "one", "fail", idle_stop_s=1000)
    app = bench.supervisor.find("one")
    with pytest.raises(Unreachable, match="exit code 3"):
        await bench.supervisor.start("one", hurry=True)
    for count in range(1, 8):
        await bench.until(lambda count=count: len(bench.pauses) == count)  # type: ignore[misc]
        bench.clock.time += 30
    await bench.until(lambda: len(bench.pauses) == 8)
    assert bench.pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert len(starts(bench.machine, "one")) == 8
    with pytest.raises(Unreachable, match="tried again in 30 s"):
        await bench.supervisor.start("one", hurry=False)
    assert app.restarts == 7
    await bench.pass_time(1001)
    assert (app.state, app.wanted) == ("failed", False)
    assert "tried again" not in app.reason


async def test_a_crash_when_it_is_long_past_then_is_forgotten(bench: Bench) -> None:
    install(bench.machine, "one", idle_stop_s=None)
    app = await bench.supervisor.start("one", hurry=True)
    for count in (1, 2):
        os.kill(starts(bench.machine, "one")[-1], signal.SIGKILL)
        await bench.until(lambda count=count: len(bench.pauses) == count)  # type: ignore[misc]
        bench.clock.time += 2
        await bench.until(lambda: app.state == "running")
        assert "signal KILL" in app.reason
        bench.clock.time += 61
        assert app.reason == ""
    assert bench.pauses == [1, 1]


async def test_connections_to_a_port_when_a_program_makes_them_then_count_as_use(bench: Bench) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    install(bench.machine, "one", port=port, idle_stop_s=100)
    app: Any = await bench.supervisor.start("one", hurry=True)
    with socket.create_connection(("127.0.0.1", port)):
        await bench.pass_time(1000)
        assert app.state == "running"
    await bench.until(lambda: not bench.supervisor._clients(app))
    await bench.pass_time(101)
    assert app.state == "off"


async def test_an_app_when_a_program_holds_its_file_then_is_used_until_that_ends(bench: Bench) -> None:
    install(bench.machine, "one", idle_stop_s=100)
    app: Any = await bench.supervisor.start("one", hurry=True)
    with open(f"{app.place}/used", "w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert (await bench.supervisor.describe(app)).clients == 1
        await bench.pass_time(1000)
        assert app.state == "running"
    await bench.pass_time(101)
    assert app.state == "off"


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
async def test_what_is_no_file_when_it_stands_there_then_is_no_use(bench: Bench, kind: str) -> None:
    install(bench.machine, "one", idle_stop_s=100)
    app: Any = await bench.supervisor.start("one", hurry=True)
    path = f"{app.place}/used"
    {"fifo": os.mkfifo, "link": lambda at: os.symlink("/dev/null", at), "folder": os.mkdir}[kind](path)
    await bench.pass_time(101)
    assert app.state == "off"
