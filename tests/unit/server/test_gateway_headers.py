"""Headers on their way through the gateway, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.auth.hosts import Address, Place
from cloudrouter.server.gateway.headers import Outside, answer_head, framing_fault, is_one_line, request_head

HERE = Outside(Address(7080), Place("cr_7k2m9xqd", "3000"), "3000--cr-7k2m9xqd.localhost:7080", "/a?b")
NAMES = st.sampled_from(
    [
        b"Cookie",
        b"cookie",
        b"Connection",
        b"Host",
        b"Upgrade",
        b"X-A",
        b"X_Forwarded_Host",
        b"X-Forwarded-For",
        b"Transfer-Encoding",
        b"Content-Length",
        b"Referer",
        b"Origin",
        b"Set-Cookie",
        b"Location",
        b"TE",
        b"Host_",
    ]
)
VALUES = st.sampled_from(
    [
        b"cloudrouter-session=SECRET",
        b"a=1; cloudrouter-session=SECRET;b=2",
        b"__Host-cloudrouter-session=SECRET",
        b"x",
        b"cookie, x-a",
        b"http://h/?cloudrouter-ticket=SECRET",
        b"5",
        b"chunked",
        b"\xff\xe9",
        b"evil.example",
        b"",
    ]
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8).map(tuple)


def lines(head: bytes) -> list[bytes]:
    """A head's lines; it has to end as heads do."""
    assert head.endswith(b"\r\n\r\n")
    assert b"\r\n\r\n" not in head[:-4]
    return head[:-4].split(b"\r\n")


@given(HEADERS, st.booleans(), st.booleans())
def test_a_machine_is_told_one_host_and_no_secret(
    raw: tuple[tuple[bytes, bytes], ...], upgrade: bool, chunked: bool
) -> None:
    kept_in = {b"session": b"cookie", b"ticket": b"referer"}
    raw = tuple(
        pair
        for pair in raw
        if all(word + b"=SECRET" not in pair[1] or pair[0].lower() == place for word, place in kept_in.items())
    )
    head = request_head("GET", HERE, raw, upgrade=upgrade, chunked=chunked)
    first, *rest = lines(head)
    assert first == b"GET /a?b HTTP/1.1"
    assert b"SECRET" not in head
    names = [line.partition(b":")[0].lower() for line in rest]
    assert names.count(b"host") == 1
    assert names.count(b"x-forwarded-host") == names.count(b"x-forwarded-proto") == 1
    assert b"x-forwarded-for" not in names
    assert b"x_forwarded_host" not in names
    assert names.count(b"transfer-encoding") == chunked
    assert names.count(b"connection") == names.count(b"upgrade") == upgrade


@given(HEADERS)
def test_an_answer_has_the_framing_that_the_gateway_says(raw: tuple[tuple[bytes, bytes], ...]) -> None:
    first, *rest = lines(answer_head(200, "OK", HERE, raw, [b"Content-Length: 7"]))
    assert first == b"HTTP/1.1 200 OK"
    names = [line.partition(b":")[0].lower() for line in rest]
    assert names.count(b"content-length") == 1
    assert not {b"transfer-encoding", b"connection", b"te", b"upgrade"} & set(names)
    assert not [line for line in rest if line.lower().startswith(b"set-cookie: cloudrouter-session")]


@pytest.mark.parametrize("reason", ["OK\r\nX: y", "gr\xfc\xdf", "a\x00b", "\udce9"])
def test_a_reason_is_plain_words_or_left_out(reason: str) -> None:
    assert lines(answer_head(200, reason, HERE, (), []))[0] == b"HTTP/1.1 200 "


@pytest.mark.parametrize("part", [b"a\rb", b"a\nb", b"a\0b"])
def test_a_header_of_several_lines_is_noticed(part: bytes) -> None:
    assert is_one_line(((b"X", b"a b\t\xff"),))
    assert not is_one_line(((b"X", part),))
    assert not is_one_line(((part, b"x"),))


@pytest.mark.parametrize(
    ("raw", "clear"),
    [
        ((), True),
        (((b"Content-Length", b"0"),), True),
        (((b"transfer-encoding", b" Chunked "),), True),
        (((b"Content-Length", b"4"), (b"content-length", b"4")), False),
        (((b"Content-Length", b"4"), (b"Transfer-Encoding", b"chunked")), False),
        (((b"Content-Length", b""),), False),
        (((b"Content-Length", b"-1"),), False),
        (((b"Content-Length", "٤".encode()),), False),
        (((b"Transfer-Encoding", b"gzip, chunked"),), False),
        (((b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")), False),
    ],
)
def test_unclear_framing_is_noticed(raw: tuple[tuple[bytes, bytes], ...], clear: bool) -> None:
    assert (framing_fault(raw) == "") == clear
