"""The parts that need no guest process: the window, the job log, settings, paths, environment, cleaning up."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudrouter.guest import holder, logfile
from cloudrouter.guest.environment import command_environment, find_account, resolve_path
from cloudrouter.guest.logfile import LogReader
from cloudrouter.guest.settings import Settings, take_settings
from cloudrouter.guest.stream import Input
from cloudrouter.guest.tasks import surely
from cloudrouter.wire.errors import NotConfigured, UsageError
from cloudrouter.wire.streams import WINDOW

BOOT = {"CLOUDROUTER_MACHINE_ID": "cr_23456789", "CLOUDROUTER_TOKEN_SHA256": "ab" * 32}
PLACES = Settings("cr_23456789", "ab" * 32, "0.0.0.0:7070", "", "/home/user", "/home/user/workspace", "/state", 1 << 20)


@given(st.lists(st.one_of(st.integers(1, WINDOW), st.none()), max_size=30))
async def test_the_window_whatever_happens_then_is_what_was_granted(steps: list[int | None]) -> None:
    granted = [WINDOW]
    source = Input(lambda count: granted.append(count))
    source.wanted = True
    sent, consumed = 0, 0
    for step in steps:
        if step is None:
            count = len(await source.peek(WINDOW)) if sent > consumed else 0
            source.consume(count)
            consumed += count
        elif sent + step <= sum(granted):
            source.feed(bytes(step))
            sent += step
        else:
            with pytest.raises(UsageError, match="window"):
                source.feed(bytes(step))
            return
        assert sum(granted) - WINDOW <= consumed
        assert sum(granted) - sent + (sent - consumed) >= WINDOW - WINDOW // 4


async def test_input_when_abandoned_then_is_dropped_and_not_granted_again() -> None:
    granted: list[int] = []
    source = Input(granted.append)
    source.wanted = True
    source.feed(b"x" * 1000)
    source.abandon()
    source.feed(b"x" * (WINDOW - 1000))
    with pytest.raises(UsageError):
        source.feed(b"x")
    assert granted == []


async def test_input_when_its_end_has_come_then_takes_no_more() -> None:
    source = Input(lambda _: None)
    source.wanted = True
    source.end()
    assert await source.peek(1) == b""
    with pytest.raises(UsageError):
        source.feed(b"x")


def read_log(folder: str) -> list[tuple[int, bytes]]:
    reader, found = LogReader(folder), []
    while records := reader.read():
        found += [(kind, data) for kind, _time, data, _position in records]
    reader.close()
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([holder.STDOUT, holder.STDERR]), st.binary(min_size=1, max_size=200))))
def test_a_log_whatever_was_written_then_reads_as_its_end_with_the_exact_gap(records: list[tuple[int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = holder.Log(folder, 2000)
        for stream, data in records:
            log.write(stream, data)
            log.flush()
        found = read_log(folder)
        total = sum(len(data) for _, data in records)
        gone = int(found.pop(0)[1]) if found and found[0][0] == holder.POSITION else 0
        assert found == records[len(records) - len(found) :]
        assert gone + sum(len(data) for _, data in found) == total
        assert sum(os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder)) <= 2000 + 8 * 21
        assert len(os.listdir(folder)) <= holder.SEGMENTS
        assert not records or len(found) >= min(len(records), holder.SEGMENTS - 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([holder.STDOUT, holder.STDERR]), st.binary(min_size=1, max_size=200))))
def test_a_log_when_pieces_are_gathered_then_each_stream_stays_in_order(records: list[tuple[int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = holder.Log(folder, 1 << 20)
        for stream, data in records:
            log.write(stream, data)
        log.flush()
        found = read_log(folder)
        for stream in (holder.STDOUT, holder.STDERR):
            written = b"".join(data for kind, data in records if kind == stream)
            assert b"".join(data for kind, data in found if kind == stream) == written
        neighbours = itertools.pairwise(found)
        assert all(one[0] != two[0] for one, two in neighbours)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.text("a\n", min_size=1, max_size=60).map(str.encode), max_size=60),
    st.integers(0, 80),
    st.integers(1000, 6000),
)
def test_the_tail_when_found_then_is_exactly_the_last_lines(pieces: list[bytes], wanted: int, limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = holder.Log(folder, limit)
        for piece in pieces:
            log.write(holder.STDOUT, piece)
            log.flush()
        kept = b"".join(data for kind, data in read_log(folder) if kind != holder.POSITION)
        place = logfile.find_tail(folder, wanted)
        reader, found = LogReader(folder, place), b""
        while entries := reader.read():
            found += b"".join(data for kind, _time, data, _position in entries if kind != holder.POSITION)
        reader.close()
        lines = found.splitlines(keepends=True)[place.lines if place else 0 :]
        assert lines == kept.splitlines(keepends=True)[-wanted or len(kept) + 1 :]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.data())
def test_a_position_when_looked_up_then_reading_there_misses_nothing(sizes: list[int], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = holder.Log(folder, 4000)
        for size in sizes:
            log.write(holder.STDOUT, b"x" * size)
            log.flush()
        position = data.draw(st.integers(0, sum(sizes)))
        reader = LogReader(folder, logfile.find_position(folder, position))
        entries = [entry for entry in iter(reader.read, []) for entry in entry]
        reader.close()
        assert entries[-1][3] == sum(sizes)
        first = entries[0]
        begin = first[3] - (int(first[2]) if first[0] == holder.POSITION else len(first[2]))
        assert begin <= position
        for before, entry in itertools.pairwise(entries):
            assert entry[3] - len(entry[2]) == before[3]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 10))
def test_a_reader_when_it_follows_a_writer_then_sees_every_byte_or_its_gap(sizes: list[int], every: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log, reader, seen = holder.Log(folder, 1000), LogReader(folder), 0
        for number, size in enumerate(sizes):
            log.write(holder.STDOUT, b"x" * size)
            if number % every == 0 or number == len(sizes) - 1:
                log.flush()
                while records := reader.read():
                    seen += sum(int(data) if kind == holder.POSITION else len(data) for kind, _, data, _ in records)
        reader.close()
        assert seen == sum(sizes)


def test_a_log_when_the_disk_is_full_for_a_while_then_tells_the_gap(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = holder.Log(str(tmp_path), 100_000)
    log.write(holder.STDOUT, b"before")
    log.flush()
    write = os.write

    def half(fd: int, data: bytes) -> int:
        if b"broken" in data:
            return write(fd, data[:-3])
        if b"lost" in data:
            raise OSError(28, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(holder.os, "write", half)
    for word in (b"broken", b"lost", b"after"):
        log.write(holder.STDERR, word)
        log.flush()
    assert read_log(str(tmp_path)) == [
        (holder.STDOUT, b"before"),
        (holder.POSITION, b"10"),
        (holder.STDERR, b"after"),
    ]


def test_settings_when_taken_then_leave_nothing_in_the_environment() -> None:
    env = {**BOOT, "CLOUDROUTER_PORT": "81", "CLOUDROUTER_OTHER": "x", "PATH": "/bin"}
    taken = take_settings(env)
    assert env == {"PATH": "/bin"}
    assert (taken.listen, taken.user, taken.home) == ("0.0.0.0:81", "user", "/home/user")
    assert take_settings({**BOOT, "CLOUDROUTER_USER": ""}).user == ""
    assert take_settings({**BOOT, "CLOUDROUTER_LISTEN": "unix:/x"}).listen == "unix:/x"
    assert taken.job_log_bytes == holder.LOG_LIMIT
    assert take_settings({**BOOT, "CLOUDROUTER_JOB_LOG_BYTES": "2000000"}).job_log_bytes == 2_000_000


@pytest.mark.parametrize(
    "change",
    [
        {"CLOUDROUTER_MACHINE_ID": "x"},
        {"CLOUDROUTER_TOKEN_SHA256": ""},
        {"CLOUDROUTER_TOKEN_SHA256": "zz" * 32},
        {"CLOUDROUTER_PORT": "0x10"},
        {"CLOUDROUTER_PORT": "70000"},
        {"CLOUDROUTER_LISTEN": "nowhere"},
        {"CLOUDROUTER_LISTEN": "unix:relative"},
        {"CLOUDROUTER_JOB_LOG_BYTES": "1000"},
        {"CLOUDROUTER_JOB_LOG_BYTES": "-1"},
        {"CLOUDROUTER_JOB_LOG_BYTES": "128m"},
    ],
)
def test_settings_when_they_cannot_be_right_then_raise(change: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        take_settings({**BOOT, **change})


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (None, "/home/user/workspace"),
        ("", "/home/user/workspace"),
        ("a/b", "/home/user/workspace/a/b"),
        ("~", "/home/user"),
        ("~/x", "/home/user/x"),
        ("~bob", "/home/user/workspace/~bob"),
        ("/etc", "/etc"),
    ],
)
def test_a_path_when_resolved_then_is_what_a_person_means(path: str | None, wanted: str) -> None:
    assert resolve_path(PLACES, path) == wanted


def test_the_environment_when_built_then_the_later_wish_wins_and_ci_is_not_inherited() -> None:
    account = find_account("")
    inherited = {"CI": "true", "TERM": "dumb", "IMAGE": "1", "PATH": "/opt/tool/bin:/usr/bin", "A": "image"}
    env = command_environment(
        PLACES, account, inherited, {"A": "configured", "B": "configured"}, {"B": "asked", "CI": "1"}
    )
    assert (env["A"], env["B"], env["IMAGE"], env["CI"]) == ("configured", "asked", "1", "1")
    assert env["PATH"].startswith("/home/user/.local/bin:/opt/tool/bin:/usr/bin:/usr/local/sbin:")
    assert env["PATH"].split(":").count("/usr/bin") == 1
    assert env["LANG"] == "C.UTF-8"
    assert "TERM" not in env


def test_an_account_when_the_machine_does_not_know_it_then_is_an_error_that_says_so() -> None:
    with pytest.raises(NotConfigured, match="no user named"):
        find_account("nobody-has-this-name")


async def test_cleaning_up_when_cancelled_twice_then_is_done_before_the_cancellation_counts() -> None:
    gate, done = asyncio.Event(), []

    async def clean() -> None:
        await gate.wait()
        done.append(True)

    task = asyncio.create_task(surely(clean()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]
