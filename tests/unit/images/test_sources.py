"""Debian mirrors out of apt's two file formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudrouter.images.sources import debian_lines, read_sources

PUBLIC = [
    "deb http://deb.debian.org/debian bookworm main",
    "deb http://deb.debian.org/debian bookworm-updates main",
    "deb http://deb.debian.org/debian-security bookworm-security main",
]
DEB822 = """Types: deb
# URIs: http://old.example/debian
URIs: http://mirror.example/debian/
Suites: bookworm

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
"""


def test_without_sources_the_public_mirror_is_used() -> None:
    assert debian_lines([]) == PUBLIC


def test_deb822_mirror_is_used_with_its_security() -> None:
    assert debian_lines([DEB822]) == [
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian bookworm-updates main",
        "deb http://mirror.example/debian-security bookworm-security main",
    ]


def test_one_line_mirror_without_security_leaves_security_out() -> None:
    text = "deb [arch=amd64 signed-by=/x.gpg] http://mirror.example/debian trixie main contrib\n"
    assert [line.split()[1] for line in debian_lines([text])] == ["http://mirror.example/debian"] * 2


@pytest.mark.parametrize(
    "text",
    [
        "deb https://mirror.example/debian bookworm main",
        "deb http://me:secret@mirror.example/debian bookworm main",
        "deb http://archive.ubuntu.com/ubuntu jammy main",
        "# deb http://mirror.example/debian bookworm main",
        "Types: deb\nEnabled: no\nURIs: http://mirror.example/debian\nSuites: x",
        "deb cdrom:[Debian]/ bookworm main",
        "deb https://packages.cloud.google.com/apt cloud-sdk-bookworm main",
    ],
)
def test_other_sources_do_not_count(text: str) -> None:
    assert debian_lines([text]) == PUBLIC


def test_read_sources_takes_both_kinds_of_files_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("one")
    (tmp_path / "sources.list.d" / "a.sources").write_bytes(b"two\xff")
    (tmp_path / "sources.list.d" / "b.list.save").write_text("three")
    assert read_sources(str(tmp_path)) == ["one", "two\ufffd"]
