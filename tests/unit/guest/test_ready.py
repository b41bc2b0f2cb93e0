"""Ready checks: from inside, until the server is up, the time is over, or the job that serves has ended."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from tests.unit.guest.machine import Machine

from cloudrouter.guest.ready import _Probe

from .test_jobs import start


def free_port(family: socket.AddressFamily = socket.AF_INET) -> int:
    with socket.socket(family) as sock:
        sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        return int(sock.getsockname()[1])


async def ready(machine: Machine, **fields: object) -> dict[str, object]:
    outcome = await machine.ask({"op": "ready", **fields})
    assert "ready" in outcome.final, outcome.final
    found: dict[str, object] = outcome.final["ready"]
    return found


async def test_a_job_when_it_ends_first_then_its_last_words_are_told_at_once(own: Machine) -> None:
    job = await start(own, "seq 30; echo boom >&2; sleep 0.2; exit 3")
    began = time.monotonic()
    found = await ready(own, port=free_port(), job=job["id"], timeout_s=30)
    assert time.monotonic() - began < 10
    assert found["ready"] is False
    told = found["job"]
    assert isinstance(told, dict)
    assert (told["state"], told["code"]) == ("exited", 3)
    log = str(found["log"])
    assert log.endswith("30\nboom\n")
    assert len(log.splitlines()) == 20


async def serve(answers: list[bytes], host: str = "127.0.0.1", port: int = 0) -> tuple[asyncio.Server, int]:
    """A server that gives one answer after the other, the last one for ever."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        writer.write(answers.pop(0) if len(answers) > 1 else answers[0])
        writer.close()

    seen: list[bytes] = []
    server = await asyncio.start_server(answer, host, port)
    server.seen = seen  # type: ignore[attr-defined]
    return server, int(server.sockets[0].getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_port_when_it_is_opened_later_then_the_check_ends_then(shared: Machine, host: str) -> None:
    port = free_port(socket.AF_INET if host == "127.0.0.1" else socket.AF_INET6)
    waiting = asyncio.ensure_future(ready(shared, port=port, timeout_s=30))
    _, pending = await asyncio.wait({waiting}, timeout=0.3)
    assert pending
    server, _ = await serve([b""], host, port)
    found = await asyncio.wait_for(waiting, 20)
    server.close()
    assert (found["ready"], found["last"], found["job"], found["log"]) == (True, "connected", None, "")
    assert int(str(found["waited_ms"])) >= 300


async def test_a_page_when_it_fails_at_first_then_is_asked_again_until_it_does_not(shared: Machine) -> None:
    bad = b"HTTP/1.1 503 Not yet\r\n\r\n"
    server, port = await serve([bad, b"what?", bad, b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"])
    found = await ready(shared, port=port, path="/health?x=1", timeout_s=30)
    server.close()
    assert (found["ready"], found["last"]) == (True, "HTTP 302")
    heads = server.seen  # type: ignore[attr-defined]
    assert len(heads) == 4
    assert heads[0].startswith(b"GET /health?x=1 HTTP/1.1\r\nHost: localhost:%d\r\n" % port)


@pytest.mark.parametrize(
    ("answer", "last"),
    [
        (b"HTTP/1.1 404 Not found\r\n\r\n", "HTTP 404"),
        (b"HTTP/1.1 99999 \r\n\r\n", "an answer that is not HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", "an answer that is not HTTP"),
        (b"", "an answer that is not HTTP"),
        (b"x" * 100_000, "an answer that is not HTTP"),
    ],
)
async def test_a_page_when_it_never_comes_then_what_was_seen_is_told(shared: Machine, answer: bytes, last: str) -> None:
    server, port = await serve([answer])
    found = await ready(shared, port=port, path="/", timeout_s=0.4)
    server.close()
    assert (found["ready"], found["last"]) == (False, last)


async def test_a_port_when_nobody_listens_then_refused_is_told_when_the_time_is_over(shared: Machine) -> None:
    found = await ready(shared, port=free_port(), timeout_s=0.2)
    assert (found["ready"], found["last"]) == (False, "connection refused")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"port": 0},
        {"port": "80"},
        {"port": True},
        {"port": 80, "path": "x y"},
        {"port": 80, "path": "/\r\nX: y"},
        {"port": 80, "path": "http://example.com/"},
        {"port": 80, "timeout_s": -1},
    ],
)
async def test_a_check_when_it_cannot_be_then_is_refused(shared: Machine, fields: dict[str, object]) -> None:
    assert (await shared.ask({"op": "ready", **fields})).error["code"] == "usage"


async def test_a_probe_when_cancelled_as_its_try_ends_then_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    gate: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    probe = _Probe("127.0.0.1", 1, None)

    async def ask() -> bool:
        return await gate

    monkeypatch.setattr(probe, "_ask", ask)
    running = asyncio.ensure_future(probe.run())
    for _ in range(3):
        await asyncio.sleep(0)
    gate.set_result(False)
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=2)
    assert done
    assert running.cancelled()
