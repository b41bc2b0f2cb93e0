"""Which paths of a folder are sent, and what is said about the rest."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess

import pytest

from cloudrouter.client.selection import LeftOut, select
from cloudrouter.wire.errors import NotFound, UsageError

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
KEY = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw\n"


@pytest.fixture(autouse=True)
def own_git_settings(tmp_path_factory, monkeypatch):
    """No settings of the person who runs the tests."""
    home = tmp_path_factory.mktemp("home")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return home


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def git(root, *args):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *args], cwd=root, check=True, capture_output=True
    )


def sent(chosen):
    """The paths sent, without what is inside .git."""
    return [os.fsdecode(path) for path in chosen.paths if not path.startswith(b".git/")]


def left(chosen, reason):
    return [os.fsdecode(item.path) for item in chosen.left_out if item.reason == reason]


def test_select_when_the_folder_is_plain_then_everything_is_sent_sorted_and_counted(tmp_path):
    write(tmp_path, {"b/c.txt": "123", "a.txt": "1", "b-x": "22"})
    (tmp_path / "empty").mkdir()
    chosen = select(str(tmp_path))
    assert chosen.paths == [b"a.txt", b"b", b"b-x", b"b/c.txt", b"empty"]
    assert (chosen.files, chosen.total_bytes, chosen.left_out, chosen.unreadable) == (3, 6, [], [])
    assert chosen.summary() == ""


def test_select_when_names_are_odd_then_they_are_kept_byte_for_byte(tmp_path):
    names = [b"caf\xe9", b"new\nline", b"[x]", b" y "]
    for name in names:
        with open(os.fsencode(tmp_path) + b"/" + name, "wb"):
            pass
    assert select(str(tmp_path)).paths == sorted(names)


def test_select_when_the_folders_own_name_is_not_utf8_then_it_works(tmp_path):
    root = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(root)
    with open(root + b"/f", "wb"):
        pass
    assert select(os.fsdecode(root)).paths == [b"f"]


def test_select_when_ignore_files_are_nested_then_the_nearest_decides(tmp_path):
    write(
        tmp_path,
        {
            ".gitignore": "*.log\nnode_modules/\n/top\n",
            "sub/.gitignore": "!keep.log\ntop\n",
            "a.log": "",
            "sub/keep.log": "",
            "sub/b.log": "",
            "sub/top": "",
            "top": "",
            "node_modules/x/y": "",
        },
    )
    chosen = select(str(tmp_path))
    assert sent(chosen) == [".gitignore", "sub", "sub/.gitignore", "sub/keep.log"]
    assert left(chosen, "ignored") == ["a.log", "node_modules", "sub/b.log", "sub/top", "top"]


def test_select_when_an_ignored_folder_is_huge_then_it_is_not_entered(tmp_path, monkeypatch):
    write(tmp_path, {".gitignore": "node_modules\n", "node_modules/a/b": "", "src/x": ""})
    entered = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: entered.append(os.fsdecode(path)) or real(path))
    select(str(tmp_path))
    assert sorted(os.path.relpath(path, tmp_path) for path in entered) == [".", "src"]


def test_select_when_cloudrouterignore_disagrees_with_gitignore_then_it_wins(tmp_path):
    write(
        tmp_path,
        {
            ".gitignore": "dist/\n*.bin\n",
            ".cloudrouterignore": "!dist/\nbig/\n",
            "sub/.cloudrouterignore": "!m.bin\n",
            "dist/out.js": "",
            "big/data": "",
            "sub/m.bin": "",
            "sub/n.bin": "",
        },
    )
    chosen = select(str(tmp_path))
    assert left(chosen, "ignored") == ["big", "sub/n.bin"]
    assert {"dist/out.js", "sub/m.bin"} <= set(sent(chosen))


def test_select_when_patterns_are_excluded_then_they_beat_everything(tmp_path):
    write(tmp_path, {".cloudrouterignore": "!a/\n", "a/x": "", "b/x": "", "c": ""})
    assert sent(select(str(tmp_path), exclude=["a", "/b/*"])) == [".cloudrouterignore", "b", "c"]


def test_select_when_no_ignore_is_given_then_only_excluded_patterns_hold(tmp_path):
    write(tmp_path, {".gitignore": "*.log\n", ".cloudrouterignore": "x\n", "a.log": "", "x": "", "y": ""})
    assert left(select(str(tmp_path), no_ignore=True, exclude=["y"]), "ignored") == ["y"]


@needs_git
def test_select_when_git_tracks_ignored_files_then_they_are_sent_and_their_neighbours_are_not(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, {".gitignore": "build/\n*.o\n", "build/keep/a.txt": "", "build/b": "", "x.o": "", "y.o": ""})
    git(tmp_path, "add", "-f", "build/keep/a.txt", "x.o", ".gitignore")
    write(tmp_path, {"build/keep/c": "", "build/other/d": ""})
    chosen = select(str(tmp_path))
    assert sent(chosen) == [".git", ".gitignore", "build", "build/keep", "build/keep/a.txt", "x.o"]
    assert left(chosen, "ignored") == ["build/b", "build/keep/c", "build/other", "y.o"]


@needs_git
def test_select_when_cloudrouterignore_names_a_tracked_file_then_it_stays_behind(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, {".cloudrouterignore": "huge.bin\n", "huge.bin": "x"})
    git(tmp_path, "add", "-A")
    assert left(select(str(tmp_path)), "ignored") == ["huge.bin"]


@needs_git
def test_select_when_git_is_there_then_it_is_sent_whole_whatever_the_rules_say(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, {".gitignore": "*\n", ".git/id_rsa.pem": KEY, ".git/.env": "A=1"})
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "x")
    chosen = select(str(tmp_path))
    inside = [path.relative_to(tmp_path) for path in (tmp_path / ".git").rglob("*")]
    assert {os.fsencode(path) for path in inside} <= set(chosen.paths)


@needs_git
def test_select_when_a_dot_git_holds_a_password_then_a_note_says_so(tmp_path):
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", "https://me:s3cr3tpw@github.com/x/y")
    chosen = select(str(tmp_path))
    assert len(chosen.notes) == 1
    assert "password" in chosen.notes[0]
    assert "s3cr3tpw" not in chosen.notes[0]


def test_select_when_dot_git_has_no_config_then_it_is_sent_all_the_same(tmp_path):
    write(tmp_path, {".git/HEAD": "x"})
    assert select(str(tmp_path)).paths == [b".git", b".git/HEAD"]


@needs_git
def test_select_when_the_folder_is_a_linked_work_tree_then_the_file_is_sent_and_a_note_says_so(tmp_path):
    main = tmp_path / "main"
    main.mkdir()
    git(main, "init", "-q")
    git(main, "commit", "-q", "--allow-empty", "-m", "x")
    git(main, "worktree", "add", "-q", "../linked")
    write(tmp_path, {"main/.git/info/exclude": "hidden\n", "linked/hidden": "", "linked/shown": ""})
    chosen = select(str(tmp_path / "linked"))
    assert sent(chosen) == [".git", "shown"]
    assert "linked work tree" in chosen.notes[0]


@needs_git
def test_select_when_the_folder_lies_inside_a_work_tree_then_rules_from_above_hold(tmp_path, own_git_settings):
    git(tmp_path, "init", "-q")
    write(
        tmp_path,
        {
            ".gitignore": "/app/web/only-here\n*.tmp\n",
            "app/.gitignore": "web/out\n",
            ".git/info/exclude": "app/**/private\n",
            "app/web/only-here": "",
            "app/web/a.tmp": "",
            "app/web/out/x": "",
            "app/web/private": "",
            "app/web/mine.swp": "",
            "app/web/src": "",
        },
    )
    write(own_git_settings, {"config/git/ignore": "*.swp\n"})
    chosen = select(str(tmp_path / "app/web"))
    assert sent(chosen) == ["src"]
    assert left(chosen, "ignored") == ["a.tmp", "mine.swp", "only-here", "out", "private"]


@needs_git
def test_select_when_a_repository_above_ignores_the_whole_folder_then_its_rules_do_not_hold(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, {".gitignore": "*\n", "project/a": "", "project/.gitignore": "b\n", "project/b": ""})
    assert sent(select(str(tmp_path / "project"))) == [".gitignore", "a"]


@needs_git
def test_select_when_git_settings_name_a_program_then_it_is_not_run(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, {"evil": f"#!/bin/sh\ntouch {tmp_path}/ran\n", "a": ""})
    (tmp_path / "evil").chmod(0o755)
    git(tmp_path, "add", "-A")
    git(tmp_path, "config", "core.fsmonitor", str(tmp_path / "evil"))
    select(str(tmp_path))
    assert not (tmp_path / "ran").exists()


@needs_git
def test_select_when_a_git_hook_runs_it_then_the_folders_own_repository_counts(tmp_path, monkeypatch):
    write(tmp_path, {"one/x": "", "two/.gitignore": "t\n", "two/t": ""})
    for name in ("one", "two"):
        git(tmp_path / name, "init", "-q")
    git(tmp_path / "two", "add", "-f", "t")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "one/.git"))
    assert "t" in sent(select(str(tmp_path / "two")))


def test_select_when_git_is_not_installed_then_patterns_alone_decide(tmp_path, monkeypatch):
    write(tmp_path, {".git/info/exclude": "e\n", ".gitignore": "i\n", "e": "", "i": "", "a": ""})
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert sent(select(str(tmp_path))) == [".git", ".gitignore", "a"]


def test_select_when_links_lead_out_then_they_are_left_out_and_others_are_sent_as_links(tmp_path):
    root = tmp_path / "root"
    write(tmp_path, {"outside/x": "", "root/dir/f": ""})
    for name, target in {
        "inside": "dir/f",
        "dir/up": "../dir",
        "dangling": "nowhere",
        "self": ".",
        "absolute": "/etc/passwd",
        "out": "../outside/x",
        "dir/out": "../../outside",
        "through": "self/../../outside/x",
        "back": "../root/dir",
    }.items():
        (root / name).symlink_to(target)
    (root / "chain").symlink_to("out")
    chosen = select(str(root))
    assert left(chosen, "outside link") == ["absolute", "chain", "dir/out", "out", "through"]
    assert sent(chosen) == ["back", "dangling", "dir", "dir/f", "dir/up", "inside", "self"]
    assert LeftOut(b"absolute", "outside link", "/etc/passwd") in chosen.left_out


def test_select_when_the_folder_itself_is_a_link_then_its_target_is_taken(tmp_path):
    write(tmp_path, {"real/dir/f": ""})
    (tmp_path / "real/l").symlink_to("dir/f")
    (tmp_path / "alias").symlink_to("real")
    assert sent(select(str(tmp_path / "alias"))) == ["dir", "dir/f", "l"]


def test_select_when_there_are_pipes_and_sockets_then_they_are_left_out(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert left(select(str(tmp_path)), "special") == ["pipe", "socket"]


def test_select_when_there_are_secrets_then_they_stay_behind_unless_asked_for(tmp_path):
    write(tmp_path, {".env": "A=1", ".env.example": "A=", "k/server.pem": KEY, "k/ca.pem": "x", "src": ""})
    chosen = select(str(tmp_path))
    assert left(chosen, "secret") == [".env", "k/server.pem"]
    assert sent(chosen) == [".env.example", "k", "k/ca.pem", "src"]
    assert left(select(str(tmp_path), with_secrets=True), "secret") == []
    assert ".env" in sent(select(str(tmp_path), with_secrets=True))


def test_select_when_a_folder_is_called_dot_env_then_it_is_sent(tmp_path):
    write(tmp_path, {".env/bin/python": ""})
    assert sent(select(str(tmp_path))) == [".env", ".env/bin", ".env/bin/python"]


@needs_git
def test_select_when_git_tracks_a_file_of_defaults_then_it_is_sent_but_a_live_key_is_not(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, {".env": "PORT=1\n", "sub/.env": "KEY=sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", ".env.local": "A=1"})
    git(tmp_path, "add", ".env", "sub/.env")
    chosen = select(str(tmp_path))
    assert left(chosen, "secret") == [".env.local", "sub/.env"]
    assert ".env" in sent(chosen)


def test_select_when_something_cannot_be_read_then_it_is_collected(forbidden):
    chosen = select(str(forbidden))
    assert sorted(chosen.unreadable) == [
        LeftOut(b"closed", "unreadable", "permission denied"),
        LeftOut(b"secret.txt", "unreadable", "permission denied"),
    ]
    assert chosen.paths == [b"closed", b"open.txt"]


def test_select_when_something_unreadable_is_ignored_then_nobody_minds(forbidden):
    assert select(str(forbidden), exclude=["closed", "secret.txt"]).unreadable == []


def test_select_when_the_folder_is_missing_or_a_file_then_the_error_says_so(tmp_path):
    write(tmp_path, {"file": ""})
    with pytest.raises(NotFound, match="no folder"):
        select(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="not a folder"):
        select(str(tmp_path / "file"))


def test_summary_when_things_stay_behind_then_one_line_names_them(tmp_path):
    write(tmp_path, {".gitignore": "a\nb\nc\nd\n", "a": "", "b": "", "c": "", "d": "", ".env": ""})
    assert select(str(tmp_path)).summary() == (
        "Left behind: 4 ignored paths (a, b, c, ...), 1 secret (.env); --with-secrets sends secrets."
    )
    write(tmp_path, {"x/.gitignore": "*\n"})
    (tmp_path / ".env").unlink()
    assert select(str(tmp_path), exclude=["[b-d]", "x"]).summary() == "Left behind: 5 ignored paths (a, b, c, ...)."


def test_summary_when_a_name_holds_control_characters_then_they_are_escaped(tmp_path):
    (tmp_path / ".env.\x1b[2J\n").write_bytes(b"")
    assert select(str(tmp_path)).summary().startswith("Left behind: 1 secret (.env.\\x1b[2J\\n);")
