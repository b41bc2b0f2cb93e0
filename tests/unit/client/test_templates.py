"""Templates: which of them counts, what a file may say, and faults told with file, line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.client import templatefile, templates
from cloudrouter.client.templatefile import EXAMPLE, KEYS
from cloudrouter.wire.errors import CloudRouterError, NotConfigured, NotFound, UsageError


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "config").mkdir()
    (tmp_path / "work" / ".cloudrouter").mkdir(parents=True)
    return {"CLOUDROUTER_CONFIG": f"{tmp_path}/config/config.toml", "TOKEN": "own"}


@pytest.fixture
def own(tmp_path: Path, env: dict[str, str]) -> Path:
    assert env
    return tmp_path / "config" / "templates.toml"


@pytest.fixture
def project(tmp_path: Path, env: dict[str, str]) -> Path:
    assert env
    return tmp_path / "work" / ".cloudrouter" / "templates.toml"


def folder(tmp_path: Path) -> str:
    return str(tmp_path / "work")


def test_example_when_read_then_has_every_kind_of_key(own: Path, tmp_path: Path, env: dict[str, str]) -> None:
    own.write_text(EXAMPLE)
    web = templates.find("web", folder(tmp_path), env)
    assert (web.size, web.commands, web.background) == ("small", ["npm ci"], ["npm run dev"])
    assert web.env == {"NODE_ENV": "development", "NPM_TOKEN": "$NPM_TOKEN"}
    assert templates.find("plain", folder(tmp_path), env).package_cache is False
    words = {word for line in EXAMPLE.splitlines() for word in line.replace("#", " ").split()}
    assert set(KEYS) - words <= {"disk", "gpu", "provider"}


def test_same_name_when_in_several_places_then_the_project_wins_and_says_what_it_hides(
    own: Path, project: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    own.write_text('[web]\nsize = "small"\n[core]\nsize = "small"\n')
    project.write_text('[web]\nsize = "large"\n')
    found = {one.name: one for one in templates.read_all(folder(tmp_path), env)}
    assert (found["web"].source, found["web"].size, found["web"].hides) == ("project", "large", "user")
    assert (found["core"].source, found["core"].hides) == ("user", "built-in")
    assert found["web"].path == str(project)


def test_nothing_when_no_file_is_there_then_the_built_in_ones(tmp_path: Path, env: dict[str, str]) -> None:
    found = templates.read_all(folder(tmp_path), env)
    assert [one.name for one in found] == ["core", "desktop", "full"]
    assert set(found[0].to_json()) == {"name", "source", "path", "hides", "tested", *KEYS}


def test_project_file_when_above_the_work_tree_then_is_not_read(tmp_path: Path, project: Path) -> None:
    project.write_text("[web]\n")
    below = tmp_path / "work" / "sub"
    below.mkdir()
    assert templates.project_file(str(below)) is None
    (tmp_path / "work" / ".git").mkdir()
    assert templates.project_file(str(below)) == str(project)


def test_unknown_name_when_close_to_one_then_is_suggested(tmp_path: Path, env: dict[str, str]) -> None:
    with pytest.raises(NotFound, match="no template 'cor'") as caught:
        templates.find("cor", folder(tmp_path), env)
    assert caught.value.fix == "Did you mean core?"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[web]\nsize = 'huge'\n", 2, "[web] size: there is no size 'huge'"),
        ("[web]\nsiez = 'small'\n", 2, "[web] siez: there is no such key"),
        ("[web]\n\napp_list = ['vscode']\n", 3, "[web] app_list: there is no such key"),
        ("[web]\napps = ['emacs']\n", 2, "[web] apps: 'emacs' is no app; apps are desktop, browser, vscode, jupyter"),
        ("[web]\napps = 'vscode'\n", 2, "[web] apps: it must be a list of apps"),
        ("[web]\nwithout = [1]\n", 2, "[web] without: it must be a list of apps"),
        ("[web]\napp = ['']\n", 2, "[web] app: it must be a list of folders and NAME=IMAGE words"),
        ("[web]\ncpu = 0\n", 2, "[web] cpu: 0 is not a number of cpus"),
        ("[web]\ncpu = true\n", 2, "[web] cpu: True is not a number of cpus"),
        ("[web]\nmemory = 'lots'\n", 2, "[web] memory: 'lots' is not an amount"),
        ("[web]\ntimeout = 0\n", 2, "[web] timeout: it is no time at all"),
        ("[web]\nenv = { A = 1 }\n", 2, "[web] env: it must be a table of texts"),
        ("[web]\n[web.env]\n'A B' = 'x'\n", 2, "[web] env: 'A B' cannot be a variable's name"),
        ("[web]\ncommands = 'npm ci'\n", 2, "[web] commands: it must be a list of command lines"),
        ("[web]\nbackground = ['']\n", 2, "[web] background: it must be a list"),
        ("[web]\nvolumes = ['/etc:/x']\n", 2, "[web] volumes: '/etc:/x' does not begin with a volume's name"),
        ("[web]\nvolumes = ['a:/etc']\n", 2, "[web] volumes: The volume a cannot be mounted"),
        ("[web]\npackage_cache = 'no'\n", 2, "[web] package_cache: it must be true or false"),
        ("[web]\nimage = 'a'\nbuild = '.'\n", 3, "[web] build: image and build exclude each other"),
        ("['a b']\n", 1, "[a b]: that is no name"),
        ("size = 'small'\n", None, "[size]: a template is a table"),
        ("[web]\nimage = 5\n", 2, "[web] image: it must be a text"),
        ("[web\n", None, "line 1"),
    ],
)
def test_fault_when_in_a_file_then_file_line_and_key_are_named(
    own: Path, tmp_path: Path, env: dict[str, str], text: str, line: int | None, words: str
) -> None:
    own.write_text(text)
    with pytest.raises(UsageError) as caught:
        templates.read_all(folder(tmp_path), env)
    assert caught.value.message.startswith(f"{own}, line {line}: " if line else str(own))
    assert words in caught.value.message
    assert caught.value.fix
    assert caught.value.next.startswith("cloudrouter templates ")


def test_own_app_when_of_a_project_then_is_a_folder_in_it_and_a_sidecar_stays_as_it_is(
    tmp_path: Path, env: dict[str, str]
) -> None:
    here = folder(tmp_path)
    (Path(here) / ".cloudrouter").mkdir(exist_ok=True)
    (Path(here) / ".cloudrouter" / "templates.toml").write_text("[web]\napp = ['./tool', 'db=postgres:16', '../out']\n")
    template = templates.find("web", here, env)
    assert templates.own_app(template, "./tool", here) == f"{here}/tool"
    assert templates.own_app(template, "db=postgres:16", here) == "db=postgres:16"
    with pytest.raises(UsageError, match=r"\[web\] app: it leads out of the project"):
        templates.own_app(template, "../out", here)


def test_file_when_unreadable_then_is_told(own: Path, tmp_path: Path, env: dict[str, str]) -> None:
    own.mkdir()
    with pytest.raises(NotConfigured, match="cannot be read"):
        templates.read_all(folder(tmp_path), env)
    own.rmdir()
    own.write_bytes(b"[web]\nimage = '\xff'\n")
    assert templates.check_file(str(own), "user")[1] is not None


def test_variables_when_own_ones_are_named_then_come_from_the_caller(env: dict[str, str]) -> None:
    facts = {"env": {"A": "plain", "B": "$TOKEN", "C": "$$TOKEN", "D": "a$TOKEN", "E": "$1"}}
    template = templates.Template("web", "user", facts=facts)
    assert template.env_values(env) == {"A": "plain", "B": "own", "C": "$TOKEN", "D": "a$TOKEN", "E": "$1"}
    assert template.own_variables() == ["TOKEN"]
    assert "own" not in str(template.to_json())
    with pytest.raises(UsageError, match="takes TOKEN from your environment"):
        template.env_values({})


def test_build_when_of_a_project_then_may_not_lead_out_of_it(project: Path, tmp_path: Path) -> None:
    def built(path: str, source: str = "project") -> str:
        template = templates.Template("web", source, str(project), {"build": path})
        return templates.build_folder(template, str(tmp_path / "elsewhere"))

    work = str(tmp_path / "work")
    assert built(".") == work
    assert built("docker") == f"{work}/docker"
    (tmp_path / "work" / "out").symlink_to("/etc")
    for path in ("..", "/etc", "~", "out", "docker/../../x"):
        with pytest.raises(UsageError, match="leads out of the project"):
            built(path)
    assert built("/etc", "user") == "/etc"
    assert built(".", "user") == str(tmp_path / "elsewhere")


TOML = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*KEYS, "apps", "other"]), TOML)
def test_any_value_when_checked_then_is_good_or_a_usage_error(key: str, value: Any) -> None:
    try:
        templatefile._check("file", "", "web", {key: value})
    except CloudRouterError as error:
        assert error.message.startswith(f"file: [web] {key}: ")
        return
    assert key in KEYS
