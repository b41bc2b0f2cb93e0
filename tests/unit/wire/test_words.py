"""Ids, names, sizes, durations, states: the words every room relies on."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.wire import durations, ids, places, routes, sizes, states
from cloudrouter.wire.errors import UsageError


def test_new_ids_are_whole_ids_and_differ() -> None:
    made = {ids.new_machine_id() for _ in range(2000)}
    assert len(made) == 2000
    assert all(ids.is_machine_id(one) for one in made)
    assert all(ids.is_job_id(ids.new_job_id()) for _ in range(100))


@pytest.mark.parametrize("text", ["", "cr_", "cr_7k2m9xq", "cr_7k2m9xqdd", "cr-7k2m9xqd", "cr_7k2m9xq1", "../etc"])
def test_other_text_is_no_machine_id(text: str) -> None:
    assert not ids.is_machine_id(text)


@given(st.text(max_size=20))
def test_whatever_passes_as_job_id_is_a_safe_file_name(text: str) -> None:
    if ids.is_job_id(text):
        assert text.isascii()
        assert not set(text) & set("/.\0")


def test_dns_label_and_back() -> None:
    machine_id = ids.new_machine_id()
    label = ids.dns_label(machine_id)
    assert "_" not in label
    assert ids.from_dns_label(label) == machine_id
    assert ids.from_dns_label("web-2") == "web-2"


@given(st.text(max_size=60))
def test_a_name_made_from_a_folder_is_legal_or_empty(folder: str) -> None:
    name = ids.name_from_folder(folder)
    assert name == "" or ids.name_fault(name) is None


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My Project", "my-project"),
        ("2048", ""),
        ("todo-web", "todo-web"),
        ("cr-x", ""),
        ("été", "t"),
        ("a__b", "a-b"),
        ("p2", "p2"),
        ("my_App.v3", "my-app-v3"),
    ],
)
def test_names_keep_what_can_be_kept_of_a_folder(folder: str, name: str) -> None:
    assert ids.name_from_folder(folder) == name


@pytest.mark.parametrize("name", ["", "1a", "A", "a" * 32, "cr-x", "a_b", "a b", "-a"])
def test_illegal_names_have_a_reason(name: str) -> None:
    assert ids.name_fault(name)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512", 512 * 1024**2),
        ("512m", 512 * 1024**2),
        ("8g", 8 * 1024**3),
        ("8GiB", 8 * 1024**3),
        ("1.5G", int(1.5 * 1024**3)),
        ("1t", 1024**4),
        ("64 MB", 64 * 1024**2),
    ],
)
def test_amounts_of_memory_are_read(text: str, count: int) -> None:
    assert sizes.parse_bytes(text) == count


@given(st.text(max_size=12))
def test_any_text_is_an_amount_or_a_value_error(text: str) -> None:
    try:
        assert sizes.parse_bytes(text) >= 0
    except ValueError as error:
        assert "memory" in str(error)


@pytest.mark.parametrize(
    ("text", "seconds"), [("600", 600), ("90s", 90), ("15m", 900), ("1h", 3600), ("1h30m", 5400), ("2d", 172800)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert durations.parse_duration(text) == seconds


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert 0 <= durations.parse_duration(text) <= durations.MAX_SECONDS
    except ValueError as error:
        assert "duration" in str(error)


def test_durations_are_shown_in_two_units_at_most() -> None:
    assert durations.format_duration(45) == "45s"
    assert durations.format_duration(3600 * 26 + 65) == "1d 2h"
    assert durations.format_duration(59 * 60) == "59m"


@pytest.mark.parametrize(
    ("cpus", "memory_gib", "name"), [(2, 24, "small"), (8, 64, "large"), (64, 512, "xlarge"), (4, 8, "custom")]
)
def test_the_default_size_fits_the_host(cpus: int, memory_gib: int, name: str) -> None:
    found, cpu, memory = sizes.default_size(cpus, memory_gib * sizes.GIB)
    assert found == name
    assert cpu <= cpus
    assert memory <= memory_gib * sizes.GIB // 2


def test_every_state_has_a_way_to_its_end() -> None:
    for state in states.NEXT:
        if state != states.GONE:
            assert states.DELETING in states.NEXT[state] or state == states.DELETING
    assert states.NEXT[states.DELETING] >= {states.GONE}
    assert {after for follow in states.NEXT.values() for after in follow} <= set(states.NEXT)


def test_an_empty_reference_is_named_before_anything_is_asked() -> None:
    with pytest.raises(UsageError, match="empty"):
        routes.machine("")


def test_places_follow_the_environment() -> None:
    assert places.socket_path({"XDG_RUNTIME_DIR": "/run/user/7"}, 7) == "/run/user/7/cloudrouter/router.sock"
    assert places.socket_path({}, 7) == "/tmp/cloudrouter-7/router.sock"
    assert places.state_dir({"HOME": "/home/a"}) == "/home/a/.local/state/cloudrouter"


@pytest.mark.parametrize(
    ("mode", "owner", "word"),
    [
        (stat.S_IFDIR | 0o755, 5, "enter"),
        (stat.S_IFDIR | 0o700, 6, "belongs"),
        (stat.S_IFLNK | 0o777, 5, "link"),
        (stat.S_IFREG | 0o600, 5, "folder"),
    ],
)
def test_unsafe_folders_are_named(mode: int, owner: int, word: str) -> None:
    assert word in str(places.folder_fault(mode, owner, 5))


def test_a_private_folder_is_fine() -> None:
    assert places.folder_fault(stat.S_IFDIR | 0o700, 5, 5) is None


@given(st.text(min_size=1, max_size=20))
def test_a_reference_never_leaves_its_path_segment(ref: str) -> None:
    try:
        path = routes.machine(ref, "stop")
    except UsageError:
        assert set(ref) & set("/\0")
        return
    assert path.count("/") == 4
    assert path.isascii()
    assert not set(path) & set("?# \r\n")
