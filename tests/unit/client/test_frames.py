"""Frames: every cut of the bytes gives the same messages, and hostile bytes give only the declared error."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.client import frames
from cloudrouter.client.frames import BrokenFrame, FrameReader


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A server's frame: as header() makes it, without the mask."""
    head = bytearray(frames.header(opcode, len(payload))[:-4])
    head[1] &= 0x7F
    if not final:
        head[0] &= 0x7F
    return bytes(head) + payload


def read(data: bytes, cuts: list[int] | None = None, *, limit: int = 2**20) -> list[tuple[str, bytes]]:
    reader = FrameReader(limit=limit)
    cuts = cuts or [len(data)]
    index = 0
    while data:
        room = reader.room()
        n = min(max(1, cuts[index % len(cuts)]), len(data), len(room))
        index += 1
        room[:n] = data[:n]
        data = data[n:]
        reader.take(n)
    return list(reader.messages)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 700_000, 1 << 20])
def test_message_of_any_length_comes_back_whole(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    assert read(frame(frames.BINARY, payload) * 2) == [("binary", payload)] * 2


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_messages_are_the_same_however_the_bytes_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frame(frames.BINARY, payload) for payload in payloads)
    assert read(data, cuts) == [("binary", payload) for payload in payloads]


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=4), st.lists(st.integers(1, 9), min_size=1))
def test_pieces_become_one_message_with_pings_between(payload: bytes, ends: list[int], cuts: list[int]) -> None:
    marks = sorted({min(end, len(payload)) for end in ends} | {0, len(payload)})
    parts = [payload[a:b] for a, b in itertools.pairwise(marks)] or [b""]
    data = b""
    for number, part in enumerate(parts):
        opcode = frames.CONTINUATION if number else frames.BINARY
        data += frame(opcode, part, final=number == len(parts) - 1) + frame(frames.PING, b"?")
    found = read(data, cuts)
    assert [m for m in found if m[0] == "binary"] == [("binary", payload)]
    assert len([m for m in found if m[0] == "ping"]) == len(parts)


@given(st.binary(max_size=400), st.lists(st.integers(1, 50), min_size=1, max_size=4))
def test_random_bytes_give_messages_or_the_declared_error(data: bytes, cuts: list[int]) -> None:
    try:
        for kind, payload in read(data, cuts, limit=200):
            assert kind in ("text", "binary", "ping", "pong", "close")
            assert len(payload) <= 200
    except BrokenFrame as error:
        assert error.close_code in (1002, 1007, 1009)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xc2\x00", 1002),  # a reserved bit
        (b"\x83\x00", 1002),  # an unknown opcode
        (b"\x8b\x00", 1002),  # an unknown control opcode
        (b"\x82\x80\0\0\0\0", 1002),  # masked
        (b"\x80\x00", 1002),  # a continuation of nothing
        (b"\x02\x01a\x82\x01b", 1002),  # a message inside a message
        (b"\x09\x00", 1002),  # a ping in pieces
        (b"\x89\x7e\x00\x7e" + bytes(126), 1002),  # a long ping
        (b"\x81\x02\xc3\x28", 1007),  # not UTF-8
        (b"\x01\x01\xc3\x80\x01\x28", 1007),  # not UTF-8, in pieces
        (b"\x82\x7f" + (1 << 20).to_bytes(8, "big"), 1009),
        (b"\x82\x7f" + (1 << 63).to_bytes(8, "big"), 1009),
    ],
)
def test_bytes_that_are_no_frames_are_refused_with_the_right_code(data: bytes, code: int) -> None:
    with pytest.raises(BrokenFrame) as caught:
        read(data, limit=1000)
    assert caught.value.close_code == code


def test_pieces_that_together_are_too_large_are_refused() -> None:
    with pytest.raises(BrokenFrame) as caught:
        read(frame(frames.BINARY, bytes(600), final=False) + frame(frames.CONTINUATION, bytes(600)), limit=1000)
    assert caught.value.close_code == frames.TOO_BIG


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xed", b"\x00\x00", b"\x03\xee", b"\xff\xff", b"\x03\xe8\xff"])
def test_close_payload_that_may_not_travel_is_refused(payload: bytes) -> None:
    with pytest.raises(BrokenFrame):
        frames.read_close(payload)


def test_close_payload_survives_the_round_trip() -> None:
    assert frames.read_close(frames.close_payload(1000, "bye")) == (1000, "bye")
    assert frames.read_close(b"") == (None, "")
    code, reason = frames.read_close(frames.close_payload(1001, "ü" * 100))
    assert (code, set(reason)) == (1001, {"ü"})
