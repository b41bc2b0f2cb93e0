"""The person's settings: who wins, what a broken file says, writing without harm."""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.cli import config
from cloudrouter.wire.errors import CloudRouterError

from .conftest import Cli


def own_file(places: Path) -> Path:
    path = places / "home" / ".config" / "cloudrouter" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_settings_when_set_everywhere_then_the_strongest_wins(
    cli: Cli, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_file(places).write_text('size = "small"\nimage = "own"\nprovider = "docker"\ntimeout = 60\n')
    (places / "work" / ".cloudrouter.toml").write_text('size = "medium"\nimage = "project"\n')
    monkeypatch.setenv("CLOUDROUTER_SIZE", "large")
    monkeypatch.setenv("CLOUDROUTER_IMAGE", "")
    found = cli("config", "show", "--json").json["settings"]
    own, project = str(own_file(places)), str(places / "work" / ".cloudrouter.toml")
    assert found == {
        "provider": {"value": "docker", "source": own},
        "image": {"value": "project", "source": project},
        "size": {"value": "large", "source": "CLOUDROUTER_SIZE"},
        "timeout": {"value": "60", "source": own},
        "package_cache": None,
    }
    assert cli("config", "show").out.splitlines()[0].split() == ["KEY", "VALUE", "FROM"]


def test_project_file_when_above_then_counts_only_within_the_work_tree(places: Path) -> None:
    inner = places / "tree" / "a" / "b"
    inner.mkdir(parents=True)
    (places / "tree" / ".cloudrouter.toml").write_text('size = "small"\n')
    assert config.project_file(str(inner)) is None
    (places / "tree" / ".git").mkdir()
    assert config.project_file(str(inner)) == str(places / "tree" / ".cloudrouter.toml")
    (inner / ".cloudrouter.toml").touch()
    assert config.project_file(str(inner)) == str(inner / ".cloudrouter.toml")


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [  # the text, the end of the first line, the second line
        ('size = "small"\nimage = \n', "line 2: invalid value.", "Correct that line."),
        ("provider", "line 1: ", "Correct that line."),
        ('# hi\nsiez = "small"\n', "line 2: there is no key 'siez'.", "Did you mean size?"),
        (
            "\n\n[defaults]\nsize = 'small'\n",
            "line 3: there is no key 'defaults'.",
            "Keys are: provider, image, size, timeout, package_cache.",
        ),
        (
            '\nsize = "huge"\n',
            "line 2: there is no size 'huge'; sizes are small, medium, large, xlarge.",
            "Correct that line.",
        ),
        ("timeout = true\n", "line 1: timeout must be a text.", 'Write timeout = "..."'),
        ('timeout = "soon"\n', "line 1: 'soon' is not a duration; write 600, 90s, 15m or 1h.", "Correct that line."),
        ('image = "a\\nb"\n', "line 1: 'a\\nb' cannot be a value of image.", "Correct that line."),
    ],
)
def test_broken_file_when_read_then_names_file_line_and_remedy(
    cli: Cli, places: Path, text: str, message: str, fix: str
) -> None:
    path = places / "work" / ".cloudrouter.toml"
    path.write_text(text)
    found = cli("config", "show")
    assert found.code == 2
    lines = found.err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"cloudrouter: {path}, {message}")
    assert lines[1] == f"Fix:  {fix}"
    assert lines[2] == "Next: cloudrouter config path"


def test_broken_file_when_not_utf_8_then_names_the_line(cli: Cli, places: Path) -> None:
    (places / "work" / ".cloudrouter.toml").write_bytes(b'size = "small"\n# \xff\n')
    assert ", line 2: it is not UTF-8.\n" in cli("config", "show").err


def test_broken_file_when_it_is_a_folder_then_says_so(cli: Cli, places: Path) -> None:
    (places / "work" / ".cloudrouter.toml").mkdir()
    found = cli("config", "show")
    assert found.code == 1
    assert "cannot be read: Is a directory." in found.err


def test_variable_when_wrong_then_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDROUTER_TIMEOUT", "soon")
    found = cli("config", "get", "timeout")
    assert found.code == 2
    assert found.err.startswith("cloudrouter: CLOUDROUTER_TIMEOUT: 'soon' is not a duration;")


@given(st.text(max_size=200))
def test_any_text_when_read_as_a_file_then_only_our_errors_come(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/c.toml"
        Path(path).write_bytes(text.encode("utf-8", "surrogatepass"))
        told = ""
        found: dict[str, str] = {}
        try:
            found = config.read_file(path)
        except CloudRouterError as error:
            told = error.message
    assert told.startswith(path) if told else set(found) <= set(config.KEYS)


def test_set_and_get_when_used_then_round_trip_and_keep_the_rest(cli: Cli, places: Path) -> None:
    path = own_file(places)
    path.write_text("# mine\nimage = 'core' # why\n")
    assert cli("config", "set", "size", "small") == (0, f"size = small  ({path})\n", "")
    assert path.read_text() == "size = \"small\"\n# mine\nimage = 'core' # why\n"
    cli("config", "set", "size", "medium")
    cli("config", "set", "image", 'odd"\\name')
    assert path.read_text() == 'size = "medium"\n# mine\nimage = "odd\\"\\\\name"\n'
    assert cli("config", "get", "image").out == 'odd"\\name\n'
    assert cli("config", "get", "size", "--json").json == {"key": "size", "value": "medium", "source": str(path)}
    assert cli("config", "unset", "size").code == 0
    assert tomllib.loads(path.read_text()) == {"image": 'odd"\\name'}
    assert os.listdir(path.parent) == ["config.toml"]


def test_set_when_for_the_project_then_writes_its_file(cli: Cli, places: Path) -> None:
    assert cli("config", "set", "--project", "timeout", "2h", "--json").json["value"] == "2h"
    assert (places / "work" / ".cloudrouter.toml").read_text() == 'timeout = "2h"\n'
    assert cli("config", "unset", "--project", "timeout").code == 0
    assert (places / "work" / ".cloudrouter.toml").read_text() == ""


def test_set_when_something_stronger_decides_then_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDROUTER_SIZE", "large")
    assert cli("config", "set", "size", "small").err == "cloudrouter: size is large here, set by CLOUDROUTER_SIZE.\n"


def test_set_when_the_file_is_a_link_then_the_link_stays(cli: Cli, places: Path) -> None:
    real = places / "dotfiles.toml"
    real.write_text("")
    own_file(places).symlink_to(real)
    cli("config", "set", "size", "small")
    assert own_file(places).is_symlink()
    assert real.read_text() == 'size = "small"\n'


def test_set_when_the_file_is_broken_then_leaves_it(cli: Cli, places: Path) -> None:
    own_file(places).write_text("image = \n")
    assert cli("config", "set", "size", "small").code == 2
    assert own_file(places).read_text() == "image = \n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("get", "size"), 4, "size is not set; the router chooses."),
        (("get", "siez"), 2, "There is no key 'siez'."),
        (("set", "size", "huge"), 2, "There is no size 'huge'; sizes are small, medium, large, xlarge."),
        (("set", "timeout", "0"), 2, "'0' is no time at all; write 600, 90s, 15m or 1h."),
        (("set", "image", " "), 2, "' ' cannot be a value of image."),
    ],
)
def test_config_when_used_wrongly_then_says_how_it_is_right(
    cli: Cli, words: tuple[str, ...], code: int, message: str
) -> None:
    found = cli("config", *words)
    assert found.code == code
    assert found.err.splitlines()[0] == f"cloudrouter: {message}"


def test_path_when_printed_then_is_where_the_files_are(cli: Cli, places: Path) -> None:
    assert cli("config", "path").out == f"{places}/home/.config/cloudrouter/config.toml\n"
    (places / "work" / ".cloudrouter.toml").touch()
    assert cli("config", "path", "--json").json["project"] == f"{places}/work/.cloudrouter.toml"
