"""A person's ~/.ssh/config: two lines of ours in front, every other byte as it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.client import sshinclude
from cloudrouter.wire.errors import NotConfigured

OURS = "/home/me/.local/state/cloudrouter/ssh-client/config"
THEIRS = b"# mine\r\nHost *.example.com\n\tUser me\n\nHost *\n  ForwardAgent no"
LINES = sshinclude.MARK + b'Include "%b"\n' % OURS.encode()
contents = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from([b"Host a\n", b"  User b\n", b"\n", b"# c", b"\r\n", b'Include "x"\n', LINES[:40]])).map(
        b"".join
    ),
)


@given(contents)
def test_what_is_put_in_comes_out_again(content: bytes) -> None:
    changed = sshinclude.with_include(content, OURS)
    assert changed == LINES + content
    assert sshinclude.with_include(changed, OURS) == changed
    assert sshinclude.without_include(changed) == content


@given(contents, contents)
def test_lines_that_were_moved_come_back_to_the_front(before: bytes, after: bytes) -> None:
    before += b"\n" if before and not before.endswith(b"\n") else b""
    assert sshinclude.with_include(before + LINES + after, OURS) == LINES + before + after


def test_another_state_folders_lines_are_replaced() -> None:
    other = sshinclude.with_include(THEIRS, "/elsewhere/ssh-client/config")
    assert sshinclude.with_include(other, OURS) == LINES + THEIRS


def test_a_persons_own_include_behind_our_mark_is_theirs() -> None:
    content = sshinclude.MARK + b'Include "/mine"\n' + THEIRS
    assert sshinclude.without_include(content) == content


def test_install_and_uninstall_on_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(THEIRS)
    path.chmod(0o640)
    assert sshinclude.install(str(path), OURS)
    assert path.read_bytes() == LINES + THEIRS
    assert sshinclude.is_included(str(path), OURS)
    inode = path.stat().st_ino
    assert not sshinclude.install(str(path), OURS)
    assert path.stat().st_ino == inode  # not even written
    assert path.stat().st_mode & 0o777 == 0o640
    assert sshinclude.uninstall(str(path))
    assert path.read_bytes() == THEIRS
    assert not sshinclude.uninstall(str(path))
    assert not sshinclude.is_included(str(path), OURS)
    assert os.listdir(tmp_path) == ["config"]


def test_a_file_that_is_not_there_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / ".ssh" / "config"
    assert not sshinclude.uninstall(str(path))
    assert sshinclude.install(str(path), OURS)
    assert path.read_bytes() == LINES
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_link_stays_one_and_its_file_changes(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles" / "ssh_config"
    real.write_bytes(THEIRS)
    real.chmod(0o600)
    link = tmp_path / "config"
    link.symlink_to("dotfiles/ssh_config")
    assert sshinclude.install(str(link), OURS)
    assert os.readlink(link) == "dotfiles/ssh_config"
    assert real.read_bytes() == LINES + THEIRS


def odd_folder(path: Path) -> None:
    path.mkdir()


def odd_dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def odd_open(path: Path) -> None:
    path.write_bytes(THEIRS)
    path.chmod(0o666)


def odd_twin(path: Path) -> None:
    path.write_bytes(THEIRS)
    path.chmod(0o600)
    os.link(path, path.with_name("twin"))


def odd_binary(path: Path) -> None:
    path.write_bytes(b"Host a\0b\n")
    path.chmod(0o600)


def odd_long(path: Path) -> None:
    path.write_bytes(b"#\n" * sshinclude.LIMIT)
    path.chmod(0o600)


def odd_pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize("odd", [odd_folder, odd_dangling, odd_open, odd_twin, odd_binary, odd_long, odd_pipe])
def test_an_odd_file_is_left_alone(tmp_path: Path, odd: object) -> None:
    path = tmp_path / "config"
    odd(path)  # type: ignore[operator]
    before = path.read_bytes() if path.is_file() else None
    for change in (lambda: sshinclude.install(str(path), OURS), lambda: sshinclude.uninstall(str(path))):
        with pytest.raises(NotConfigured, match="is left as it is"):
            change()
    assert (path.read_bytes() if path.is_file() else None) == before
    assert not list(tmp_path.glob("config.cloudrouter.*"))


def test_a_file_of_another_user_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    path.write_bytes(THEIRS)
    path.chmod(0o600)
    uid = os.getuid()
    monkeypatch.setattr(sshinclude.os, "getuid", lambda: uid + 1)
    with pytest.raises(NotConfigured, match="belongs to user"):
        sshinclude.install(str(path), OURS)
    assert path.read_bytes() == THEIRS


def test_a_full_disk_leaves_the_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    path.write_bytes(THEIRS)
    path.chmod(0o600)

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sshinclude.os, "fsync", full)
    with pytest.raises(NotConfigured, match="no space left on device"):
        sshinclude.install(str(path), OURS)
    assert path.read_bytes() == THEIRS
    assert os.listdir(tmp_path) == ["config"]


def test_openssh_sees_ours_first_and_theirs_as_before(tmp_path: Path) -> None:
    ours, path = tmp_path / "ssh-client" / "config", tmp_path / "config"
    ours.parent.mkdir()
    ours.write_text("Host *.cr\n  User user\nMatch originalhost *.cr\n  Port 22\n")
    path.write_bytes(b"User me\nPort 2222\nHost *\n  ForwardAgent yes\n")
    path.chmod(0o600)
    sshinclude.install(str(path), str(ours))

    def found(host: str) -> list[str]:
        told = subprocess.run(["ssh", "-F", str(path), "-G", host], capture_output=True, text=True, check=True)
        wanted = ("user ", "port ", "forwardagent ")
        return sorted(line for line in told.stdout.splitlines() if line.startswith(wanted))

    assert found("a.cr") == ["forwardagent yes", "port 22", "user user"]
    assert found("elsewhere") == ["forwardagent yes", "port 2222", "user me"]
