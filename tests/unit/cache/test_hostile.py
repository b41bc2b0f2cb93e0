"""What a machine may send, and that it changes nothing of what another gets."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cache.client import Tool
from tests.unit.cache.conftest import Setting
from tests.unit.cache.test_keeping import BODY, TARBALL

from cloudrouter.cache import door, limits
from cloudrouter.wire.packages import CRATES, HOSTS, NPM, PYPI

POISON = {
    "X_Forwarded_Host": "evil.example",
    "X_Original_URL": "/evil",
    "X_Rewrite_URL": "/evil",
    "X_HTTP_Method_Override": "DELETE",
    "Accept": "text/evil",
    "Accept_Language": "xx",
    "Accept_Encoding": "evil",
    "User_Agent": "evil",
    "If_None_Match": '"evil"',
    "If_Modified_Since": "Tue, 24 Nov 2026 07:00:00 GMT",
    "Origin": "https://evil.example",
    "Npm_Session": "evil",
    "Pragma": "evil",
}


async def test_headers_when_a_machine_sends_them_then_none_reaches_a_registry_for_what_is_kept(
    setting: Setting,
) -> None:
    setting.registry.serve(TARBALL, BODY)
    setting.registry.serve("/react", b"{1}")
    for path in (TARBALL, "/react"):
        await setting.get(path, **POISON)
        clean = await setting.get(path)
        assert clean.word == "hit"
        sent = setting.registry.requests[-1].headers
        assert set(sent) == {"Host", "Accept", "Accept-Encoding", "User-Agent"}
        assert "evil" not in str(sent).replace("level", "")


@pytest.mark.parametrize("header", ["Authorization", "Cookie", "Range", "If_Range", "Proxy_Authorization"])
async def test_a_personal_request_when_made_then_goes_through_and_is_kept_from_others(
    setting: Setting, header: str
) -> None:
    setting.registry.serve("/react", b"mine")
    answer = await setting.get("/react", **{header: "Bearer secret"})
    assert (answer.word, answer.body) == ("pass", b"mine")
    if header != "Proxy_Authorization":
        assert setting.registry.requests[-1].headers[header.replace("_", "-")] == "Bearer secret"
    setting.registry.serve("/react", b"everybody's")
    assert (await setting.get("/react")).body == b"everybody's"


async def test_a_post_when_made_then_goes_through_with_its_body(setting: Setting) -> None:
    setting.registry.serve("/-/npm/v1/security/advisories/bulk", b"{}", X_Own="kept")
    tool = await setting.tool()
    body = os.urandom(100_000)
    answer = await tool.ask("/-/npm/v1/security/advisories/bulk", "POST", body, Content_Encoding="gzip")
    assert (answer.status, answer.word, answer.headers["x-own"]) == (200, "pass", "kept")
    assert setting.registry.bodies == [body]
    assert setting.registry.requests[0].headers["content-encoding"] == "gzip"
    assert len(setting.cache.store) == 0


async def test_a_put_over_a_kept_package_when_made_then_what_is_kept_stays(setting: Setting) -> None:
    setting.registry.serve(TARBALL, BODY)
    await setting.get(TARBALL)
    tool = await setting.tool()
    await tool.ask(TARBALL, "PUT", b"evil")
    await tool.ask(TARBALL, "DELETE")
    answer = await setting.get(TARBALL)
    assert (answer.word, answer.body) == ("hit", BODY)


@pytest.mark.parametrize(
    ("host_lines", "status"),
    [
        ("Host: evil.example\r\n", 421),
        (f"Host: {PYPI}\r\n", 421),
        (f"Host: {NPM}\r\nHost: evil.example\r\n", 400),
        ("", 400),
        (f"Host: {NPM}:443\r\n", 200),
    ],
)
async def test_a_request_when_it_names_another_host_than_its_connection_then_is_refused(
    setting: Setting, host_lines: str, status: int
) -> None:
    setting.registry.serve(TARBALL, BODY)
    tool = await setting.tool()
    answer = await tool.say(f"GET {TARBALL} HTTP/1.1\r\n{host_lines}\r\n".encode())
    assert answer.status == status
    assert len(setting.registry.requests) == (status == 200)


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/left-pad",
        "http://registry.npmjs.org/left-pad",
        "*",
        "//evil.example/left-pad/../..",
        "/left-pad/../../etc/passwd",
        "/left-pad/-/..%2f..%2fsecret.tgz",
        "/%2e%2e/secret",
        "/..\\secret",
        "/./left-pad",
    ],
)
async def test_a_target_when_it_is_no_normal_path_then_is_refused(setting: Setting, target: str) -> None:
    tool = await setting.tool()
    answer = await tool.say(f"GET {target} HTTP/1.1\r\nHost: {NPM}\r\n\r\n".encode())
    assert answer.status == 400
    assert setting.registry.requests == []


@pytest.mark.parametrize(
    "target",
    [
        f"{TARBALL}?x=1",
        f"{TARBALL}%00",
        "/left-pad/-/left-pad-1.3.0.tgz/",
        "/left-pad/-/a b.tgz".replace(" ", "%20"),
        "//left-pad",
        "/-/all",
        "/@scope",
    ],
)
async def test_a_target_when_it_has_no_known_shape_then_is_carried_through_and_not_kept(
    setting: Setting, target: str
) -> None:
    setting.registry.serve(target, b"some")
    assert (await setting.get(target)).word == "pass"
    assert len(setting.cache.store) == 0


async def test_two_requests_when_smuggled_as_one_then_the_connection_ends(setting: Setting) -> None:
    setting.registry.serve(TARBALL, BODY)
    inner = f"GET /evil HTTP/1.1\r\nHost: {NPM}\r\n\r\n"
    for lines in (
        f"Content-Length: {len(inner)}\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: +4\r\n",
        "Content-Length : 4\r\n",
    ):
        tool = await setting.tool()
        answer = await tool.say(f"POST /x HTTP/1.1\r\nHost: {NPM}\r\n{lines}\r\n0\r\n\r\n{inner}".encode())
        assert answer.status in (0, 400), lines
        assert (await tool.head()).status in (0, 400), lines
    assert not setting.registry.count("/evil")
    assert (await setting.get(TARBALL)).body == BODY


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(500)) + b"\r\n",
        b"\x00\xff\xfe" * 100 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_a_request_when_it_is_too_much_or_none_then_is_refused_and_others_go_on(
    setting: Setting, request_bytes: bytes
) -> None:
    setting.registry.serve(TARBALL, BODY)
    tool = await setting.tool()
    answer = await tool.say(request_bytes)
    assert answer.status in (0, 400, 405, 421, 431)
    assert setting.registry.requests == []
    assert (await setting.get(TARBALL)).body == BODY


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "BREW"])
async def test_a_method_when_no_registry_has_it_then_is_refused(setting: Setting, method: str) -> None:
    tool = await setting.tool()
    answer = await tool.say(f"{method} /x HTTP/1.1\r\nHost: {NPM}\r\n\r\n".encode())
    assert answer.status in (400, 405)
    assert setting.registry.requests == []


async def test_a_name_when_it_is_none_of_the_five_then_there_is_no_tls(setting: Setting) -> None:
    for name in ("evil.example", "localhost", "xregistry.npmjs.org"):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await Tool.connect(setting.socket, name, setting.cache.authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    heard = b""
    try:
        reader, writer = await asyncio.open_unix_connection(setting.socket, ssl=context, server_hostname="")
        writer.write(f"GET {TARBALL} HTTP/1.1\r\nHost: {NPM}\r\n\r\n".encode())
        heard = await reader.read()
        writer.close()
    except (ConnectionError, ssl.SSLError):
        assert not setting.registry.requests
    assert heard == b""


async def test_every_host_when_asked_for_then_reaches_its_own_registry(setting: Setting) -> None:
    for host in HOSTS:
        assert (await setting.get("/nothing/of/any/shape/here", host)).status == 404
    assert len(setting.registry.requests) == len(HOSTS)


async def test_netrc_when_the_person_has_one_then_its_passwords_stay_here(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login person password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    setting.registry.serve(TARBALL, BODY)
    await setting.get(TARBALL)
    await setting.get("/-/whoami")
    assert all("authorization" not in request.headers for request in setting.registry.requests)


# -- taking too much --------------------------------------------------------------------------------------------------


async def test_connections_when_they_say_nothing_then_are_closed_in_time(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "IDLE_S", 0.3)
    monkeypatch.setattr(door, "SWEEP_S", 0.05)
    await setting.close()
    await setting.open()
    silent, slow = await setting.tool(), await setting.tool()
    slow.writer.write(f"GET {TARBALL} HTTP/1.1\r\nHost: {NPM}\r\n".encode())
    for tool in (silent, slow):
        async with asyncio.timeout(10):
            assert await tool.reader.read() == b""


async def test_one_machine_when_it_opens_too_many_connections_then_the_next_is_closed_at_once(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PEER_CONNECTIONS", 3)
    tools = [await setting.tool() for _ in range(3)]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await setting.tool()
    await tools[0].close()
    async with asyncio.timeout(10):
        while True:
            try:
                await setting.tool()
            except (ssl.SSLError, ConnectionError):
                await asyncio.sleep(0.01)
            else:
                break


async def test_one_machine_when_its_ways_out_are_all_taken_then_others_are_not_kept_waiting(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = iter(["hostile", "hostile", "good", "good"])
    monkeypatch.setattr(door, "peer_of", lambda _socket: next(peers))
    monkeypatch.setattr(limits, "PEER_WAYS_OUT", 1)
    setting.registry.serve_slowly("/-/slow", [b""], length=None)
    setting.registry.serve(TARBALL, BODY)
    blocking, queueing, good = await setting.tool(), await setting.tool(), await setting.tool()
    taken = asyncio.create_task(blocking.ask("/-/slow"))
    while not setting.registry.count("/-/slow"):
        await asyncio.sleep(0.01)
    # The hostile machine waits in its own queue for a package that the good one wants, too.
    waiting = asyncio.create_task(queueing.ask(TARBALL))
    while not setting.cache.fills.get_running(TARBALL):
        await asyncio.sleep(0.01)
    assert (await good.ask(TARBALL)).body == BODY
    assert (await waiting).body == BODY
    taken.cancel()


def refuse_certificate(setting: Setting) -> None:
    """A tool that knows other authorities only; as most do, it tells that before it leaves."""
    context = ssl.create_default_context(cafile=str(setting.registry.authority))
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(setting.socket)
        context.wrap_socket(plain, server_hostname=NPM)


async def test_a_tool_when_it_does_not_trust_the_cache_then_its_machine_is_let_alone_for_a_while(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = iter(["one", "one", "other"])
    monkeypatch.setattr(door, "peer_of", lambda _socket: next(peers))
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.to_thread(refuse_certificate, setting)
    async with asyncio.timeout(10):
        while not setting.cache.limits.is_distrusted("one"):
            await asyncio.sleep(0.01)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await setting.tool()
    setting.registry.serve(TARBALL, BODY)
    assert (await setting.get(TARBALL)).body == BODY


def test_distrust_when_its_time_is_over_then_the_machine_is_served_again() -> None:
    now = 100.0
    made = limits.Limits(lambda: now)
    made.distrust("a")
    assert (made.enter("a"), made.enter("b")) == (False, True)
    now += limits.DISTRUST_S + 1
    assert made.enter("a")


def test_all_connections_when_too_many_then_nobody_gets_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOTAL_CONNECTIONS", 2)
    made = limits.Limits(lambda: 0.0)
    assert (made.enter("a"), made.enter("b"), made.enter("c")) == (True, True, False)
    made.leave("a")
    assert made.enter("c")


def test_a_peer_when_its_process_lives_then_is_its_control_group_and_else_a_common_word(tmp_path: Path) -> None:
    one, other = socket.socketpair()
    with one, other:
        assert len(limits.peer_of(one)) == 16
    program = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        subprocess.run([sys.executable, "-c", program, path], check=True)
        accepted, _ = listener.accept()
        with accepted:
            assert limits.peer_of(accepted) == ""


async def test_the_door_when_open_then_all_may_connect_and_its_keys_are_private(setting: Setting) -> None:
    assert os.stat(setting.socket).st_mode & 0o777 == 0o666
    assert os.stat(setting.folder / "authority.key").st_mode & 0o777 == 0o600
    assert os.stat(setting.folder / "store" / "objects").st_mode & 0o077 == 0
    assert CRATES in HOSTS
