"""The package cache inside a machine: on whole or not at all, and never in the way of the true registries."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.guest.machine import Machine
from tests.unit.guest.test_config import made_config

from cloudrouter.guest import config, packages, relay, trust
from cloudrouter.guest.marks import BEGIN, END, replace_marked
from cloudrouter.guest.packages import Packages, check_wanted
from cloudrouter.guest.relay import Relay
from cloudrouter.guest.resolving import Resolver, make_question, read_answer, read_servers
from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.packages import HOSTS, NPM, PYPI, address_of

PEM = "-----BEGIN CERTIFICATE-----\nTUlJQmFrZQ==\n-----END CERTIFICATE-----\n"
WANTED = {"ca_pem": PEM, "name_hash": "0123abcd", "nonce": "a-nonce"}
HOSTS_BEFORE = "127.0.0.1\tlocalhost\n172.28.0.2\tcr-23456789"


class Server:
    """Somebody who listens: answers each greeting with a word, or does what else it is told."""

    def __init__(self, word: bytes = b"answer:", *, mode: str = "answer") -> None:
        self.word, self.mode = word, mode
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "close":
            writer.close()
            return
        while data := await reader.read(65536):
            self.heard.append(data)
            if self.mode == "answer":
                writer.write(self.word + data)
            elif self.mode == "close after hearing":
                writer.close()
        if self.mode == "answer":
            writer.write(b"end")
        writer.close()


@asynccontextmanager
async def setting(
    door_mode: str | None, folder: str, *, resolves: bool = True
) -> AsyncIterator[tuple[Relay, Server, Server]]:
    """A relay between a door (None: nobody listens) and a registry, on ports of the tests' own."""
    door, registry = Server(b"cache:", mode=door_mode or ""), Server(b"registry:")
    path = f"{folder}/socket"
    servers: list[Any] = [await asyncio.start_server(registry.serve, "127.0.0.1", 0)]
    if door_mode is not None:
        servers.append(await asyncio.start_unix_server(door.serve, path))

    class Known(Resolver):
        async def resolve(self, host: str) -> list[str]:
            if not resolves:
                raise OSError("nobody knows")
            return ["127.0.0.1"]

    port = servers[0].sockets[0].getsockname()[1]
    made = Relay(path, resolver=Known(), listen_at=lambda _host: ("127.0.0.1", 0), registry_port=port)
    made.open()
    try:
        yield made, door, registry
    finally:
        await made.aclose()
        for server in servers:
            server.close()


async def talk(made: Relay, *words: bytes, host: str = NPM) -> bytes:
    """Say words one after the other, each after an answer, and hear all to the end."""
    reader, writer = await asyncio.open_connection(*made.addresses()[host])
    heard = b""
    async with asyncio.timeout(20):
        for word in words:
            writer.write(word)
            got = await reader.read(65536)
            heard += got
            if not got:
                break
        if writer.can_write_eof():
            writer.write_eof()
        heard += await reader.read()
    writer.close()
    return heard


async def test_a_connection_when_the_cache_answers_then_goes_there_in_both_directions() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with setting("answer", folder) as (made, door, registry):
            assert await talk(made, b"one", b"two") == b"cache:onecache:twoend"
            assert (door.heard, registry.heard) == ([b"one", b"two"], [])


@pytest.mark.parametrize("mode", [None, "close", "close after hearing"])
async def test_a_connection_when_the_cache_is_away_or_full_then_reaches_the_registry_whole(mode: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with setting(mode, folder) as (made, _door, registry):
            for _ in range(3):
                assert await talk(made, b"one", b"two") == b"registry:oneregistry:twoend"
            assert registry.heard == [b"one", b"two"] * 3


async def test_a_cache_when_it_hangs_then_costs_one_wait_and_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "FIRST_ANSWER_S", 0.2)
    with tempfile.TemporaryDirectory() as folder:
        async with setting("hang", folder) as (made, door, registry):
            assert await talk(made, b"one") == b"registry:oneend"
            assert await talk(made, b"two") == b"registry:twoend"
            assert door.heard == [b"one"]
            assert registry.heard == [b"one", b"two"]
            monkeypatch.setattr(made, "_avoid_until", 0.0)
            door.mode = "answer"
            assert await talk(made, b"three") == b"cache:threeend"


async def test_a_registry_when_nobody_knows_its_address_then_the_tool_sees_a_closed_connection() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with setting(None, folder, resolves=False) as (made, _door, _registry):
            try:
                assert await talk(made, b"one") == b""
            except ConnectionResetError:
                assert made.is_open


async def test_a_large_stream_when_carried_then_arrives_whole() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with setting("answer", folder) as (made, door, _registry):
            door.word = b""
            reader, writer = await asyncio.open_connection(*made.addresses()[NPM])
            data = os.urandom(3_000_000)

            async def say() -> None:
                writer.write(data)
                await writer.drain()
                writer.write_eof()

            saying = asyncio.create_task(say())
            async with asyncio.timeout(20):
                assert await reader.read() == data + b"end"
            await saying
            writer.close()


async def test_a_relay_when_closed_then_nothing_listens_and_it_can_be_opened_again() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with setting("answer", folder) as (made, _door, _registry):
            address = made.addresses()[NPM]
            await made.aclose()
            assert not made.is_open
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)
            made.open()
            assert made.is_open
            assert await talk(made, b"x") == b"cache:xend"


async def test_a_relay_when_one_address_is_taken_then_nothing_of_it_is_open() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        places = dict.fromkeys(HOSTS, ("127.0.0.1", 0)) | {HOSTS[-1]: taken.getsockname()}
        made = Relay("/nowhere", listen_at=lambda host: places[host])
        with pytest.raises(OSError, match="in use"):
            made.open()
        assert not made.is_open
        assert made.addresses() == {}


# -- resolving --------------------------------------------------------------------------------------------------------


def reply(
    query: bytes, addresses: list[str], *, number: int | None = None, flags: int = 0x8180, name: int = 0
) -> bytes:
    question = query[12:]
    kind = struct.unpack(">H", question[-4:-2])[0]
    packed = [socket.inet_pton(socket.AF_INET6 if ":" in one else socket.AF_INET, one) for one in addresses]
    alias = b"\xc0\x0c" + struct.pack(">2HIH", 5, 1, 60, 4) + b"\x01a\xc0\x0c"
    records = b"".join(b"\xc0\x0c" + struct.pack(">2HIH", kind, 1, 60, len(one)) + one for one in packed)
    head = struct.pack(">6H", query[0] * 256 + query[1] if number is None else number, flags, 1, 1 + len(packed), 0, 0)
    return head + question + alias + records


class Dns(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.known = {1: ["192.0.2.1", "192.0.2.2"], 28: ["2001:db8::1"]}
        self.asked: list[bytes] = []
        self.before: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.asked.append(data)
        kind = struct.unpack(">H", data[-4:-2])[0]
        wrong = reply(data, ["192.0.2.66"], number=(data[0] * 256 + data[1] + 1) % 65536)
        for answer in (wrong, b"", b"\xff" * 20, data, reply(data, self.known[kind])):
            self.transport.sendto(answer, address)


async def test_a_host_when_resolved_then_the_resolver_of_the_machine_is_asked_once_a_minute(tmp_path: Path) -> None:
    transport, dns = await asyncio.get_running_loop().create_datagram_endpoint(Dns, ("127.0.0.1", 0))
    (tmp_path / "resolv.conf").write_text("search x\nnameserver 127.0.0.1\n")
    port = transport.get_extra_info("sockname")[1]
    resolver = Resolver(str(tmp_path / "resolv.conf"), port=port)
    for _ in range(2):
        assert await resolver.resolve(NPM) == ["192.0.2.1", "192.0.2.2"]
    assert len(dns.asked) == 1
    dns.known[1] = []
    assert await resolver.resolve(PYPI) == ["2001:db8::1"]
    dns.known[28] = []
    with pytest.raises(OSError, match="no resolver knows"):
        await resolver.resolve(HOSTS[2])
    transport.close()


async def test_a_host_when_no_resolver_answers_then_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\nnameserver not-an-address\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OSError, match="no resolver knows"):
        await Resolver(str(tmp_path / "resolv.conf"), port=port).resolve(NPM)
    assert read_servers(str(tmp_path / "missing")) == []


@given(st.binary(max_size=200))
def test_an_answer_when_it_is_any_bytes_then_is_no_defect(data: bytes) -> None:
    question = make_question(NPM, 1)
    read_answer(data, 7, question, 1)
    head = struct.pack(">6H", 7, 0x8180, 1, 40, 0, 0)
    found = read_answer(head + question + data, 7, question, 1)
    assert found is None or all(socket.inet_aton(one) for one in found)


# -- the machine's own files ------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The folders of a Debian machine, and the router's door in it."""
    for folder in ("etc/ssl/certs", "usr/local/share", "door"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/hosts").write_text(HOSTS_BEFORE)
    (tmp_path / "etc/ssl/certs/ca-certificates.crt").write_text("# all of them\n" + PEM.replace("TUlJ", "T3Ro"))
    (tmp_path / "door/nonce").write_text("a-nonce\n")
    return tmp_path


def make(root: Path, *, taken: str | None = None, own_bundle: str = "") -> Packages:
    def listen_at(host: str) -> tuple[str, int]:
        if host == taken:
            raise OSError(98, "Address already in use")
        return "127.0.0.1", 0

    relay = Relay("/nowhere", listen_at=listen_at)
    return Packages(root=str(root), own_bundle=own_bundle, door=str(root / "door"), relay=relay)


async def test_the_cache_when_turned_on_then_names_and_trust_are_there_once(root: Path) -> None:
    made = make(root)
    for _ in range(2):
        assert await made.turn_on(WANTED, {}) == ""
        assert made.is_on
        names = (root / "etc/hosts").read_text()
        assert names.startswith(HOSTS_BEFORE + "\n")
        assert [line.split() for line in names.splitlines()[3:-1]] == [[address_of(host), host] for host in HOSTS]
        assert len({address_of(host) for host in HOSTS}) == 5
        bundle = (root / "etc/ssl/certs/ca-certificates.crt").read_text()
        assert bundle.count(PEM) == 1
        assert bundle.startswith("# all of them\n")
        assert (root / "etc/ssl/certs/0123abcd.0").read_text() == PEM
        assert (root / "usr/local/share/ca-certificates/cloudrouter-packages.crt").read_text() == PEM
    newer = PEM.replace("TUlJ", "TmV3")
    assert await made.turn_on({**WANTED, "ca_pem": newer}, {}) == ""
    bundle = (root / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert (bundle.count(PEM), bundle.count(newer)) == (0, 1)
    inode = (root / "etc/hosts").stat().st_ino
    await made.turn_off()
    assert (root / "etc/hosts").read_text() == HOSTS_BEFORE + "\n"
    assert (root / "etc/hosts").stat().st_ino == inode, "the engine mounts this very file"
    assert not made.is_on


async def test_the_cache_when_something_stands_in_its_way_then_is_off_whole_and_says_why(root: Path) -> None:
    async def check(word: str, env: dict[str, str] | None = None, taken: str | None = None) -> None:
        made = make(root, taken=taken)
        (root / "etc/hosts").write_text(replace_marked(HOSTS_BEFORE, f"127.0.0.77 {NPM}"))
        reason = await made.turn_on(WANTED, env or {})
        assert word in reason
        assert not made.is_on
        assert (root / "etc/hosts").read_text() == HOSTS_BEFORE + "\n"

    await check("proxy", env={"HTTPS_PROXY": "http://proxy:3128"})
    await check("cannot be had", taken=HOSTS[3])
    (root / "door/nonce").write_text("other\n")
    await check("another folder")
    (root / "door/nonce").unlink()
    await check("cannot be seen")
    (root / "door/nonce").write_text("a-nonce\n")
    (root / "etc/ssl/certs/ca-certificates.crt").unlink()
    await check("no authorities")


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "npm_config_cafile"])
async def test_the_cache_when_a_tool_has_a_bundle_that_does_not_get_its_authority_then_is_off(
    root: Path, name: str
) -> None:
    made = make(root, own_bundle="/state/ca-bundle.pem")
    for value in ("/etc/corp.pem", ""):
        assert f"{name} is set" in await made.turn_on(WANTED, {name: value})
        assert not made.is_on
        assert NPM not in (root / "etc/hosts").read_text()
    (root / "etc/own.pem").symlink_to("ssl/certs/ca-certificates.crt")
    for value in ("/etc/ssl/certs/ca-certificates.crt", "/etc/own.pem", "/state/ca-bundle.pem"):
        assert await made.turn_on(WANTED, {name: value, "AWS_CA_BUNDLE": "/etc/corp.pem"}) == ""
    await made.turn_off()


class FakeStream:
    """Hears what the operation ends with."""

    async def finish(self, kind: str, body: dict[str, Any]) -> None:
        self.packages = body["packages"]


class FakeGuest:
    """As much of a guest as the operation `configure` uses, with an image that has a bundle of its own."""

    def __init__(self, root: Path) -> None:
        self.config = made_config(root, REQUESTS_CA_BUNDLE="/etc/corp.pem")
        self.packages = make(root, own_bundle=self.config.own_bundle)


async def test_a_machine_when_its_image_sets_a_bundle_then_the_cache_is_on_only_with_the_persons(root: Path) -> None:
    stream, guest = FakeStream(), FakeGuest(root)
    request: dict[str, Any] = {"packages": WANTED}
    for env, ca_pem, word in (
        ({}, None, "REQUESTS_CA_BUNDLE is set"),
        ({}, PEM, ""),
        ({"PIP_CERT": "/mine"}, PEM, "PIP_CERT is set"),
        ({"REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt"}, None, ""),
    ):
        await config.run(stream, {**request, "env": env, "ca_pem": ca_pem}, guest)  # type: ignore[arg-type]
        assert stream.packages["on"] is (not word)
        assert word in stream.packages["reason"]
        assert guest.packages.is_on is (not word)
    guest.config.change({}, None, WANTED)
    await packages.resume(guest)  # type: ignore[arg-type]
    assert not guest.packages.is_on


async def test_the_cache_when_certificates_or_names_cannot_be_written_then_is_off(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(root)

    def refuse(*_words: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(trust, "write_file", refuse)
    assert await made.turn_on(WANTED, {}) == "the machine's certificates cannot be changed: read-only file system"
    monkeypatch.undo()
    (root / "etc/hosts").unlink()
    (root / "etc/hosts").mkdir()
    assert "/etc/hosts cannot be written" in await made.turn_on(WANTED, {})
    assert not made.is_on


async def test_a_fedora_like_machine_when_turned_on_then_its_own_places_are_used(root: Path) -> None:
    (root / "etc/ssl/certs/ca-certificates.crt").unlink()
    for folder in ("etc/pki/tls/certs", "etc/pki/ca-trust/extracted/pem", "etc/pki/ca-trust/source/anchors"):
        (root / folder).mkdir(parents=True)
    real = root / "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"
    real.write_text("theirs")
    (root / "etc/pki/tls/certs/ca-bundle.crt").symlink_to(real)
    made = make(root)
    assert await made.turn_on(WANTED, {}) == ""
    assert real.read_text() == f"theirs\n{BEGIN}\n{PEM}{END}\n"
    assert (root / "etc/pki/tls/certs/ca-bundle.crt").is_symlink()
    assert (root / "etc/pki/ca-trust/source/anchors/cloudrouter-packages.crt").read_text() == PEM
    assert trust.bundle(str(root)) == "/etc/pki/tls/certs/ca-bundle.crt"
    await made.turn_off()


@given(st.text(max_size=60), st.text(st.characters(exclude_characters="#"), min_size=1, max_size=30))
def test_marked_lines_when_replaced_then_stand_once_and_go_without_a_trace(text: str, lines: str) -> None:
    text = text.replace(BEGIN, "").replace(END, "")
    once = replace_marked(text, lines)
    assert replace_marked(once, lines) == once
    assert replace_marked(once, "") == (text if not text or text.endswith("\n") else text + "\n")


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {**WANTED, "more": ""},
        {**WANTED, "nonce": 1},
        {**WANTED, "ca_pem": "x"},
        {**WANTED, "name_hash": "../../../x"},
        {**WANTED, "name_hash": "0123ABCD"},
    ],
)
async def test_what_the_router_tells_when_it_cannot_be_right_then_is_refused(own: Machine, value: object) -> None:
    with pytest.raises(UsageError):
        check_wanted(value)
    answer = await own.ask({"op": "configure", "env": {"A": "1"}, "packages": value})
    assert answer.error["code"] == "usage"
    assert (await own.run("echo $A")).stdout == b"\n"


async def test_a_guest_when_it_has_no_door_then_answers_why_and_works_also_after_a_restart(own: Machine) -> None:
    answer = await own.ask({"op": "configure", "env": {"A": "1"}, "packages": WANTED})
    told = answer.final["configured"]["packages"]
    assert told == {"on": False, "reason": "the router's folder cannot be seen in this machine"}
    assert (await own.run("echo $A$SSL_CERT_FILE")).stdout == b"1\n"
    own.stop()
    own.restart()
    assert any("package cache is off" in line for line in own.first_lines)
    assert (await own.run("echo $A")).stdout == b"1\n"


def test_the_rooms_of_the_guest_when_no_cache_is_wanted_then_are_not_loaded() -> None:
    import subprocess

    program = "import sys, cloudrouter.guest.server; print([m for m in sys.modules if m.endswith('.relay')])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"[]\n"
    assert packages.HOSTS_FILE == "/etc/hosts"
