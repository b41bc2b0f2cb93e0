"""Sidecars as people write them, in a word or in a folder's app.toml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloudrouter.client.sidecars import parse_sidecar, to_request
from cloudrouter.wire.decode import decode
from cloudrouter.wire.errors import NotFound, UsageError
from cloudrouter.wire.machines import StartMachine
from cloudrouter.wire.sidecars import Sidecar, sidecar_fault


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("db=postgres:16", Sidecar("db", "postgres:16")),
        ("db=ghcr.io/a/b@sha256:0,ro", Sidecar("db", "ghcr.io/a/b@sha256:0", workspace="ro")),
        ("db=x,rw,cpu=0.5", Sidecar("db", "x", workspace="rw", cpu=0.5)),
        ("db=x,port=5432,memory=512m", Sidecar("db", "x", port=5432, memory_bytes=512 << 20)),
        ("my-cache-2=build:web@0123456789ab", Sidecar("my-cache-2", "build:web@0123456789ab")),
    ],
)
def test_word_when_read_then_is_a_sidecar(text: str, found: Sidecar) -> None:
    assert parse_sidecar(text, {}) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("db=", "no image"),
        ("=x", "cannot be its name"),
        ("Db=x", "cannot be its name"),
        ("a--b=x", "two dashes"),
        ("db@0123456789ab=x", "cannot be its name"),
        ("browser=x", "app's name"),
        ("db=x,", "says nothing"),
        ("db=x,what", "says nothing"),
        ("db=x,cpu", "says nothing"),
        ("db=x,cpu=", "says nothing"),
        ("db=x,ro=1", "says nothing"),
        ("db=x,ro,rw", "after another"),
        ("db=x,port=1,port=2", "after another"),
        ("db=x,cpu=fast", "no number of cpus"),
        ("db=x,cpu=nan", "too little"),
        ("db=x,cpu=0", "too little"),
        ("db=x,memory=lots", "not an amount"),
        ("db=x,memory=1m", "less than"),
        ("db=x,port=0", "port"),
        ("db=x,port=99999", "port"),
        ("db=x,port=-1", "no port"),
        ("db=core+vscode", "no image"),
    ],
)
def test_word_when_it_makes_no_sense_then_says_which_part(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_sidecar(text, {})


@pytest.mark.parametrize("text", ["./db", "/x/y", "db", "./a=b", "../a=b", "~/a=b", "a/b=c"])
def test_word_when_it_is_a_folder_then_is_no_sidecar(text: str) -> None:
    assert parse_sidecar(text, {}) is None


def test_variables_when_in_files_then_are_read_and_never_repeated(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("PASSWORD=hunter22\nOWN\n")
    (tmp_path / "b.env").write_text("PASSWORD='other one'\n")
    found = parse_sidecar(f"db=x,env-file={tmp_path}/a.env,env-file={tmp_path}/b.env", {"OWN": "mine"})
    assert found is not None
    assert found.env == {"PASSWORD": "other one", "OWN": "mine"}
    assert "other one" not in repr(found)
    with pytest.raises(NotFound, match="no-such-file"):
        parse_sidecar("db=x,env-file=no-such-file", {})
    (tmp_path / "c.env").write_bytes(b"PASSWORD=hunter22\0\n")
    with pytest.raises(UsageError) as caught:
        parse_sidecar(f"db=x,env-file={tmp_path}/c.env", {})
    assert "hunter22" not in caught.value.to_text()


def test_request_when_made_then_the_router_reads_the_same() -> None:
    wanted = [Sidecar("db", "x", env={"A": "b"}, command=["c"], workspace="ro"), Sidecar("cache", "y")]
    read = decode(StartMachine, {"sidecars": to_request(wanted)})
    assert read.sidecars == wanted


def folder(tmp_path: Path, text: str, *others: str) -> str:
    made = tmp_path / "cache"
    made.mkdir()
    (made / "app.toml").write_text(text)
    for name in others:
        (made / name).write_text("")
    return str(made)


def test_folder_when_its_app_toml_names_an_image_then_is_a_sidecar(tmp_path: Path) -> None:
    text = 'image = "redis:7"\ntitle = "Redis"\nport = 6379\nworkspace = "rw"\ncommand = ["--save", ""]\n'
    text += '[environment]\nTZ = "UTC"\n[limits]\ncpu = 0.5\nmemory = "64m"\n'
    assert parse_sidecar(folder(tmp_path, text), {}) == Sidecar(
        *("cache", "redis:7", "Redis", "rw", 0.5, 64 << 20, 6379, {"TZ": "UTC"}, ["--save", ""])
    )


def test_folder_when_it_gives_a_name_then_that_is_it(tmp_path: Path) -> None:
    found = parse_sidecar(folder(tmp_path, 'name = "other"\nimage = "x"\n'), {})
    assert found == Sidecar("other", "x")


def test_folder_when_it_has_no_image_then_is_an_apps(tmp_path: Path) -> None:
    assert parse_sidecar(folder(tmp_path, 'command = ["x"]\nport = 1\n'), {}) is None


@pytest.mark.parametrize(
    ("text", "others", "told"),
    [
        ('image = "x"', ("install.sh",), "runs beside the machine"),
        ('image = "x"', ("devcontainer-feature.json",), "runs beside the machine"),
        ('image = "x"\nsocket = true', (), "'socket'"),
        ('image = "x"\n[limits]\ndisk = 1', (), "'disk'"),
        ('image = "x"\nlimits = 1', (), "limits is a table"),
        ('image = "x"\n[environment]\nA = 1', (), "are texts"),
        ('image = "x"\ncommand = "sh"', (), "list of words"),
        ('image = "x"\ncommand = [1]', (), "list of words"),
        ('image = "x"\ncommand = []', (), "at least one"),
        ('image = "x"\nport = "http"', (), "no port"),
        ('image = "x"\nworkspace = "all"', (), "ro or rw"),
        ("image = 1", (), "is a text"),
        ('image = ""', (), "no image"),
        ('name = "A"\nimage = "x"', (), "cannot be its name"),
        ("image =", (), "not TOML"),
    ],
)
def test_folder_when_its_app_toml_cannot_be_then_says_where(
    tmp_path: Path, text: str, others: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        parse_sidecar(folder(tmp_path, text, *others), {})
    assert "app.toml" in caught.value.message


@given(st.text(max_size=60))
@example("db=x,env-file=/proc/self/mem")
@example("a=b\0")
def test_word_when_it_is_anything_then_is_a_good_sidecar_a_folder_or_an_error_of_ours(text: str) -> None:
    found: Any = None
    try:
        found = parse_sidecar(text, os.environ)
    except (UsageError, NotFound) as error:
        assert error.message.endswith(".")
    assert found is None or sidecar_fault(found) == ""
