"""The part of the providers' contract about living machines: stopping, freezing, measuring, reaching them."""

from __future__ import annotations

import asyncio
import random

import pytest

from cloudrouter.providers import base
from cloudrouter.providers.base import Provider
from cloudrouter.providers.errors import (
    InvalidSpec,
    NoCapacity,
    NotFound,
    NotRunning,
    Unreachable,
)
from cloudrouter.testing.inside import exchange
from cloudrouter.testing.provider_ground import Ground
from cloudrouter.testing.stage import Stage

UNTIL_CLOSED = """
import socket, sys, time
while not socket.socket().connect_ex(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(0.02)
"""

HOLD = """
import time
held = bytearray(64 << 20)
held[::4096] = b'x' * (16 << 10)
open('held', 'w').close()
time.sleep(999)
"""
"""Touches 64 MiB, says so with a file, and goes on."""


class LifeChecks(Ground):
    """What may be done to a machine that is there."""

    # Life

    async def test_stop_and_start_when_repeated_then_are_success(self, provider: Provider, stage: Stage) -> None:
        handle, _spec, inside = await self.born(provider, stage)
        await inside.run("true")
        for _ in range(2):
            await provider.stop(handle, grace_s=2.0)
            assert (await provider.inspect(handle)).state == base.STOPPED
        for _ in range(2):
            await provider.start(handle)
            await self.until(provider, handle, base.RUNNING)
        assert (await inside.run("true")).code == 0

    async def test_stop_when_commands_ignore_their_end_then_ends_them_all(
        self, provider: Provider, stage: Stage
    ) -> None:
        if not provider.features().stop_keeps_disk:
            pytest.skip("nothing tells afterwards what went on")
        handle, _spec, inside = await self.born(provider, stage)
        # A beat takes the place of the last one whole: a command that is killed while it writes leaves a number, too.
        beat = "date +%s%N > ~/beat.new; mv ~/beat.new ~/beat"
        stubborn = f"trap '' TERM HUP INT; while :; do {beat}; sleep 0.02; done"
        await inside.run("sh", "-c", f'setsid sh -c "{stubborn}" >/dev/null 2>&1 </dev/null &')
        await inside.run("sh", "-c", "until [ -s ~/beat ]; do sleep 0.02; done")
        await provider.stop(handle, grace_s=0.5)
        assert (await provider.inspect(handle)).state == base.STOPPED
        await provider.start(handle)
        done = await inside.run("sh", "-c", "cat ~/beat; sleep 0.3; cat ~/beat")
        first, second = done.stdout.split()
        assert first == second

    async def test_disk_when_stopped_and_started_then_is_kept_if_and_only_if_the_flag_says_so(
        self, provider: Provider, stage: Stage
    ) -> None:
        handle, _spec, inside = await self.born(provider, stage)
        await inside.run("sh", "-c", "echo kept > ~/mark && sync")
        await provider.stop(handle)
        await provider.start(handle)
        done = await inside.run("sh", "-c", "cat ~/mark")
        assert (done.stdout == b"kept\n") is provider.features().stop_keeps_disk

    async def test_pause_when_repeated_then_freezes_and_keeps_memory(self, provider: Provider, stage: Stage) -> None:
        if not isinstance(provider, base.Pausable):
            pytest.skip("this provider cannot pause")
        handle, _spec, inside = await self.born(provider, stage)
        await inside.run("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $! > ~/pid")
        for _ in range(2):
            await provider.pause(handle)
            assert (await provider.inspect(handle)).state == base.PAUSED
        with pytest.raises(NotRunning):
            await provider.dial(handle, port=_spec.boot.port)
        for _ in range(2):
            await provider.resume(handle)
            await self.until(provider, handle, base.RUNNING)
        done = await inside.run("sh", "-c", "kill -0 $(cat ~/pid)")
        assert (done.code == 0) is provider.features().pause_keeps_memory

    async def test_pause_when_stopped_then_is_not_running_and_when_gone_then_is_not_found(
        self, provider: Provider, stage: Stage
    ) -> None:
        if not isinstance(provider, base.Pausable):
            pytest.skip("this provider cannot pause")
        handle, _spec, _inside = await self.born(provider, stage)
        await provider.stop(handle, grace_s=0)
        with pytest.raises(NotRunning):
            await provider.pause(handle)
        await provider.delete(handle)
        with pytest.raises(NotFound):
            await provider.resume(handle)

    async def test_stop_and_delete_when_frozen_then_work(self, provider: Provider, stage: Stage) -> None:
        if not isinstance(provider, base.Pausable):
            pytest.skip("this provider cannot pause")
        handle, _spec, _inside = await self.born(provider, stage)
        await provider.pause(handle)
        await provider.stop(handle, grace_s=1)
        assert (await provider.inspect(handle)).state == base.STOPPED
        await provider.start(handle)
        await provider.pause(handle)
        await provider.delete(handle)
        assert (await provider.inspect(handle)).state == base.GONE

    async def test_resize_when_more_is_given_then_it_is_there_and_what_cannot_be_is_refused(
        self, provider: Provider, stage: Stage
    ) -> None:
        if not isinstance(provider, base.Resizable):
            pytest.skip("this provider cannot resize")
        handle, spec, inside = await self.born(provider, stage, memory_bytes=200 << 20)
        hungry = ("python3", "-c", "bytearray(300 << 20)")
        assert (await inside.run(*hungry)).code != 0
        await provider.resize(handle, cpu=spec.cpu, memory_bytes=600 << 20)
        assert (await inside.run(*hungry)).code == 0
        with pytest.raises((InvalidSpec, NoCapacity)):
            await provider.resize(handle, cpu=spec.cpu, memory_bytes=1 << 60)
        await provider.delete(handle)
        with pytest.raises(NotFound):
            await provider.resize(handle, cpu=spec.cpu, memory_bytes=spec.memory_bytes)

    async def test_console_when_read_then_is_bounded_and_when_gone_then_is_not_found(
        self, provider: Provider, stage: Stage
    ) -> None:
        if not isinstance(provider, base.Console):
            pytest.skip("this provider has no console")
        handle, _spec, _inside = await self.born(provider, stage)
        assert len(await provider.read_console(handle, limit_bytes=10)) <= 10
        await provider.delete(handle)
        with pytest.raises(NotFound):
            await provider.read_console(handle)

    async def test_dial_when_connected_then_carries_a_mebibyte_both_ways_and_a_half_close(
        self, provider: Provider, stage: Stage
    ) -> None:
        handle, _spec, inside = await self.born(provider, stage)
        data = random.Random(1).randbytes(1 << 20)
        async with inside.serving_echo() as port:
            sock = await provider.dial(handle, port=port)
            with sock:
                assert sock.gettimeout() == 0.0
                async with asyncio.timeout(self.patience_s):
                    assert await exchange(sock, data) == data

    async def test_dial_when_nothing_listens_then_is_unreachable(self, provider: Provider, stage: Stage) -> None:
        handle, _spec, inside = await self.born(provider, stage)
        async with inside.serving_echo() as port:
            pass
        # The server ends soon after its stream.
        await inside.run("python3", "-c", UNTIL_CLOSED, str(port))
        with pytest.raises(Unreachable):
            await provider.dial(handle, port=port)

    async def test_dial_when_stopped_or_gone_then_is_not_running(self, provider: Provider, stage: Stage) -> None:
        handle, spec, _inside = await self.born(provider, stage)
        await provider.stop(handle, grace_s=0)
        with pytest.raises(NotRunning):
            await provider.dial(handle, port=spec.boot.port)
        await provider.delete(handle)
        with pytest.raises(NotRunning):
            await provider.dial(handle, port=spec.boot.port)

    # Measuring

    async def test_measure_when_a_machine_works_then_its_cpu_and_processes_are_counted(
        self, provider: Provider, stage: Stage
    ) -> None:
        if not isinstance(provider, base.Measurable):
            pytest.skip("this provider cannot measure")
        handle, _spec, inside = await self.born(provider, stage)
        await inside.run("true")
        before = await provider.measure(handle)
        await inside.run(
            "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 </dev/null & setsid sleep 1000 >/dev/null 2>&1 &"
        )
        await inside.run("python3", "-c", "import time\nwhile time.process_time() < 0.5: pass")
        after = await provider.measure(handle)
        assert before.cpu_seconds is not None
        assert after.cpu_seconds is not None
        assert 0.4 < after.cpu_seconds - before.cpu_seconds < 30
        assert before.processes is not None
        assert after.processes is not None
        assert after.processes >= before.processes + 2
        assert before.memory_bytes is not None
        assert 1 << 20 < before.memory_bytes < 512 << 20

    async def test_measure_when_the_machine_holds_memory_then_it_is_counted(
        self, provider: Provider, stage: Stage
    ) -> None:
        if not isinstance(provider, base.Measurable):
            pytest.skip("this provider cannot measure")
        handle, _spec, inside = await self.born(provider, stage)
        await inside.run("true")
        before = await provider.measure(handle)
        await inside.run("sh", "-c", f'cd; setsid python3 -c "{HOLD}" >/dev/null 2>&1 </dev/null &')
        await inside.run("sh", "-c", "cd; until [ -e held ]; do sleep 0.02; done")
        after = await provider.measure(handle)
        assert (after.memory_bytes or 0) - (before.memory_bytes or 0) > 60 << 20

    async def test_measure_when_stopped_then_is_not_running_and_when_gone_then_is_not_found(
        self, provider: Provider, stage: Stage
    ) -> None:
        if not isinstance(provider, base.Measurable):
            pytest.skip("this provider cannot measure")
        handle, _spec, inside = await self.born(provider, stage)
        await provider.measure(handle)
        await provider.stop(handle, grace_s=0.5)
        with pytest.raises(NotRunning):
            await provider.measure(handle)
        await provider.start(handle)
        await inside.run("true")
        assert (await provider.measure(handle)).cpu_seconds is not None
        await provider.delete(handle)
        with pytest.raises(NotFound):
            await provider.measure(handle)
