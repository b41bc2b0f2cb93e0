"""What a ready check may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from cloudrouter.wire.errors import UsageError
from cloudrouter.wire.targets import read_target


@pytest.mark.parametrize(
    ("port", "url", "wanted"),
    [
        (3000, None, (3000, None)),
        (3000, "/health?a=b", (3000, "/health?a=b")),
        (3000, "/a#part", (3000, "/a")),
        (None, "http://localhost:3000/health", (3000, "/health")),
        (None, "HTTP://LOCALHOST:3000", (3000, "/")),
        (None, "http://127.0.0.1:8080?x=1", (8080, "/?x=1")),
        (None, "http://[::1]:8080/x", (8080, "/x")),
        (None, "http://[::1]/x", (80, "/x")),
        (None, "http://localhost/x:5", (80, "/x:5")),
        (3000, "http://localhost/x", (3000, "/x")),
        (3000, "http://localhost:3000/x", (3000, "/x")),
    ],
)
def test_a_target_when_it_is_one_then_is_a_port_and_a_path(
    port: int | None, url: str | None, wanted: tuple[int, str | None]
) -> None:
    assert read_target(port, url) == wanted


@pytest.mark.parametrize(
    ("port", "url"),
    [
        (None, None),
        (0, None),
        (65536, None),
        (True, None),
        ("80", None),
        (None, "/health"),
        (80, "health"),
        (80, ""),
        (None, "https://localhost/"),
        (None, "ftp://localhost/"),
        (None, "http://example.com/"),
        (None, "http://localhost.example.com/"),
        (None, "http://localhost@example.com/"),
        (None, "http://user:pw@localhost:80/"),
        (None, "http://localhost:x/"),
        (None, "http://localhost:/"),
        (None, "http://localhost:99999999999999999999/"),
        (None, "http://localhost:٣/"),
        (None, "http://127.0.0.2/"),
        (None, "http://:80/"),
        (3000, "http://localhost:3001/"),
        (3000, "/a b"),
        (3000, "/a\r\nHost: x"),
        (3000, "/\x00"),
        (3000, 5),
    ],
)
def test_a_target_when_it_leads_elsewhere_or_nowhere_then_is_refused(port: Any, url: Any) -> None:
    with pytest.raises(UsageError):
        read_target(port, url)
