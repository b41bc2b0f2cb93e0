"""Who only watches a desktop: which messages pass, however they are cut, and that no key ever does."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.server.gateway.desktop import rfb
from cloudrouter.server.gateway.desktop.rfb import Refused, Watcher

GREETING = rfb.VERSION + b"\x01" + b"\x00"
GREETED = rfb.VERSION + b"\x01" + b"\x01"


def watcher() -> Watcher:
    made = Watcher()
    made.hear(rfb.VERSION)
    return made


def greeted() -> Watcher:
    made = watcher()
    assert made.feed(GREETING) == GREETED
    return made


def encodings(*numbers: int) -> bytes:
    return struct.pack(f"!BxH{len(numbers)}i", 2, len(numbers), *numbers)


def fixed(kind: int, size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size - 1, max_size=size - 1).map(lambda rest: bytes([kind]) + rest)


def fence(payload: bytes) -> bytes:
    return b"\xf8\0\0\0\x80\0\0\1" + bytes([len(payload)]) + payload


def cut_text(text: bytes, *, extended: bool) -> bytes:
    return struct.pack("!B3xi", 6, -len(text) if extended else len(text)) + text


def desktop_size(screens: int) -> bytes:
    return b"\xfb\0" + struct.pack("!HHBx", 800, 600, screens) + bytes(16 * screens)


PASSED = st.one_of(
    fixed(0, 20),
    fixed(3, 10),
    fixed(150, 10),
    st.binary(max_size=64).map(fence),
    st.lists(st.integers(-200, 200), max_size=20).map(lambda numbers: encodings(*numbers)),
).map(lambda message: (message, message))

DROPPED = st.one_of(
    fixed(4, 8),
    fixed(5, 6),
    fixed(250, 4),
    st.builds(cut_text, st.binary(max_size=300), extended=st.booleans()),
    st.integers(0, 4).map(desktop_size),
    st.binary(min_size=10, max_size=10).map(lambda rest: b"\xff\0" + rest),
).map(lambda message: (message, b""))


def feed_cut(made: Watcher, data: bytes, cuts: list[int]) -> bytes:
    """Feed bytes cut at these places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return b"".join(made.feed(data[begin:end]) for begin, end in pairwise(places))


@given(st.lists(st.one_of(PASSED, DROPPED), max_size=12), st.lists(st.integers(0, 100_000), max_size=12))
def test_watcher_passes_the_same_for_any_cutting(messages: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    said = GREETING + b"".join(message for message, _ in messages)
    expected = GREETED + b"".join(passed for _, passed in messages)
    assert feed_cut(watcher(), said, cuts) == expected
    assert b"".join(feed_cut(one, bytes([byte]), []) for one in [watcher()] for byte in said) == expected


def as_a_server_reads(data: bytes) -> list[int]:
    """The types of messages in what passed, by an own reading; it fails at any that may not be there."""
    kinds = []
    while data:
        kind = data[0]
        if kind == 2:
            size = 4 + 4 * struct.unpack_from("!H", data, 2)[0]
        elif kind == 248:
            size = 9 + data[8]
        else:
            size = {0: 20, 3: 10, 150: 10}[kind]
        assert len(data) >= size, "a message was passed in part"
        kinds.append(kind)
        data = data[size:]
    return kinds


@given(
    st.lists(st.one_of(PASSED, DROPPED).map(lambda pair: pair[0]) | st.binary(max_size=40), max_size=12),
    st.lists(st.integers(0, 100_000), max_size=8),
)
def test_watcher_passes_no_key_whatever_is_sent(pieces: list[bytes], cuts: list[int]) -> None:
    made = greeted()
    passed = bytearray()
    data = b"".join(pieces)
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for begin, end in pairwise(places):
        try:
            passed += made.feed(data[begin:end])
        except Refused:
            break
    assert set(as_a_server_reads(bytes(passed))) <= {0, 2, 3, 150, 248}


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"\x04\x01\0\0\0\0\0a", id="KeyEvent"),
        pytest.param(b"\x05\x01\0\x10\0\x10", id="PointerEvent"),
        pytest.param(cut_text(b"rm -rf", extended=False), id="ClientCutText"),
        pytest.param(cut_text(b"\x10\0\0\x01zip", extended=True), id="extended ClientCutText"),
        pytest.param(b"\xff\0\0\x01\0\0\0a\0\0\0\x1e", id="QEMU extended key"),
        pytest.param(desktop_size(1), id="SetDesktopSize"),
        pytest.param(b"\xfa\0\x01\x02", id="shutdown by XVP"),
    ],
)
def test_watcher_drops_what_would_act(message: bytes) -> None:
    request = b"\x03\1\0\0\0\0\x05\0\x03\x20"
    assert greeted().feed(message + request) == request


@pytest.mark.parametrize("kind", [1, 7, 151, 249, 252, 253, 254, 255])
def test_watcher_ends_at_the_unknown_and_stays_ended(kind: int) -> None:
    made = greeted()
    with pytest.raises(Refused, match=f"unknown type {kind}"):
        made.feed(bytes([kind, 1, 0, 0]))
    with pytest.raises(Refused):
        made.feed(b"\x03\1\0\0\0\0\x05\0\x03\x20")


def test_watcher_holds_back_encodings_that_are_for_typing() -> None:
    said = encodings(7, -258, -259, -305, -308, -309, -312, -316, 0)
    assert greeted().feed(said) == encodings(7, -308, -312, 0)


@pytest.mark.parametrize("length", [-(2**31), 2**31 - 1])
def test_watcher_skips_a_text_of_any_length_without_holding_it(length: int) -> None:
    made = greeted()
    assert made.feed(struct.pack("!B3xi", 6, length)) == b""
    piece = bytes(1_000_000)
    for _ in range(3):
        assert made.feed(piece) == b""
    assert len(made._held) == 0


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param(struct.pack("!BxH", 2, 257), "encodings", id="many encodings"),
        pytest.param(b"\xf8\0\0\0\0\0\0\0\x41", "fence", id="a long fence"),
    ],
)
def test_watcher_refuses_what_is_too_long_before_it_is_held(said: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why):
        greeted().feed(said)


def test_watcher_always_shares() -> None:
    made = watcher()
    assert made.feed(rfb.VERSION + b"\x01\x00")[-1:] == b"\x01"


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        pytest.param(b"", rfb.VERSION, id="spoke first"),
        pytest.param(rfb.VERSION[:5], rfb.VERSION, id="spoke too soon"),
        pytest.param(b"RFB 003.003\n", rfb.VERSION, id="an old desktop, whose bytes mean other things"),
        pytest.param(rfb.VERSION, b"RFB 003.003\n", id="an old client"),
        pytest.param(rfb.VERSION, b"GET / HTTP/1", id="no RFB"),
        pytest.param(rfb.VERSION, rfb.VERSION + b"\x02", id="a password"),
    ],
)
def test_watcher_refuses_another_beginning(heard: bytes, said: bytes) -> None:
    made = Watcher()
    made.hear(heard)
    with pytest.raises(Refused):
        made.feed(said)


def test_watcher_hears_the_desktop_in_any_pieces() -> None:
    made = Watcher()
    for byte in rfb.VERSION + b"\x01\x01":
        made.hear(bytes([byte]))
    assert made.feed(GREETING) == GREETED
