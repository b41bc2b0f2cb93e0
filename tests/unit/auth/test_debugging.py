"""Debugging addresses, read from hosts and targets that anybody may make up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.auth import debugging
from cloudrouter.auth.hosts import Address, Place

LOCAL = Address(7080)
TEAM = Address(443, "cr.example.com", tls=True)
HOST = "browser--cr-7k2m9xqd.cr.example.com"
ID = "cr_7k2m9xqd"


@pytest.mark.parametrize(
    ("target", "key", "path"),
    [
        ("/cdp/k", "k", ""),
        ("/cdp/k/", "k", ""),
        ("/cdp/k/json/version/", "k", "/json/version"),
        ("/cdp/k/devtools/browser/a-b?x=1", "k", "/devtools/browser/a-b"),
        ("/cdp/", "", ""),
        ("/cdp/a%2Fb/json", "", "/json"),
        ("/cdp/../json", "", "/json"),
        (f"/cdp/{'k' * 65}/json", "", "/json"),
    ],
)
def test_read_when_given_a_target_then_parts_the_key_from_the_rest(target: str, key: str, path: str) -> None:
    assert debugging.read(LOCAL, "127.0.0.1:7080", target) == debugging.Debugging(key, path, None)


@given(st.text(max_size=40))
def test_read_when_given_any_host_then_only_this_hosts_own_names_are_taken(host: str) -> None:
    own = {f"{name}:7080" for name in ("127.0.0.1", "localhost", "[::1]")}
    assert (debugging.read(LOCAL, host, "/cdp/k/json") is not None) == (host.lower() in own)


def test_read_when_a_team_has_a_domain_then_the_host_names_the_machine() -> None:
    asked = debugging.read(TEAM, HOST, "/cdp/k/json")
    assert asked == debugging.Debugging("k", "/json", ID)
    assert asked.fits(Place(ID, "browser"))
    assert not asked.fits(Place("cr_2222222a", "browser"))
    for host in ("127.0.0.1", "cr.example.com", HOST.replace("browser", "3000"), HOST.replace("browser", "desktop")):
        assert debugging.read(TEAM, host, "/cdp/k/json") is None


@given(st.text(max_size=60))
def test_socket_path_when_a_browser_says_anything_then_it_is_a_path_of_two_kinds_or_none(tail: str) -> None:
    found = debugging.socket_path(f"ws://127.0.0.1:9222{tail}")
    assert found is None or debugging.is_socket(found)
    letters = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/")
    assert found is None or set(found) <= letters


@pytest.mark.parametrize("url", [None, 5, "", "ws://", "http://x/devtools/browser/a", "ws://x/devtools/browser/"])
def test_socket_path_when_it_is_no_address_of_a_browser_then_none(url: object) -> None:
    assert debugging.socket_path(url) is None


@pytest.mark.parametrize("name", ["Origin", "origin", "ORIGIN", "Sec-Fetch-Site", "sec-fetch-x"])
def test_is_of_a_page_when_a_browser_says_where_from_then_it_is(name: str) -> None:
    assert debugging.is_of_a_page(["Host", name])
    assert not debugging.is_of_a_page(["Host", "User-Agent", f"X-{name}"])


def test_base_when_told_then_is_where_programs_of_this_host_or_of_the_team_find_it() -> None:
    assert debugging.base(LOCAL, ID, "k", socket=True) == "ws://127.0.0.1:7080/cdp/k"
    assert debugging.base(LOCAL, ID, "k", socket=False, host="[::1]:7080") == "http://[::1]:7080/cdp/k"
    assert debugging.base(TEAM, ID, "k", socket=True) == f"wss://{HOST}/cdp/k"
