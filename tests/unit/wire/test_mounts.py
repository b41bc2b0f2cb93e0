"""`NAME:PATH[:ro]` and the places where a volume may stand."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.wire import boot, mounts, routes
from cloudrouter.wire.errors import UsageError

NAMES = st.from_regex(r"[a-bd-z][a-z0-9-]{0,30}", fullmatch=True)
WORDS = st.text(st.characters(blacklist_characters="/:\0", blacklist_categories=("C", "Z")), min_size=1, max_size=12)
PATHS = st.lists(st.one_of(WORDS, st.sampled_from([".", "..", "", "etc", "home", "user", "usr", "var"])), max_size=6)


@pytest.mark.parametrize(
    ("text", "volume", "path", "read_only"),
    [
        ("a:/data", "a", "/data", False),
        ("a:/data:ro", "a", "/data", True),
        ("a:/data:rw", "a", "/data", False),
        ("npm-cache:~/.npm", "npm-cache", "/home/user/.npm", False),
        ("a:~", "a", "/home/user", False),
        ("a:.", "a", "/home/user/workspace", False),
        ("a:node_modules:ro", "a", "/home/user/workspace/node_modules", True),
        ("a:./x//y/./", "a", "/home/user/workspace/x/y", False),
        ("a://data//", "a", "/data", False),
        ("a:/ro", "a", "/ro", False),
        ("a:ro", "a", "/home/user/workspace/ro", False),
        ("a:/r\N{LATIN SMALL LETTER E WITH ACUTE}sum\N{LATIN SMALL LETTER E WITH ACUTE}", "a", "/résumé", False),
    ],
)
def test_mount_when_written_as_people_do_then_is_read(text: str, volume: str, path: str, read_only: bool) -> None:
    assert mounts.parse_mount(text) == {"volume": volume, "path": path, "read_only": read_only}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not begin with a volume's name"),
        (":/data", "does not begin with a volume's name"),
        ("./data:/data", "does not begin with a volume's name"),
        ("/data:/data", "does not begin with a volume's name"),
        ("~/x:/data", "does not begin with a volume's name"),
        ("a/b:/data", "does not begin with a volume's name"),
        ("data", "does not say where"),
        ("data:", "does not say where"),
        ("data::ro", "does not say where"),
        ("Data:/data", "cannot be a volume's name"),
        ("d" * 32 + ":/data", "longer than 31"),
        ("a:/data:rx", "holds a colon"),
        ("a:/da\nta", "cannot be printed"),
        ("a:/x/../data", "shortest form"),
        ("a:../x", "shortest form"),
        ("a:/", "whole machine"),
        ("a:/" + "x" * 1024, "longer than 1024"),
        *((f"a:{folder}", "belongs to the system") for folder in mounts.SYSTEM_FOLDERS),
        ("a:/etc/deep/er", "belongs to the system"),
        ("a:/usr/local/share", "belongs to the system"),
        ("a:/opt", "meets /opt/cloudrouter"),
        ("a:/var/lib", "meets /var/lib/cloudrouter"),
    ],
)
def test_mount_when_it_cannot_be_then_says_why_and_what_to_write(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        mounts.parse_mount(text)
    assert caught.value.fix


@pytest.mark.parametrize("path", ["/optional", "/variable/lib", "/home", "/root", "/opt/tools", "/var/lib/postgresql"])
def test_path_when_it_only_looks_like_the_systems_then_is_allowed(path: str) -> None:
    assert mounts.path_fault(path) is None


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a:/x", "b:/x"], "are the same"),
        (["a:/x/y", "b:/x"], "in each other"),
        (["a:~", "b:~/.npm"], "in each other"),
        (["a:.", "b:node_modules"], "in each other"),
        ([f"v{number}:/m{number}" for number in range(33)], "32 is the most"),
    ],
)
def test_mounts_when_they_meet_or_are_too_many_then_are_refused(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        mounts.parse_mounts(texts)


def test_mounts_when_one_volume_stands_twice_then_both_are_there() -> None:
    assert [one["path"] for one in mounts.parse_mounts(["a:/x", "a:/xy:ro"])] == ["/x", "/xy"]


@given(NAMES, PATHS, st.sampled_from(["", ":ro", ":rw"]), st.sampled_from(["/", "~/", ""]))
def test_mount_when_accepted_then_its_path_is_normal_and_away_from_the_system(
    name: str, words: list[str], mode: str, begin: str
) -> None:
    text = f"{name}:{begin}{'/'.join(words)}{mode}"
    try:
        found = mounts.parse_mount(text)
    except UsageError:
        return
    path = found["path"]
    assert path == posixpath.normpath(path)
    assert not path.startswith("//")
    assert path.startswith("/")
    assert path != "/"
    for folder in mounts.SYSTEM_FOLDERS:
        assert posixpath.commonpath([path, folder]) not in (path, folder)
    # What was read means the same when it is written again.
    assert mounts.parse_mount(f"{name}:{path}{':ro' if found['read_only'] else ''}") == found


@given(PATHS)
def test_path_when_resolved_twice_then_stays(words: list[str]) -> None:
    once = mounts.resolve("/".join(words))
    assert mounts.resolve(once) == once


@given(st.lists(st.sampled_from(["/a", "/a/b", "/ab", "/b", "/b/c/d", "/b/c", boot.HOME, boot.WORKSPACE]), max_size=4))
def test_overlap_when_judged_then_the_order_does_not_matter(paths: list[str]) -> None:
    assert (mounts.overlap_fault(paths) is None) == (mounts.overlap_fault(paths[::-1]) is None)
    apart = all(
        posixpath.commonpath([one, other]) not in (one, other) for at, one in enumerate(paths) for other in paths[:at]
    )
    assert (mounts.overlap_fault(paths) is None) == apart


@given(st.text(max_size=40))
def test_route_when_the_name_is_none_then_is_refused_and_else_holds_it_alone(name: str) -> None:
    try:
        path = routes.volume(name)
    except UsageError:
        return
    assert path == f"{routes.VOLUMES}/{name}"
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
