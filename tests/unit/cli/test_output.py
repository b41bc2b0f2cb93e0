"""What people see: tables that fit, colours only where wanted, hostile text made harmless."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.cli import output
from cloudrouter.cli.times import age, clock_time, left, parse_time


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text())
def test_escape_when_given_any_text_then_nothing_a_terminal_obeys_is_left(text: str) -> None:
    shown = output.escape(text)
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x1b[2Jb", "a\\x1b[2Jb"), ("two\nlines", "two\\nlines"), ("\u202edaolp", "\\u202edaolp"), ("ä✗日本", "ä✗日本")],
)
def test_escape_when_text_has_control_characters_then_spells_them(text: str, shown: str) -> None:
    assert output.escape(text) == shown


def test_table_when_not_a_terminal_then_cuts_nothing_and_has_no_colours() -> None:
    lines = output.table(("ID", "NAME"), [("cr_1", "x" * 300), ("cr_22", "")], stream=io.StringIO(), shrink=(1,))
    assert lines == ["ID     NAME", "cr_1   " + "x" * 300, "cr_22"]


@given(
    st.integers(20, 120),
    st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), max_size=4),
)
def test_table_when_the_terminal_is_narrow_then_fits_it(columns: int, rows: list[tuple[str, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("NO_COLOR", "1")
        lines = output.table(("A", "B"), rows, stream=Terminal(), shrink=(0, 1))
    assert len(lines) == len(rows) + 1
    assert all(output.width_of(line) <= columns for line in lines)


def test_table_when_a_column_gives_way_then_shows_an_ellipsis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = output.table(("ID", "NAME"), [("cr_7k2m9xqd", "a-long-project")], stream=Terminal(), shrink=(1,))
    assert lines[1] == "cr_7k2m9xqd  a-long…"


def test_table_when_on_a_terminal_then_colours_do_not_move_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    styles = {0: lambda cell: output.paint_state(cell, stream)}
    lines = output.table(("STATE", "X"), [("running", "1"), ("failed", "2")], stream=stream, styles=styles)
    assert "\x1b[32mrunning\x1b[0m  1" in lines[1]
    assert "\x1b[31mfailed\x1b[0m   2" in lines[2]


@pytest.mark.parametrize(
    ("stream", "env", "wanted"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (io.StringIO(), {"TERM": "xterm"}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (None, {}, False),
    ],
)
def test_colours_when_decided_then_need_a_terminal_and_no_wish_against_them(
    stream: io.StringIO | None, env: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    assert output.wants_colour(stream) is wanted
    assert (output.paint("x", "red", stream) != "x") is wanted


def test_output_when_stdout_is_closed_then_says_nothing_and_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    output.say("x")
    output.note("y")
    output.flush()
    assert output.terminal_width() == 80


def test_json_when_not_a_terminal_then_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_json({"a": [1, 2]})
    assert capsys.readouterr().out == '{"a": [1, 2]}\n'


@given(st.integers(0, 4_102_444_800_000))
def test_parse_time_when_given_the_router_s_form_then_agrees_with_datetime(milliseconds: int) -> None:
    from datetime import UTC, datetime

    text = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    found = parse_time(text)
    assert found is not None
    assert abs(found - milliseconds / 1000) < 0.002


@given(st.text(max_size=30))
def test_parse_time_when_given_anything_then_never_raises(text: str) -> None:
    assert parse_time(text) is None or isinstance(parse_time(text), float)


def test_ages_when_shown_then_are_short() -> None:
    made = "1970-01-01T01:00:00.000Z"
    assert age(made, 3600 + 90) == "1m"
    assert left(made, 600) == "50m"
    assert left(made, 3600) == "over"
    assert (age(None), left(None), clock_time(None)) == ("-", "-", "-")


def test_clock_time_when_not_today_then_has_the_date() -> None:
    assert clock_time("2001-02-03T12:00:00Z").startswith("2001-02-0")


@pytest.mark.parametrize("second", ["infZ", "nanZ", "1e9Z", "-5Z", "62.5Z"])
def test_parse_time_when_the_seconds_cannot_be_then_is_no_time(second: str) -> None:
    text = f"2026-01-01T00:00:{second}"
    assert parse_time(text.ljust(20)) is None
    assert parse_time(f"2026-01-01T00:00:0000{second}") is None
