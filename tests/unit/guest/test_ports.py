"""What listens in the machine, where a tunnel can reach it."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.guest.appmaker import install
from tests.unit.guest.machine import Machine, alive

from cloudrouter.guest import netfiles, ports, tunnels
from cloudrouter.wire.errors import UsageError


async def listed(machine: Machine) -> dict[int, dict[str, Any]]:
    return {one["port"]: one for one in (await machine.ask({"op": "ports"})).final["ports"]}


def listener(stack: ExitStack, host: str, *, dual: bool = False) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = stack.enter_context(socket.socket(family))
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
    sock.bind((host, 0))
    sock.listen()
    return int(sock.getsockname()[1])


async def test_ports_when_something_listens_then_are_told_with_whose_they_are(shared: Machine) -> None:
    with ExitStack() as stack:
        local, everywhere = listener(stack, "127.0.0.1"), listener(stack, "0.0.0.0")
        six, both = listener(stack, "::1"), listener(stack, "::", dual=True)
        found = await listed(shared)
        assert [found[port]["addresses"] for port in (local, everywhere, six, both)] == [
            ["127.0.0.1"],
            ["0.0.0.0"],
            ["::1"],
            ["::"],
        ]
        with open("/proc/self/comm") as file:
            name = file.read().strip()
        assert (found[local]["pid"], found[local]["process"], found[local]["app"]) == (os.getpid(), name, None)
    assert local not in await listed(shared)


async def test_ports_when_a_tunnel_cannot_reach_them_then_are_not_told(shared: Machine) -> None:
    with ExitStack() as stack:
        other = listener(stack, "127.0.0.2")
        mapped = listener(stack, "::ffff:127.0.0.1", dual=True)
        found = await listed(shared)
        assert other not in found
        assert found[mapped]["addresses"] == ["127.0.0.1"]


async def test_a_port_when_it_listens_on_two_addresses_then_is_told_once(shared: Machine) -> None:
    with ExitStack() as stack:
        port = listener(stack, "127.0.0.1")
        six = stack.enter_context(socket.socket(socket.AF_INET6))
        six.bind(("::1", port))
        six.listen()
        assert (await listed(shared))[port]["addresses"] == ["127.0.0.1", "::1"]


async def test_an_apps_port_when_listed_then_names_the_app(own: Machine) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    install(own, "one", port=port)
    app = (await own.ask({"op": "app.start", "app": "one"})).final["app"]
    found = (await listed(own))[port]
    assert (found["app"], found["pid"], found["process"]) == ("one", app["pid"], os.path.basename(sys.executable)[:15])
    assert alive(app["pid"])


class Collected:
    """A stream that keeps its final message."""

    def __init__(self) -> None:
        self.final: dict[str, Any] = {}

    async def finish(self, word: str, body: Any) -> None:
        self.final[word] = body


async def test_the_guests_own_port_when_it_has_one_then_is_neither_told_nor_reached() -> None:
    with ExitStack() as stack:
        port = listener(stack, "127.0.0.1")
        guest: Any = SimpleNamespace(port=None, apps=None, settings=SimpleNamespace(user=""))
        for own, wanted in ((None, True), (port, False)):
            guest.port, stream = own, Collected()
            await ports.run(cast("Any", stream), {}, guest)
            assert (port in [one["port"] for one in stream.final["ports"]]) is wanted
        with pytest.raises(UsageError, match="own door"):
            await tunnels.run(cast("Any", Collected()), {"port": port}, guest)


def test_addresses_when_read_from_the_kernels_tables_then_are_those_of_people() -> None:
    table = {
        (b"0100007F:1F90", socket.AF_INET): ("127.0.0.1", 8080),
        (b"00000000:0016", socket.AF_INET): ("0.0.0.0", 22),
        (b"00000000000000000000000001000000:0BB8", socket.AF_INET6): ("::1", 3000),
        (b"0000000000000000FFFF00000100007F:0BB8", socket.AF_INET6): ("127.0.0.1", 3000),
        (b"00000000000000000000000000000000:FFFF", socket.AF_INET6): ("::", 65535),
    }
    if sys.byteorder == "little":
        for (text, family), wanted in table.items():
            assert netfiles._address(text, family) == wanted


def test_a_process_when_it_has_a_name_of_control_characters_then_these_are_not_told() -> None:
    with open("/proc/self/comm", "r+b") as file:
        before = file.read()
        file.seek(0)
        file.write(b"a\x1b[2Jb")
        file.flush()
        try:
            assert ports._name(os.getpid()) == "a?[2Jb"
        finally:
            file.seek(0)
            file.write(before.strip())
