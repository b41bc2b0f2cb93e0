"""What of a terminal's output a newcomer is shown: it begins where a reader may begin, and modes are not lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudrouter.guest.screen import RESET, Scanner, Screen

ATOMS = st.one_of(
    st.sampled_from(
        ["a", "line\r\n", "ü", "€", "🙂", "\x1b[31m", "\x1b[?1049h", "\x1b[?25l", "\x1b(B", "\x1b=", "\x1bM"]
    ),
    st.text("aé€🙂", min_size=1, max_size=20),
    st.text("titleé", max_size=20).map(lambda text: f"\x1b]0;{text}\x07"),
    st.text("dataé", max_size=40).map(lambda text: f"\x1bP{text}\x1b\\"),
    st.lists(st.integers(0, 300), max_size=4).map(lambda ns: "\x1b[" + ";".join(map(str, ns)) + "H"),
).map(str.encode)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [piece for piece in (*pieces, data[at:]) if piece]


def borders(atoms: list[bytes]) -> set[int]:
    """Where a reader may begin: between atoms, and between the characters of text."""
    found, at = {0}, 0
    for atom in atoms:
        if not atom.startswith(b"\x1b"):
            found |= {at + len(atom.decode()[:n].encode()) for n in range(len(atom.decode()))}
        at += len(atom)
        found.add(at)
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(ATOMS, max_size=30), st.lists(st.integers(1, 12), max_size=60))
def test_a_place_to_begin_whatever_the_output_and_its_pieces_then_is_between_characters_and_sequences(
    atoms: list[bytes], sizes: list[int]
) -> None:
    scanner, allowed, at = Scanner(), borders(atoms), 0
    for piece in cut(b"".join(atoms), sizes):
        place, _ = scanner.feed(piece)
        assert place is None or at + place in allowed
        at += len(piece)
        if at in allowed:
            assert place == len(piece)


@settings(max_examples=200, deadline=None)
@given(st.lists(ATOMS, max_size=60), st.lists(st.integers(1, 40), max_size=80), st.integers(0, 200))
def test_a_replay_whatever_came_then_is_the_end_of_it_from_a_clean_place(
    atoms: list[bytes], sizes: list[int], kept: int
) -> None:
    screen, data = Screen(kept), b"".join(atoms)
    for piece in cut(data, sizes):
        assert b"".join(part for part, _ in screen.add(piece)) == piece
    content = screen.content()
    assert data.endswith(content)
    assert len(content) <= kept
    assert not content or len(data) - len(content) in borders(atoms)
    assert screen.is_whole == (content == data) or not content


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(1, 40), max_size=20))
def test_any_bytes_when_scanned_in_pieces_then_lead_to_the_same_as_whole(data: bytes, sizes: list[int]) -> None:
    one, many = Scanner(), Scanner()
    _, changes = one.feed(data) if data else (0, {})
    found: dict[bytes, bool] = {}
    for piece in cut(data, sizes):
        found.update(many.feed(piece)[1])
    assert found == changes
    assert one.feed(b"x\x1b[31mok")[0] == many.feed(b"x\x1b[31mok")[0]


@pytest.mark.parametrize(
    ("before", "modes"),
    [
        (b"\x1b[?1049h", b"\x1b[?1049h"),
        (b"\x1b[?1049h\x1b[?1049l", b""),
        (b"\x1b[?25l\x1b[?2004;1000h", b"\x1b[?25l\x1b[?1000h\x1b[?2004h"),
        (b"\x1b[?7l\x1bc", b""),
        (b"\x1b=", b"\x1b="),
        (b"\x1b[?9999h\x1b[4h", b""),
    ],
)
def test_modes_when_their_sequence_was_dropped_then_stand_before_the_rest(before: bytes, modes: bytes) -> None:
    screen = Screen(1000)
    screen.add(before)
    screen.add(b"x" * 5000)
    screen.add(b"y" * 500)
    assert screen.replay() == RESET + modes + b"y" * 500


def test_a_string_when_it_never_ends_then_nothing_of_it_is_kept_and_what_follows_is() -> None:
    screen = Screen(1000)
    screen.add(b"\x1b]0;")
    for _ in range(100):
        screen.add(b"z" * 4000)
    assert screen.content() == b""
    screen.add(b"z\x07after")
    screen.add(b"wards")
    assert screen.content() == b"wards"


def test_small_pieces_when_many_come_then_cost_little_memory() -> None:
    screen = Screen(100_000)
    for _ in range(50_000):
        screen.add(b"ab")
    pieces: list[Any] = screen._pieces
    assert len(pieces) < 60
    assert 90_000 < len(screen.content()) <= 100_000
