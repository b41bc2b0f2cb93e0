"""--env-file: what a file of variables means, and that no value of it is ever repeated."""

from __future__ import annotations

import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.cli.envfile import parse, read_env_files
from cloudrouter.wire.errors import CloudRouterError, NotFound, UsageError

NAMES = st.text(alphabet=string.ascii_uppercase, min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1\nB=two words  \n", {"A": "1", "B": "two words"}),
        ("# no\n\n  export A = 1\n", {"A": "1"}),
        ("A=1 # said\nB=a#b\nC=#all\n", {"A": "1", "B": "a#b", "C": ""}),
        ("A='$HOME \\n # x'\n", {"A": "$HOME \\n # x"}),
        ('A="a\\nb \\" \\\\ \\$ \\x"  # why\n', {"A": 'a\nb " \\ $ \\x'}),
        ('KEY="-----BEGIN\nline\n-----END"\nB=1', {"KEY": "-----BEGIN\nline\n-----END", "B": "1"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("OWN\n", {"OWN": "mine"}),
        ("URL=a=b=c\r\n", {"URL": "a=b=c"}),
        ("A=$OWN ${OWN}\n", {"A": "$OWN ${OWN}"}),
        ("", {}),
    ],
)
def test_file_when_read_then_has_the_variables(text: str, found: dict[str, str]) -> None:
    assert parse(text, "f", {"OWN": "mine"}) == found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A=1\nhunter2 secret\n", 2),
        ("A='x\n", 1),
        ('A=1\nB="hunter2" rest\n', 2),
        ("A=1\n\nMISSING\n", 3),
        ("=hunter2", 1),
        ("KEY=-----BEGIN\nhunter2\n", 2),
    ],
)
def test_file_when_broken_then_the_line_is_named_and_no_value(text: str, line: int) -> None:
    with pytest.raises(UsageError, match=f"f, line {line}: ") as caught:
        parse(text, "f", {})
    assert "hunter2" not in json.dumps(caught.value.to_json())


@given(st.dictionaries(NAMES, st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=20)))
def test_values_when_quoted_then_come_back_as_they_are(wanted: dict[str, str]) -> None:
    quoted = {key: value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") for key, value in wanted.items()}
    text = "".join(f'{key}="{value}"\n' for key, value in quoted.items())
    assert parse(text, "f", {}) == wanted


@given(st.text(max_size=60))
def test_any_text_when_read_then_ends_in_variables_or_a_usage_error(text: str) -> None:
    told = None
    try:
        found = parse(text, "f", {})
    except UsageError as error:
        told, found = error, {}
    assert told is None or told.fix
    assert all(key.isidentifier() for key in found)


def test_files_when_several_then_the_later_is_stronger(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A=1\nB=1\n")
    (tmp_path / "b").write_text("B=2\n")
    assert read_env_files([f"{tmp_path}/a", f"{tmp_path}/b"], {}) == {"A": "1", "B": "2"}


def test_file_when_missing_unreadable_or_odd_then_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"A=\xff")
    (tmp_path / "big").write_text("#" * (1024 * 1024 + 2))
    for path, kind in (("nothing", NotFound), ("odd", UsageError), ("big", UsageError), (".", UsageError)):
        with pytest.raises(kind) as caught:
            read_env_files([f"{tmp_path}/{path}"], os.environ)
        error = caught.value
        assert isinstance(error, CloudRouterError)
        assert error.fix
        assert error.next
