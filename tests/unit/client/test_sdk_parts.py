"""The parts of the SDK that know nothing of sockets: what is asked for, and what comes out of pieces."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter import Internal, InvalidSpec, NotFound, UsageError
from cloudrouter.client import requests
from cloudrouter.client.aio.http1 import Connection
from cloudrouter.client.http1 import Head
from cloudrouter.client.observing import ROUNDS, Patience
from cloudrouter.client.ports import Flow
from cloudrouter.client.websocket import ConnectionLost
from cloudrouter.wire.errors import Unreachable
from cloudrouter.wire.machines import Usage
from cloudrouter.wire.streams import WINDOW


@given(st.lists(st.binary(max_size=50)), st.integers(1, 20))
def test_flow_when_pieces_come_then_gives_each_byte_once_in_order(pieces: list[bytes], limit: int) -> None:
    flow = Flow()
    for piece in pieces:
        flow.take("binary", b"\x01" + piece)
    flow.take("text", b'{"eof": true}')
    came = bytearray()
    while piece := flow.give(limit):
        assert len(piece) <= limit
        came += piece
    assert came == b"".join(pieces)
    assert flow.give(limit) == b""


def test_flow_when_words_come_then_knows_window_and_ends() -> None:
    flow = Flow()
    assert flow.give(10) is None
    flow.take("text", b'{"started": {}}')
    flow.take("text", b'{"window": 5}')
    assert (flow.opened, flow.window, flow.ended, flow.over) == (True, WINDOW + 5, False, False)
    flow.take("text", b'{"end": {}}')
    assert (flow.ended, flow.over, flow.give(10)) == (True, True, b"")
    for broken in (b"", b"\x02x"):
        with pytest.raises(Internal):
            flow.take("binary", broken)
    with pytest.raises(NotFound):
        flow.take("text", json.dumps({"error": NotFound("No.").to_json()}).encode())


async def read(answer: bytes, cuts: list[int], head: Head) -> list[bytes]:
    """The lines of an answer's body that comes in pieces."""
    reader = asyncio.StreamReader(limit=2**16)
    places = sorted({min(cut, len(answer)) for cut in cuts} | {0, len(answer)})
    for begin, end in pairwise(places):
        reader.feed_data(answer[begin:end])
    reader.feed_eof()
    connection = Connection(reader, None)  # type: ignore[arg-type]
    return [line async for line in connection.lines(head)]


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line)), st.lists(st.integers(0, 500)))
def test_lines_when_they_come_in_any_pieces_then_are_whole(lines: list[bytes], cuts: list[int]) -> None:
    body = b"".join(line + b"\n" for line in lines)
    wanted = [line for line in lines if line.strip()]
    parts = [body[at : at + 7] for at in range(0, len(body), 7)]
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    whole = Head(200, {"content-length": str(len(body))}, keeps=True)
    assert asyncio.run(read(body, cuts, whole)) == wanted
    assert asyncio.run(read(chunked, cuts, Head(200, {"transfer-encoding": "chunked"}, keeps=True))) == wanted
    assert asyncio.run(read(body, cuts, Head(200, {}, keeps=False))) == wanted


@given(st.binary(max_size=200))
def test_body_when_it_is_nonsense_then_nothing_but_unreachable_is_raised(data: bytes) -> None:
    try:
        asyncio.run(read(data, [], Head(200, {"transfer-encoding": "chunked"}, keeps=True)))
    except Unreachable:
        pass


def start(**given: Any) -> dict[str, Any]:
    names = (*requests.StartOptions.__annotations__,)
    kept = [one for one in names if one not in ("with_secrets", "exclude", "progress")]
    return requests.start_request(**{**dict.fromkeys(kept), "volumes": (), **given})


def test_start_request_when_little_is_given_then_says_only_that() -> None:
    assert start() == {}
    assert start(package_cache=False, memory="1g", disk=5, volumes=["v:/data:ro"], timeout=0) == {
        "package_cache": False,
        "memory_bytes": 2**30,
        "disk_bytes": 5,
        "mounts": [{"volume": "v", "path": "/data", "read_only": True}],
        "timeout_seconds": 0,
    }
    with pytest.raises(InvalidSpec, match="lots"):
        start(disk="lots")
    with pytest.raises(UsageError):
        start(volumes=["/etc:/etc"])


def test_paths_when_values_are_given_then_are_escaped() -> None:
    assert requests.machines_path(all=False) == "/v1/machines"
    assert (
        requests.machines_path(all=True, labels={"a": "b&c", "d": None}, state="running", provider="p", name="w*")
        == "/v1/machines?all=true&label=a%3Db%26c&label=d&state=running&provider=p&name=w%2A"
    )
    assert requests.events_path(None, None, 0, tail=0) == "/v1/events?after=0&tail=0"
    assert requests.stats_path(["a", "b"], 0.5) == "/v1/stats/follow?machine=a&machine=b&interval=0.5"


@pytest.mark.parametrize(
    ("port", "url", "wanted"),
    [
        (3000, None, (3000, None)),
        (3000, "/health?a=b", (3000, "/health?a=b")),
        (None, "http://localhost:3000/x/y", (3000, "/x/y")),
        (None, "http://127.0.0.1:1", (1, "/")),
        (None, "http://[::1]:9/", (9, "/")),
        (None, "http://localhost", (80, "/")),
        (80, "http://localhost/", (80, "/")),
    ],
)
def test_ready_request_when_an_address_is_given_then_has_port_and_path(
    port: int | None, url: str | None, wanted: tuple[int, str | None]
) -> None:
    request = requests.ready_request(port, url, None, 5)
    assert (request["port"], request.get("path")) == wanted


@pytest.mark.parametrize(
    ("port", "url"),
    [
        (None, None),
        (None, "/health"),
        (0, None),
        (None, "http://example.com:80/"),
        (None, "https://localhost:80/"),
        (None, "http://user@localhost:80/"),
        (None, "http://localhost:x/"),
        (None, "http://localhost:99999/"),
        (81, "http://localhost:80/"),
    ],
)
def test_ready_request_when_the_address_is_not_inside_then_is_refused(port: int | None, url: str | None) -> None:
    with pytest.raises(UsageError):
        requests.ready_request(port, url, None, 5)


def test_record_when_a_newer_router_says_more_then_is_read_all_the_same() -> None:
    with pytest.raises(Internal):
        requests.read_record(Usage, {"id": 5})
    with pytest.raises(Internal):
        requests.read_record(Usage, [])


def test_patience_when_connections_end_at_once_then_is_over_unless_something_came() -> None:
    now = [0.0]
    patience = Patience(lambda: now[0])
    for _ in range(ROUNDS - 1):
        patience.begin()
        patience.ended(brought=False)
    patience.begin()
    patience.ended(brought=True)
    for _ in range(ROUNDS - 1):
        patience.begin()
        patience.ended(brought=False)
    patience.begin()
    now[0] = 10.0
    patience.ended(brought=False)
    for _ in range(ROUNDS - 1):
        patience.begin()
        patience.ended(brought=False)
    patience.begin()
    with pytest.raises(ConnectionLost):
        patience.ended(brought=False)
