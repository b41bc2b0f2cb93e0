"""Decisions without I/O: which machine an argument means, which size a machine gets."""

from __future__ import annotations

import pytest

from cloudrouter.providers.base import Features, Offer
from cloudrouter.server.services.finding import find
from cloudrouter.server.services.sizing import decide_size
from cloudrouter.server.store.machines import Row
from cloudrouter.wire.errors import Ambiguous, InvalidSpec, NoCapacity, NotFound, Unsupported
from cloudrouter.wire.machines import StartMachine
from cloudrouter.wire.sizes import GIB

HOST = [Offer(region="host", cpus=2, memory_bytes=24 * GIB, available_memory_bytes=20 * GIB)]


def make_row(machine_id: str, name: str = "") -> Row:
    blank = dict.fromkeys(Row.__dataclass_fields__)
    return Row(**{**blank, "id": machine_id, "name": name, "state": "running"})  # type: ignore[arg-type]


ROWS = [make_row("cr_7k2m9xqd", "web"), make_row("cr_7k2mbbbb"), make_row("cr_zzzz2222", "zzzz")]


@pytest.mark.parametrize(
    ("ref", "found"),
    [
        ("cr_7k2m9xqd", "cr_7k2m9xqd"),
        ("cr-7k2m9xqd", "cr_7k2m9xqd"),
        ("web", "cr_7k2m9xqd"),
        ("cr_7k2m9", "cr_7k2m9xqd"),
        ("7k2mb", "cr_7k2mbbbb"),
        ("zzzz", "cr_zzzz2222"),
    ],
)
def test_an_argument_finds_its_machine(ref: str, found: str) -> None:
    assert find(ROWS, ref).id == found


def test_an_ambiguous_prefix_names_the_candidates() -> None:
    with pytest.raises(Ambiguous, match="cr_7k2m9xqd, cr_7k2mbbbb"):
        find(ROWS, "cr_7k2m")


def test_a_short_prefix_finds_nothing() -> None:
    with pytest.raises(NotFound):
        find(ROWS, "7k2")


def test_a_typo_gets_a_suggestion() -> None:
    with pytest.raises(NotFound) as caught:
        find(ROWS, "cr_7k2m9xqb")
    assert "cr_7k2m9xqd" in caught.value.fix


def test_deleting_wants_the_whole_id() -> None:
    with pytest.raises(NotFound, match="beginning"):
        find(ROWS, "7k2m9", exact=True)
    assert find(ROWS, "web", exact=True).id == "cr_7k2m9xqd"


def test_hostile_references_stay_on_one_line() -> None:
    with pytest.raises(NotFound) as caught:
        find(ROWS, "a\nb\x1b[31m" + "c" * 500)
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 120


def test_the_default_size_is_what_fits() -> None:
    size = decide_size(StartMachine(), HOST, Features())
    assert (size.name, size.cpu, size.memory_bytes) == ("small", 2.0, 8 * GIB)


def test_a_size_larger_than_the_host_is_refused_with_its_numbers() -> None:
    with pytest.raises(InvalidSpec, match="2 cpu, 24 GiB"):
        decide_size(StartMachine(size="large"), HOST, Features())
    with pytest.raises(InvalidSpec, match="2 cpu, 24 GiB"):
        decide_size(StartMachine(memory_bytes=25 * GIB), HOST, Features())


def test_own_numbers_win_over_the_preset() -> None:
    size = decide_size(StartMachine(size="small", memory_bytes=GIB), HOST, Features())
    assert (size.name, size.cpu, size.memory_bytes) == ("custom", 2.0, GIB)


@pytest.mark.parametrize("wanted", [StartMachine(cpu=0), StartMachine(memory_bytes=1), StartMachine(size="huge")])
def test_impossible_sizes_are_refused(wanted: StartMachine) -> None:
    with pytest.raises(InvalidSpec):
        decide_size(wanted, HOST, Features())


def test_a_disk_limit_is_refused_where_nobody_enforces_it() -> None:
    with pytest.raises(Unsupported, match="disk"):
        decide_size(StartMachine(disk_bytes=GIB), HOST, Features())
    assert decide_size(StartMachine(disk_bytes=GIB), HOST, Features(disk_limit=True)).disk_bytes == GIB


def test_no_offer_is_no_capacity() -> None:
    with pytest.raises(NoCapacity):
        decide_size(StartMachine(), [], Features())
