"""Cookies: ours found and kept back, theirs tamed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.auth import cookies

PLAIN, SECURE = "cloudrouter-session", "__Host-cloudrouter-session"


@pytest.mark.parametrize(
    ("headers", "tls", "found"),
    [
        ([], False, []),
        ([f"{PLAIN}=a"], False, ["a"]),
        ([f"x=1; {PLAIN}=a; y=2"], False, ["a"]),
        ([f"{PLAIN}=a", f"{PLAIN}=b"], False, ["a", "b"]),
        ([f"{PLAIN}=a;{PLAIN}=a"], False, ["a", "a"]),
        ([f"{SECURE}=a; {PLAIN}=b"], True, ["a"]),
        ([f"{SECURE}=a; {PLAIN}=b"], False, ["b"]),
        ([f"x{PLAIN}=a; {PLAIN}x=b; CLOUDROUTER-SESSION=c"], False, []),
    ],
)
def test_our_cookie_is_found(headers: list[str], tls: bool, found: list[str]) -> None:
    assert cookies.session_secrets(headers, tls=tls) == found


def test_a_secure_cookie_is_bound_to_its_host() -> None:
    made = cookies.set_session("S", tls=True)
    assert made == f"{SECURE}=S; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure"
    assert "Domain" not in made


PAIRS = st.tuples(
    st.sampled_from([PLAIN, SECURE, "a", "b", "", "cloudrouter-sessio", " " + PLAIN]), st.text("xyz= ", max_size=4)
)


@given(st.lists(st.lists(PAIRS.map("=".join), max_size=5).map(";".join), max_size=3))
def test_machines_never_see_ours(headers: list[str]) -> None:
    kept = cookies.without_ours(headers)
    assert cookies.session_secrets([kept], tls=False) == cookies.session_secrets([kept], tls=True) == []
    theirs = [part.strip() for header in headers for part in header.split(";") if part.strip()]
    theirs = [part for part in theirs if PLAIN not in part]
    assert [part for part in kept.split("; ") if part] == theirs


@pytest.mark.parametrize(
    ("given_", "passed"),
    [
        ("a=1", "a=1"),
        ("a=1; Domain=example.com", "a=1"),
        ("a=1;domain=example.com;Secure", "a=1;Secure"),
        ("a=1; DoMaIn = x; Path=/", "a=1; Path=/"),
        ("a=1;\tDomain\t=x", "a=1"),
        ("a=1; Domain", "a=1"),
        ("Domain=1", "Domain=1"),
        ("a=Domain=x", "a=Domain=x"),
        (f"{PLAIN}=x", None),
        (f" {PLAIN} =x; Path=/", None),
        (f"={PLAIN}=x", None),
        (f"==\t{SECURE}=x", None),
        (PLAIN.upper() + "=x", None),
        (PLAIN, None),
        (f"x={PLAIN}", f"x={PLAIN}"),
    ],
)
def test_a_machines_cookie_is_tamed(given_: str, passed: str | None) -> None:
    assert cookies.tamed(given_) == passed


@given(st.text(max_size=60))
def test_no_domain_is_left(header: str) -> None:
    passed = cookies.tamed(f"a=1; {header}")
    assert passed is not None
    assert not [part for part in passed.split(";")[1:] if part.split("=")[0].strip(" \t").lower() == "domain"]
