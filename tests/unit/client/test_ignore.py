"""Ignore rules, against git's own answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudrouter.client import ignore
from cloudrouter.client.ignore import Rules
from cloudrouter.client.selection import IGNORED, select

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

NAMES = [
    "a",
    "b",
    "ab",
    "a.c",
    "b.c",
    "foo",
    ".x",
    "a b",
    "[a]",
    "A",
    "a-c",
    "fo\no",
    "ü",
    "a*",
    "a\\b",
    "!a",
    "#a",
    "a ",
]
WILD = ["*", "*.c", "?", "a*", "*b", "[ab]", "[!a]", "[^b]*", "[a-c]", "\\a", "\\*", "**", "f?o", "[[:alpha:]]", "[]a]"]
ODD = [
    "[a",
    "[[:foo:]]",
    "a\\",
    "[a\\]b]",
    "*.*",
    "[+--]",
    "[[:alpha]",
    ".*",
    "fo**",
    "**o",
    "[\\a-c]",
    "[a-\\c]",
    "[--a]",
]

parts = st.sampled_from([name for name in NAMES if "\n" not in name] + WILD + ODD)
bodies = st.lists(parts, min_size=1, max_size=3).map("/".join)
patterns = st.builds(
    lambda mark, lead, body, tail, space: mark + lead + body + tail + space,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/", "**/"]),
    bodies,
    st.sampled_from(["", "", "/", "/**"]),
    st.sampled_from(["", "", "", " ", "\\ ", "\r", "\t"]),
)
files = st.lists(patterns, min_size=1, max_size=5).map("\n".join)
names = st.sampled_from(NAMES)
trees = st.recursive(
    st.sampled_from(["file", "link"]),
    lambda inner: st.dictionaries(names | st.just(".gitignore"), inner, max_size=4),
    max_leaves=14,
)


def build(path: str, node: object, rules: object) -> None:
    if isinstance(node, dict):
        os.makedirs(path, exist_ok=True)
        for name, inner in node.items():
            build(f"{path}/{name}", inner, rules)
    elif node == "link" and not path.endswith(".gitignore"):
        os.symlink("a", path)
    else:
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(rules() if path.endswith("/.gitignore") else "x")  # type: ignore[operator]


def ignored_by_git(root: str) -> tuple[set[bytes], set[bytes]]:
    """(all paths below root, those that `git check-ignore` names)."""
    found = []
    for folder, folders, leaves in os.walk(os.fsencode(root)):
        if b".git" in folders:
            folders.remove(b".git")
        found += [os.path.relpath(os.path.join(folder, name), os.fsencode(root)) for name in folders + leaves]
    answer = subprocess.run(
        ["git", "check-ignore", "-z", "--stdin"],
        cwd=root,
        input=b"\0".join(found) + b"\0",
        capture_output=True,
        check=False,
    )
    assert answer.returncode in (0, 1), answer.stderr
    return set(found), set(filter(None, answer.stdout.split(b"\0")))


@needs_git
@settings(max_examples=150, deadline=None)
@given(trees.filter(lambda tree: isinstance(tree, dict)), files, st.data())
@example({"foo": {"b": {"a": "file"}}, "fo\no": {}}, "fo**/a", None)
@example({"a": {"b": "file"}, "b": "file"}, "a/*\n!a/b\n!/b/", None)
def test_select_when_a_repository_has_ignore_files_then_it_decides_like_git(tree, first, data):
    with tempfile.TemporaryDirectory(prefix="cloudrouter-ignore-") as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        patch.setenv("XDG_CONFIG_HOME", root + "/no-such")
        subprocess.run(["git", "init", "-q", "--template=", root], check=True)
        build(root, {name: node for name, node in tree.items() if name != ".gitignore"}, lambda: data.draw(files))
        with open(root + "/.gitignore", "w", encoding="utf-8") as handle:
            handle.write(first)
        every, ignored = ignored_by_git(root)
        chosen = select(root)
        sent = {path for path in chosen.paths if path.split(b"/")[0] != b".git"}
        sent |= {item.path for item in chosen.left_out if item.reason != IGNORED}
        assert sent == every - ignored


def fits(pattern: str, path: str, *, is_dir: bool = False) -> bool | None:
    rules = Rules(ignore.parse(os.fsencode(pattern)))
    return rules.match(os.fsencode(os.path.basename(path)), os.fsencode(path), is_dir=is_dir)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.pyc", "a/b.pyc", True),
        ("/b", "a/b", None),
        ("a/b", "a/b", True),
        ("a/b", "x/a/b", None),
        ("**/a/b", "x/a/b", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**", "a/x/y", True),
        ("a/**", "a", None),
        ("b/", "b", None),
        ("*\n!b", "b", False),
        ("!b\n*", "b", True),
        ("# a", "# a", None),
        ("\\#a", "#a", True),
        ("a ", "a", True),
        ("a\\ ", "a ", True),
        ("\ufeffa", "a", True),
        ("a\r\nb", "a", True),
        ("[a-c]?", "bz", True),
        ("[!a-c]?", "bz", None),
        ("[z", "[z", None),
        ("*/x", "a/x", True),
        ("*/x", "a/b/x", None),
    ],
)
def test_match_when_a_pattern_is_asked_then_it_answers_as_git_documents(pattern, path, expected):
    assert fits(pattern, path) is expected


def test_match_when_a_pattern_means_folders_then_files_are_not_meant():
    assert fits("b/", "a/b", is_dir=True) is True
    assert fits("b/", "a/b") is None


def test_match_when_names_are_not_utf8_then_bytes_are_compared():
    rules = Rules(ignore.parse(b"caf\xe9*\n?\xff"))
    assert rules.match(b"caf\xe9.txt", b"caf\xe9.txt", is_dir=False) is True
    assert rules.match(b"a\xff", b"d/a\xff", is_dir=False) is True
    assert rules.match(b"caf\xe8", b"caf\xe8", is_dir=False) is None


@settings(deadline=None)
@given(st.binary(max_size=80), st.binary(min_size=1, max_size=30))
def test_match_when_the_ignore_file_is_noise_then_it_only_answers(text, path):
    path = path.replace(b"\0", b"0").strip(b"/") or b"x"
    rules = Rules(ignore.parse(text))
    assert rules.match(path.rpartition(b"/")[2], path, is_dir=True) in (True, False, None)


def test_read_rules_when_the_file_is_a_link_or_missing_or_a_pipe_then_there_are_none(tmp_path):
    (tmp_path / "real").write_text("*\n")
    (tmp_path / ".gitignore").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    assert ignore.read_rules(os.fsencode(tmp_path / ".gitignore")) is None
    assert ignore.read_rules(os.fsencode(tmp_path / "none")) is None
    assert ignore.read_rules(os.fsencode(tmp_path / "pipe")) is None
    assert ignore.read_rules(os.fsencode(tmp_path / "real")) is not None
