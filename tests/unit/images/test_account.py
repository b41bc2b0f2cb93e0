"""The account that a foreign image gets: free numbers, tables kept as they were, a shell that is one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.images.runtime import account


@pytest.fixture(autouse=True)
def _no_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's own tables stay out of this."""
    monkeypatch.setattr(account, "add_line", lambda path, line: None)


def lines(*texts: str) -> list[list[str]]:
    return [text.split(":") for text in texts]


def test_root_without_any_accounts_gets_one_for_root_too() -> None:
    users, groups = lines(), lines()
    made = account.add_account(users, groups)
    assert users == [["root", "x", "0", "0", "root", "/root", "/bin/sh"], made]
    assert made[:6] == ["user", "x", "1000", "1000", "", "/home/user"]
    assert groups == [["root", "x", "0", ""], ["user", "x", "1000", ""]]


def test_taken_numbers_are_passed_over_each_in_its_own_table() -> None:
    users = lines("root:x:0:0::/root:/bin/sh", "node:x:1000:1000::/home/node:/bin/sh", "other:x:1001:5::/:/bin/sh")
    groups = lines("root:x:0:", "node:x:1000:", "docker:x:1002:")
    made = account.add_account(users, groups)
    assert made[2:4] == ["1002", "1001"]
    assert groups[-1] == ["user", "x", "1001", ""]


def test_group_of_that_name_is_used_as_it_is() -> None:
    users, groups = lines("root:x:0:0::/root:/bin/sh"), lines("user:x:500:root")
    assert account.add_account(users, groups)[3] == "500"
    assert groups == lines("user:x:500:root")


@given(st.lists(st.text(alphabet="ab0129:", max_size=20), max_size=20))
def test_any_table_gives_a_number_that_no_line_has(texts: list[str]) -> None:
    table = lines(*texts)
    number = account.free_id(table)
    assert number not in {line[2] for line in table if len(line) > 2}
    assert 1000 <= int(number) < 60000


def test_table_is_written_whole_with_mode_and_bytes_as_they_were(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "passwd"
    real.write_bytes(b"root:x:0:0:caf\xe9:/root:/bin/sh\n+nis\n")
    real.chmod(0o640)
    link.symlink_to(real)
    account.write_table(str(link), [*account.read_table(str(link)), ["user", "x", "1"]])
    assert real.read_bytes() == b"root:x:0:0:caf\xe9:/root:/bin/sh\n+nis\nuser:x:1\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["passwd", "real"]


def test_missing_table_is_empty_and_made(tmp_path: Path) -> None:
    path = str(tmp_path / "etc" / "passwd")
    assert account.read_table(path) == []
    account.write_table(path, lines("a:b"))
    assert account.read_table(path) == lines("a:b")


@pytest.mark.parametrize("shell", ["", "/usr/sbin/nologin", "/bin/false", "/no/such/shell", "/bin/sh"])
def test_shell_that_is_none_becomes_one(shell: str) -> None:
    found = account.usable_shell(shell)
    assert os.path.basename(found) in ("bash", "sh")
    assert os.access(found, os.X_OK)


def test_shell_of_its_own_is_kept(tmp_path: Path) -> None:
    shell = tmp_path / "fish"
    shell.write_text("#!/bin/sh\n")
    shell.chmod(0o755)
    assert account.usable_shell(str(shell)) == str(shell)


def test_text_is_appended_once(tmp_path: Path) -> None:
    path = tmp_path / "profile"
    for _ in range(2):
        account.append_unless(str(path), "/etc/profile.d", ". /etc/profile.d/x\n")
    assert path.read_text() == ". /etc/profile.d/x\n"
    path.write_text("for i in /etc/profile.d/*.sh; do . $i; done\n")
    account.append_unless(str(path), "/etc/profile.d", "more\n")
    assert "more" not in path.read_text()
