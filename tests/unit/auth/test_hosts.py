"""Host names of the gateway: read, written, and everything that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.auth.hosts import Address, Place, is_app_name, is_port
from cloudrouter.wire import ids

LOCAL = Address(7080)
IDS = st.text(ids.ALPHABET, min_size=8, max_size=8).map(lambda word: ids.PREFIX + word)
PORTS = st.integers(1, 65535).map(str)
APPS = st.from_regex(r"[a-z]([a-z0-9]|-(?!-)){0,29}[a-z0-9]|[a-z]", fullmatch=True).filter(is_app_name)
ADDRESSES = st.builds(Address, st.integers(1, 65535), st.sampled_from(["localhost", "cr.example.com"]), st.booleans())


@given(ADDRESSES, IDS, PORTS | APPS)
def test_what_is_written_is_read_again(address: Address, machine_id: str, target: str) -> None:
    place = Place(machine_id, target)
    host = address.origin(place).partition("://")[2]
    assert address.read(host) == place
    assert address.read(host.upper()) == place
    assert address.read(host.replace("--cr-", "--cr_")) == place
    assert (place.port is not None) == target.isdigit()


@given(ADDRESSES, st.text(max_size=80) | st.text("0123456789-._:crab[]%", max_size=60))
def test_anything_else_is_no_place_or_a_sound_one(address: Address, host: str) -> None:
    place = address.read(host)
    if place is not None:
        assert ids.is_machine_id(place.machine_id)
        assert is_port(place.target) or is_app_name(place.target)
        canonical = address.origin(place).partition("://")[2]
        assert host.lower().partition(":")[0].replace("--cr_", "--cr-") == canonical.partition(":")[0]


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "localhost:7080",
        "127.0.0.1:7080",
        "[::1]:7080",
        "cr-7k2m9xqd.localhost",
        "3000-cr-7k2m9xqd.localhost",
        "--cr-7k2m9xqd.localhost",
        "03000--cr-7k2m9xqd.localhost",
        "0--cr-7k2m9xqd.localhost",
        "65536--cr-7k2m9xqd.localhost",
        "٣--cr-7k2m9xqd.localhost",
        "vs--code--cr-7k2m9xqd.localhost",
        "vscode---cr-7k2m9xqd.localhost",
        "-vscode--cr-7k2m9xqd.localhost",
        "3000--cr-7k2m9xq.localhost",
        "3000--cr-7k2m9xqda.localhost",
        "3000--cr-7k2m9xqo.localhost",
        "3000--cr-7k2m9xqd.localhost.",
        "3000--cr-7k2m9xqd.localhost.evil.example",
        "x.3000--cr-7k2m9xqd.localhost",
        "3000--cr-7k2m9xqd.evil.example",
        "3000--cr-7k2m9xqd.localhost:x",
        "3000--cr-7k2m9xqd.localhost:",
        "3000--cr-7k2m9xqd.localhost:99999",
        "user@3000--cr-7k2m9xqd.localhost",
    ],
)
def test_these_are_no_machines(host: str) -> None:
    assert LOCAL.read(host) is None


def test_usual_ports_are_not_written() -> None:
    place = Place("cr_7k2m9xqd", "3000")
    assert Address(443, "x.example", tls=True).origin(place) == "https://3000--cr-7k2m9xqd.x.example"
    assert Address(80).origin(place) == "http://3000--cr-7k2m9xqd.localhost"
    assert LOCAL.origin(place) == "http://3000--cr-7k2m9xqd.localhost:7080"
    assert (LOCAL.url, LOCAL.is_local) == ("http://localhost:7080", True)
