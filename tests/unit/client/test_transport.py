"""HTTP on the router's socket: right answers, wrong answers, reuse, and the modules that a fast verb may load."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.client.fake_router import Answer, FakeRouter, raw_server

from cloudrouter.client import http1, transport
from cloudrouter.client.transport import NotListening, Transport
from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.wire.errors import AuthFailed, Internal, NotFound, Unreachable

Make = Callable[..., FakeRouter]


def answering(data: bytes, *, close: bool = True) -> Callable[[socket.socket], None]:
    """A script that waits for a request and answers with these bytes."""

    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(data)
        if not close:
            sock.recv(1)

    return script


def get(path: str, data: bytes, **given: Any) -> Any:
    with raw_server(path, answering(data)), Transport(path) as way:
        return way.call("GET", "/", **given)


# -- calls ------------------------------------------------------------------------------------------------------


def test_call_sends_json_and_returns_json(fake_router: Make) -> None:
    router = fake_router(handle=lambda seen: Answer(201, {"got": seen.body, "key": seen.headers["idempotency-key"]}))
    with Transport(router.path) as way:
        answer = way.call("POST", "/v1/machines", {"name": "ü\udcff"}, headers={"idempotency-key": "k1"})
    assert answer == {"got": {"name": "ü\udcff"}, "key": "k1"}
    assert router.seen[0].method == "POST"
    assert way.server_version == "9.9.9"


def test_call_without_body_sends_none_and_empty_answer_is_none(fake_router: Make) -> None:
    router = fake_router(handle=lambda _seen: Answer(204))
    with Transport(router.path) as way:
        assert way.call("POST", "/v1/server/stop") is None
    assert router.seen[0].body is None


def test_error_status_raises_the_error_that_was_sent(fake_router: Make) -> None:
    error = NotFound("There is no machine cr_x.", fix="Look.", next="cloudrouter ls", known=3)
    router = fake_router(handle=lambda _seen: Answer(404, {"error": error.to_json()}))
    with Transport(router.path) as way, pytest.raises(NotFound) as caught:
        way.call("GET", "/v1/machines/cr_x")
    assert caught.value.to_json() == error.to_json()


@pytest.mark.parametrize("body", [b"", b"oops", b"[]", b'{"detail": 1}', b'{"error": {"message": 3}}', b"{" * 5000])
def test_error_status_without_a_readable_error_names_the_status(short_dir: str, body: bytes) -> None:
    head = b"HTTP/1.1 502 Bad\r\ncontent-length: %d\r\n\r\n" % len(body)
    with pytest.raises(Internal, match="502"):
        get(f"{short_dir}/s", head + body)


def test_keep_alive_connection_is_used_again(fake_router: Make) -> None:
    router = fake_router(handle=lambda seen: Answer(200, seen.path))
    with Transport(router.path) as way:
        assert [way.call("GET", f"/{n}") for n in range(5)] == [f"/{n}" for n in range(5)]
    assert router.connections == 1


def test_connection_that_the_router_closed_meanwhile_is_replaced(fake_router: Make) -> None:
    router = fake_router(handle=lambda seen: Answer(200, seen.path))
    with Transport(router.path) as way:
        way.call("GET", "/1")
        router.cut_connections()
        assert way.call("POST", "/2", {}) == "/2"
    assert router.requests() == ["GET /1", "POST /2"]


def test_request_that_was_cut_before_its_answer_is_not_sent_again_on_a_fresh_connection(fake_router: Make) -> None:
    router = fake_router(handle=lambda _seen: Answer(cut=True))
    with Transport(router.path) as way, pytest.raises(ConnectionLost):
        way.call("POST", "/v1/machines", {})
    assert len(router.seen) == 1


def test_calls_from_many_threads_get_their_own_answers(fake_router: Make) -> None:
    router = fake_router(handle=lambda seen: Answer(200, seen.path))
    wrong: list[Any] = []

    with Transport(router.path) as way:

        def work(name: int) -> None:
            wrong.extend(answer for n in range(30) if (answer := way.call("GET", f"/{name}/{n}")) != f"/{name}/{n}")

        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert not wrong
    assert len(router.seen) == 240


def test_header_that_would_end_the_head_is_refused(fake_router: Make) -> None:
    router = fake_router()
    with Transport(router.path) as way, pytest.raises(Internal):
        way.call("GET", "/a HTTP/1.1\r\nx: y")
    assert not router.seen


# -- answers that are not right ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n12",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab_",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n12\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n123",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{x}",
        b"HTTP/1.1 200 OK\r\n" + b"a" * 100_000,
        b"",
    ],
)
def test_answer_that_is_not_http_is_unreachable(short_dir: str, data: bytes) -> None:
    with pytest.raises(Unreachable):
        get(f"{short_dir}/s", data)


def test_body_larger_than_the_limit_is_refused(short_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "BODY_LIMIT", 1000)
    with pytest.raises(Unreachable, match="too large"):
        get(f"{short_dir}/s", b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n" + b" " * 1001)


def test_answer_to_the_end_of_the_connection_is_read_whole(short_dir: str) -> None:
    assert get(f"{short_dir}/s", b"HTTP/1.0 200 OK\r\n\r\n[1,2]") == [1, 2]


def test_interim_answers_are_skipped_and_chunks_with_extensions_and_trailers_are_read(short_dir: str) -> None:
    data = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2;x=y\r\n[1\r\n003\r\n,2]\r\n0\r\ntrailer: z\r\n\r\n"
    )
    assert get(f"{short_dir}/s", data) == [1, 2]


def test_router_that_says_nothing_is_unreachable_after_the_timeout(short_dir: str) -> None:
    script = answering(b"HTTP/1.1 200 OK\r\n", close=False)
    path = f"{short_dir}/s"
    with raw_server(path, script), Transport(path) as way, pytest.raises(Unreachable, match="in time"):
        way.call("GET", "/", timeout=0.05)


def test_router_that_drips_bytes_is_unreachable_after_the_whole_timeout(short_dir: str) -> None:
    """Each byte comes soon enough; only a deadline for all of it ends this."""

    never = threading.Event()

    def drip(sock: socket.socket) -> None:
        sock.recv(65536)
        while not never.wait(0.01):
            sock.sendall(b"x")

    path = f"{short_dir}/s"
    with raw_server(path, drip), Transport(path) as way, pytest.raises(Unreachable, match="in time"):
        way.call("GET", "/", timeout=0.2)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]))
def test_hostile_answer_gives_json_or_a_declared_error(short_dir: str, noise: bytes, start: bytes) -> None:
    path = f"{short_dir}/h{os.urandom(4).hex()}"
    try:
        get(path, start + noise, timeout=10)
    except (Unreachable, Internal):
        pass
    finally:
        os.unlink(path)


# -- lines ------------------------------------------------------------------------------------------------------


def test_lines_come_as_they_are_sent(short_dir: str) -> None:
    """The second line is sent only after the first was received: a client that waits for the end hangs here."""
    go = threading.Event()

    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{"n": 1}\r\n1\r\n\n\r\n')
        assert go.wait(10)
        sock.sendall(b'9\r\n{"n": 2}\n\r\n0\r\n\r\n')

    with raw_server(f"{short_dir}/s", script), Transport(f"{short_dir}/s") as way:
        lines = way.lines("GET", "/wait")
        assert next(lines) == {"n": 1}
        go.set()
        assert list(lines) == [{"n": 2}]


def test_lines_read_to_the_end_leave_the_connection_usable(fake_router: Make) -> None:
    router = fake_router(handle=lambda seen: Answer(lines=[{"n": n} for n in range(3)]))
    with Transport(router.path) as way:
        for _ in range(3):
            assert [line["n"] for line in way.lines("GET", "/wait")] == [0, 1, 2]
    assert router.connections == 1


def test_lines_that_are_left_early_do_not_leave_a_stale_connection(fake_router: Make) -> None:
    router = fake_router(handle=lambda seen: Answer(lines=[{"n": n} for n in range(50)]))
    with Transport(router.path) as way:
        for _ in range(3):
            lines = way.lines("GET", "/wait")
            assert next(lines) == {"n": 0}
            lines.close()  # type: ignore[attr-defined]


def test_lines_with_an_error_status_raise_it(fake_router: Make) -> None:
    router = fake_router(handle=lambda _seen: Answer(404, {"error": NotFound("Gone.").to_json()}))
    with Transport(router.path) as way, pytest.raises(NotFound, match="Gone"):
        list(way.lines("GET", "/wait"))


@pytest.mark.parametrize("tail", [b"", b"5\r\n[1,2]\r\n0\r\n\r\n", b"2\r\n{x\r\n0\r\n\r\n"])
def test_lines_that_end_early_or_are_no_objects_are_unreachable(short_dir: str, tail: bytes) -> None:
    head = b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{"n": 1}\n\r\n'
    with raw_server(f"{short_dir}/s", answering(head + tail)), Transport(f"{short_dir}/s") as way:
        lines = way.lines("GET", "/")
        assert next(lines) == {"n": 1}
        with pytest.raises(Unreachable):
            next(lines)


def test_line_longer_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "LINE_LIMIT", 10)
    with pytest.raises(Unreachable):
        list(http1.split_lines(iter([b"a" * 6, b"b" * 6])))


@given(st.lists(st.text("ab\n", max_size=20)))
def test_split_lines_equals_splitting_the_whole(pieces: list[str]) -> None:
    data = [piece.encode() for piece in pieces]
    assert list(http1.split_lines(iter(data))) == [line for line in b"".join(data).split(b"\n") if line]


# -- streams and connecting -------------------------------------------------------------------------------------


def test_stream_that_is_refused_raises_the_reason(short_dir: str) -> None:
    body = json.dumps({"error": NotFound("There is no machine x.").to_json()}).encode()
    data = b"HTTP/1.1 404 Not Found\r\nx-cloudrouter-version: 1.2\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    way = Transport(f"{short_dir}/s")
    with raw_server(f"{short_dir}/s", answering(data)), pytest.raises(NotFound, match="machine x"):
        way.stream("/v1/machines/x/stream")
    assert way.server_version == "1.2"


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
        b"upgrade: h2c\r\nconnection: upgrade\r\n",
    ],
)
def test_upgrade_with_the_wrong_key_is_refused(short_dir: str, headers: bytes) -> None:
    data = b"HTTP/1.1 101 Switching Protocols\r\n" + headers + b"\r\n"
    with raw_server(f"{short_dir}/s", answering(data)), pytest.raises(Unreachable, match="WebSocket"):
        Transport(f"{short_dir}/s").stream("/")


def test_nobody_listening_is_said_with_the_next_command(short_dir: str) -> None:
    with pytest.raises(NotListening) as caught:
        Transport(f"{short_dir}/none").call("GET", "/")
    assert caught.value.next == "cloudrouter server start"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(f"{short_dir}/stale")
    stale.close()
    with pytest.raises(NotListening):
        Transport(f"{short_dir}/stale").open()


def test_path_that_is_too_long_for_a_socket_says_so(short_dir: str) -> None:
    with pytest.raises(Unreachable, match="too long") as caught:
        Transport(f"{short_dir}/{'x' * 200}").open()
    assert "XDG_RUNTIME_DIR" in caught.value.fix


def test_full_backlog_is_unreachable_after_the_timeout(short_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short_dir}/s")
        listener.listen(0)
        with Transport(f"{short_dir}/s") as first:
            first.open()
            with pytest.raises(Unreachable, match="does not accept"):
                Transport(f"{short_dir}/s").open()


def test_socket_of_another_user_is_refused(fake_router: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener is the test's own user; the client believes to be another one."""
    router = fake_router()
    if os.getuid() == 0:
        monkeypatch.setattr(transport.struct, "unpack", lambda _form, _data: (1, 4711, 4711))
    else:
        monkeypatch.setattr(transport.os, "getuid", lambda: 4711)
    with pytest.raises(AuthFailed, match="belongs to user"):
        Transport(router.path).call("GET", "/")
    assert not router.seen


# -- cost -------------------------------------------------------------------------------------------------------

ALLOWED = {
    "_socket", "_struct", "struct", "binascii", "select", "errno", "signal", "_json", "json", "json.decoder",
    "json.encoder", "json.scanner", "__future__",
}  # fmt: skip
"""What the hot path may load beyond what `re` and `enum` (needed by json) bring."""
BY_JSON = "re,enum,json"


def test_hot_path_loads_only_allowed_modules() -> None:
    script = (
        f"import {BY_JSON}, sys; before = set(sys.modules)\n"
        "import cloudrouter.client.router, cloudrouter.client.transport, cloudrouter.client.commands\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith("cloudrouter")}
    assert loaded <= ALLOWED, loaded - ALLOWED
