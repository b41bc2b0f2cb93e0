"""The manual in agents' folders: found, written whole, recognised, never over an edit without a word."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter import __version__
from cloudrouter.cli import output
from cloudrouter.cli.skills import text
from cloudrouter.cli.skills.agents import AGENTS, detect, place_of, places
from cloudrouter.cli.skills.copies import Copy
from cloudrouter.wire.errors import Conflict

from .conftest import Cli

OLDER = text.stamped(text.packaged().replace("# CloudRouter", "# CloudRouter, as it was"), "0.0.1")
PATHS = {
    "claude": (".claude/skills", ".claude/skills"),
    "codex": (".agents/skills", ".agents/skills"),
    "cursor": (".cursor/skills", ".cursor/skills"),
    "gemini": (".gemini/skills", ".gemini/skills"),
    "opencode": (".config/opencode/skills", ".opencode/skills"),
    "copilot": (".copilot/skills", ".github/skills"),
    "agents": (".agents/skills", ".agents/skills"),
}
"""Agent -> (for the person, in a project), as the agents' own pages say."""


@pytest.fixture
def home(places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, no agent's program on the PATH and none of their variables."""
    monkeypatch.setenv("PATH", str(places))
    for name in ("CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return places / "home"


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Somebody sits there; what they type is written into this."""
    typed = io.StringIO()
    monkeypatch.setattr(output, "is_terminal", lambda _stream: True)
    monkeypatch.setattr(output, "wants_colour", lambda _stream: False)
    monkeypatch.setattr("sys.stdin", typed)
    return typed


def skill_in(home: Path, agent: str = "claude", content: bytes | None = None) -> Path:
    """The file of an agent below home, written when content is given."""
    path = home / PATHS[agent][0] / "cloudrouter" / "SKILL.md"
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return path


# -- the text and its stamp -----------------------------------------------------------------------------------------


def test_packaged_text_when_compared_with_the_one_in_the_repository_then_is_the_same() -> None:
    repository = Path(__file__).parents[3] / "skills" / "cloudrouter" / "SKILL.md"
    assert text.packaged() == repository.read_text(), "run `make docs`"


def test_stamp_when_read_back_then_the_front_matter_is_still_what_agents_read() -> None:
    head, body = text.stamped(text.packaged()).decode().removeprefix("---\n").split("\n---\n", 1)
    keys = [line.partition(":")[0] for line in head.splitlines()]
    assert keys == ["name", "description", "metadata", "  cloudrouter-version", "  cloudrouter-sha256"]
    assert body == text.packaged().split("\n---\n", 1)[1]


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (None, "absent"),
        (text.stamped(text.packaged()), "current"),
        (OLDER, "older"),
        (text.stamped("---\nname: cloudrouter\n---\nnew words\n", "99.0"), "newer"),
        (OLDER + b"\nmine\n", "edited"),
        (OLDER.replace(b"0.0.1", b"0.0.2"), "edited"),
        (text.packaged().encode(), "foreign"),
        (b"", "foreign"),
        (b"\xff\xfe---\n", "foreign"),
        (b"no front matter\n  cloudrouter-version: \"1\"\n", "foreign"),
    ],
)  # fmt: skip
def test_state_when_asked_then_tells_our_text_from_edits_and_strangers(content: bytes | None, state: str) -> None:
    assert text.state_of(content) == state


@given(st.integers(0, len(OLDER) - 1), st.binary(min_size=1, max_size=3))
def test_state_when_any_byte_was_changed_then_is_never_taken_for_ours(at: int, put: bytes) -> None:
    changed = OLDER[:at] + put + OLDER[at + 1 :]
    if changed != OLDER:
        assert text.state_of(changed) in ("edited", "foreign")


# -- where ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", sorted(PATHS))
def test_place_when_asked_for_then_is_where_the_agent_looks(key: str, tmp_path: Path) -> None:
    user, project = PATHS[key]
    environ = {"HOME": "/h"}
    assert place_of(AGENTS[key], None, environ).path == f"/h/{user}/cloudrouter/SKILL.md"
    assert place_of(AGENTS[key], "/p", environ).path == f"/p/{project}/cloudrouter/SKILL.md"
    assert set(PATHS) == set(AGENTS)


def test_place_when_the_agents_own_variable_moves_it_then_follows() -> None:
    environ = {"HOME": "/h", "CLAUDE_CONFIG_DIR": "/c", "XDG_CONFIG_HOME": "/x"}
    assert place_of(AGENTS["claude"], None, environ).path == "/c/skills/cloudrouter/SKILL.md"
    assert place_of(AGENTS["opencode"], None, environ).path == "/x/opencode/skills/cloudrouter/SKILL.md"
    assert place_of(AGENTS["claude"], None, {**environ, "CLAUDE_CONFIG_DIR": "relative"}).root == "/h"


def test_places_when_two_agents_read_one_file_then_it_is_one_place_that_names_both() -> None:
    (place,) = places([AGENTS["codex"]], None, {"HOME": "/h"})
    assert [agent.key for agent in place.agents] == ["codex", "agents"]


def test_detect_when_folders_and_programs_are_there_then_says_by_which(home: Path) -> None:
    (home / ".claude").mkdir()
    gemini = home.parent / "gemini"
    gemini.touch(mode=0o755)
    environ = {"HOME": str(home), "PATH": str(home.parent)}
    assert detect(None, environ) == {"claude": "~/.claude is there", "gemini": "the program gemini is installed"}


def test_detect_when_a_project_has_signs_then_they_decide_else_the_persons_own(home: Path, tmp_path: Path) -> None:
    (home / ".claude").mkdir()
    project = tmp_path / "project"
    project.mkdir()
    environ = {"HOME": str(home), "PATH": ""}
    assert detect(str(project), environ) == {"claude": "~/.claude is there"}
    (project / ".cursor").mkdir()
    assert detect(str(project), environ) == {"cursor": ".cursor is in the project"}


# -- install --------------------------------------------------------------------------------------------------------


def test_install_when_agents_are_detected_then_writes_theirs_alone_and_says_why(cli: Cli, home: Path) -> None:
    (home / ".cursor").mkdir()
    done = cli("skills", "install")
    assert done.code == 0
    assert "Cursor: ~/.cursor is there" in done.err
    assert skill_in(home, "cursor").read_bytes() == text.stamped(text.packaged())
    assert not skill_in(home, "claude").exists()
    assert skill_in(home, "cursor").stat().st_mode & 0o777 == 0o644


def test_install_when_no_agent_is_there_then_asks_for_a_name(cli: Cli, home: Path) -> None:
    done = cli("skills", "install")
    assert done.code == 4
    assert "Next: cloudrouter skills install --agent agents" in done.err


def test_install_when_it_is_there_already_then_touches_nothing(cli: Cli, home: Path) -> None:
    cli("skills", "install", "--agent", "claude")
    path = skill_in(home)
    os.utime(path, (1, 1))
    again = cli("skills", "install", "--agent", "claude")
    assert (again.code, path.stat().st_mtime) == (0, 1)
    assert again.out.startswith("up to date")
    assert [entry.name for entry in path.parent.iterdir()] == ["SKILL.md"]


def test_install_when_an_older_copy_is_there_then_shows_the_diff_and_keeps_it(
    cli: Cli, home: Path, at_terminal: io.StringIO
) -> None:
    path = skill_in(home, content=OLDER)
    path.chmod(0o600)
    at_terminal.write("y\n")
    at_terminal.seek(0)
    done = cli("skills", "install", "--agent", "claude")
    assert done.code == 0
    assert "-# CloudRouter, as it was\n" in done.err
    assert "+# CloudRouter\n" in done.err
    assert done.err.index("+# CloudRouter\n") < done.err.index("Replace ")
    assert path.read_bytes() == text.stamped(text.packaged())
    assert path.stat().st_mode & 0o777 == 0o600
    backup = path.with_name("SKILL.md.bak-0.0.1")
    assert (backup.read_bytes(), backup.stat().st_mode & 0o777) == (OLDER, 0o600)
    assert cli("skills", "install", "--agent", "claude").out.startswith("up to date")
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["SKILL.md", "SKILL.md.bak-0.0.1"]


def test_install_when_the_person_says_no_then_leaves_the_copy(cli: Cli, home: Path, at_terminal: io.StringIO) -> None:
    path = skill_in(home, content=OLDER)
    at_terminal.write("\n")
    at_terminal.seek(0)
    done = cli("skills", "install", "--agent", "claude")
    assert done.code == 0
    assert done.out.startswith("left as it is")
    assert path.read_bytes() == OLDER
    assert [entry.name for entry in path.parent.iterdir()] == ["SKILL.md"]


@pytest.mark.flag("skills install --yes")
@pytest.mark.flag("skills update --yes")
@pytest.mark.parametrize("verb", ["install", "update"])
def test_install_when_nobody_can_be_asked_then_writes_nothing_without_yes(cli: Cli, home: Path, verb: str) -> None:
    path = skill_in(home, content=OLDER + b"mine\n")
    words = ("skills", verb, "--agent", "claude", "--agent", "gemini")
    refused = cli(*words)
    assert refused.code == 2
    assert "-mine\n" in refused.err
    assert f"Next: cloudrouter skills {'install'} --agent claude --agent gemini -y" in refused.err
    assert path.read_bytes() == OLDER + b"mine\n"
    assert not skill_in(home, "gemini").exists()
    done = cli(*words, "--yes")
    assert done.code == 0
    (backup,) = path.parent.glob("SKILL.md.bak-2*")
    assert backup.read_bytes() == OLDER + b"mine\n"
    assert path.read_bytes() == text.stamped(text.packaged())
    assert skill_in(home, "gemini").exists()


def test_install_when_backups_of_the_same_name_are_there_then_keeps_them_all(home: Path) -> None:
    path = skill_in(home, content=b"mine")
    path.with_name("SKILL.md.bak-20261124").write_bytes(b"older mine")
    (place,) = places([AGENTS["claude"]], None, {"HOME": str(home)})
    assert Copy(place).install("20261124") == f"{path}.bak-20261124-2"
    assert path.with_name("SKILL.md.bak-20261124").read_bytes() == b"older mine"
    assert path.with_name("SKILL.md.bak-20261124-2").read_bytes() == b"mine"
    path.write_bytes(b"mine")
    assert Copy(place).install("20261124") == f"{path}.bak-20261124-2"


@pytest.mark.flag("skills install --agent")
@pytest.mark.flag("skills install --all")
@pytest.mark.flag("skills update --agent")
@pytest.mark.flag("skills update --all")
@pytest.mark.parametrize("verb", ["install", "update"])
def test_install_when_agents_are_named_or_all_then_those_are_written(cli: Cli, home: Path, verb: str) -> None:
    cli("skills", verb, "--agent", "copilot")
    assert [key for key in PATHS if skill_in(home, key).exists()] == ["copilot"]
    done = cli("skills", verb, "--all")
    assert all(skill_in(home, key).exists() for key in PATHS)
    assert done.out.count("\n") == 6


@pytest.mark.flag("skills install --project")
@pytest.mark.flag("skills update --project")
@pytest.mark.flag("skills install --json")
@pytest.mark.flag("skills update --json")
@pytest.mark.parametrize("verb", ["install", "update"])
def test_install_when_for_a_project_then_writes_there_and_tells_programs(
    cli: Cli, home: Path, tmp_path: Path, verb: str
) -> None:
    done = cli("skills", verb, "--project", str(tmp_path), "--agent", "copilot", "--json")
    path = tmp_path / ".github" / "skills" / "cloudrouter" / "SKILL.md"
    assert done.json == {
        "version": __version__,
        "skills": [
            {
                "agents": ["copilot"],
                "path": str(path),
                "state": "absent",
                "version": None,
                "reason": None,
                "action": "installed",
                "backup": None,
            }
        ],
    }
    assert path.exists()
    assert not skill_in(home, "copilot").exists()
    assert cli("skills", verb, "--project", "--agent", "gemini").code == 0
    assert Path(".gemini/skills/cloudrouter/SKILL.md").exists()


def test_install_when_the_project_is_not_there_then_says_so(cli: Cli, home: Path) -> None:
    assert cli("skills", "install", "--project", "nowhere", "--agent", "claude").code == 4
    assert not Path("nowhere").exists()


def test_install_when_an_agent_is_misspelt_then_suggests(cli: Cli, home: Path) -> None:
    done = cli("skills", "install", "--agent", "claud")
    assert (done.code, "Did you mean claude?" in done.err) == (2, True)


# -- hostile folders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [".claude", ".claude/skills", ".claude/skills/cloudrouter"])
def test_install_when_a_link_leads_out_of_the_project_then_nothing_is_written(
    cli: Cli, home: Path, tmp_path: Path, link: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    project = tmp_path / "project"
    (project / link).parent.mkdir(parents=True)
    (project / link).symlink_to(outside)
    done = cli("skills", "install", "--project", str(project), "--agent", "claude", "-y")
    assert done.code == 1
    assert "leads out of" in done.err
    assert list(outside.iterdir()) == []


def test_install_when_a_link_stays_inside_then_it_is_followed(cli: Cli, home: Path) -> None:
    (home / "dotfiles").mkdir()
    (home / ".claude").symlink_to("dotfiles")
    assert cli("skills", "install", "--agent", "claude").code == 0
    assert (home / "dotfiles" / "skills" / "cloudrouter" / "SKILL.md").exists()


def test_install_when_the_file_itself_is_a_link_then_its_target_stays(cli: Cli, home: Path) -> None:
    precious = home / "precious"
    precious.write_text("mine")
    path = skill_in(home)
    path.parent.mkdir(parents=True)
    path.symlink_to(precious)
    done = cli("skills", "install", "--agent", "claude", "-y")
    assert (done.code, "is a symbolic link" in done.err) == (1, True)
    assert precious.read_text() == "mine"
    assert path.is_symlink()


@pytest.fixture
def one_link(cli: Cli, home: Path) -> Path:
    """A copy for Cursor, and for Claude Code a link to a copy of ours."""
    cli("skills", "install", "--agent", "cursor")
    path = skill_in(home)
    path.parent.mkdir(parents=True)
    path.symlink_to(skill_in(home, "cursor"))
    return path


def test_install_when_one_copy_is_refused_then_the_others_are_written(cli: Cli, home: Path, one_link: Path) -> None:
    done = cli("skills", "install", "--agent", "claude", "--agent", "gemini", "--json")
    assert done.code == 1
    assert {row["agents"][0]: (row["state"], row["action"]) for row in done.json["skills"]} == {
        "claude": ("refused", "refused"), "gemini": ("absent", "installed"),
    }  # fmt: skip
    assert done.json["skills"][0]["reason"] == f"{one_link} is a symbolic link; it is left alone."
    assert "is a symbolic link" in done.err
    assert skill_in(home, "gemini").exists()
    assert one_link.is_symlink()


def test_ls_when_one_copy_is_refused_then_is_a_row_with_the_reason(cli: Cli, one_link: Path) -> None:
    done = cli("skills", "ls")
    (line,) = [line for line in done.out.splitlines() if line.startswith("claude")]
    assert (done.code, line.split()[:2]) == (0, ["claude", "refused"])
    assert f"{one_link} is a symbolic link" in done.err
    shown = {row["agent"]: row for row in cli("skills", "ls", "--json").json["skills"]}
    assert (shown["claude"]["state"], shown["cursor"]["state"]) == ("refused", "current")
    assert "is a symbolic link" in shown["claude"]["reason"]


def test_diff_when_one_copy_is_refused_then_compares_the_others(cli: Cli, home: Path, one_link: Path) -> None:
    assert cli("skills", "diff").code == 0
    skill_in(home, "gemini", OLDER)
    done = cli("skills", "diff")
    assert (done.code, "-# CloudRouter, as it was\n" in done.out) == (1, True)
    assert f"{one_link} is a symbolic link" in done.err
    rows = {row["path"]: row for row in cli("skills", "diff", "--json").json["skills"]}
    assert (rows[str(one_link)]["state"], rows[str(one_link)]["diff"]) == ("refused", [])


def test_uninstall_when_one_copy_is_refused_then_it_stays_and_the_others_go(
    cli: Cli, home: Path, one_link: Path
) -> None:
    rows = cli("skills", "uninstall", "--agent", "claude", "--json").json["skills"]
    assert [(row["state"], row["action"]) for row in rows] == [("refused", "left")]
    done = cli("skills", "uninstall")
    assert done.code == 0
    assert f"left as it is  {one_link}" in done.out
    assert "is a symbolic link" in done.out
    assert not skill_in(home, "cursor").exists()
    assert one_link.is_symlink()


def test_remove_when_the_copy_was_edited_after_the_look_then_it_stays(home: Path) -> None:
    path = skill_in(home, content=text.stamped(text.packaged()))
    (place,) = places([AGENTS["claude"]], None, {"HOME": str(home)})
    copy = Copy(place)
    path.write_bytes(b"just now")
    with pytest.raises(Conflict):
        copy.remove("20261124")
    assert path.read_bytes() == b"just now"


def test_uninstall_when_one_copy_is_edited_meanwhile_then_the_others_go(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("skills", "install", "--agent", "claude", "--agent", "cursor")
    path, remove = skill_in(home), Copy.remove

    def edited(copy: Copy, today: str) -> str | None:
        path.write_bytes(b"just now")
        return remove(copy, today)

    monkeypatch.setattr(Copy, "remove", edited)
    done = cli("skills", "uninstall", "--json")
    acted = {row["agents"][0]: row["action"] for row in done.json["skills"] if row["action"] != "absent"}
    assert (done.code, acted) == (1, {"claude": "refused", "cursor": "removed"})
    assert path.read_bytes() == b"just now"
    assert not skill_in(home, "cursor").exists()


def test_install_when_a_pipe_or_folder_stands_there_then_is_refused_at_once(cli: Cli, home: Path) -> None:
    path = skill_in(home)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert "is not a plain file" in cli("skills", "install", "--agent", "claude", "-y").err
    path.unlink()
    path.mkdir()
    assert cli("skills", "install", "--agent", "claude", "-y").code == 1
    path.rmdir()
    path.parent.rmdir()
    path.parent.write_text("a file where the folder should be")
    assert "cannot be used as a folder" in cli("skills", "install", "--agent", "claude").err


def test_install_when_the_copy_was_changed_after_the_look_then_stops(home: Path) -> None:
    path = skill_in(home, content=OLDER)
    (place,) = places([AGENTS["claude"]], None, {"HOME": str(home)})
    copy = Copy(place)
    path.write_bytes(b"just now")
    with pytest.raises(Conflict):
        copy.install("20261124")
    assert path.read_bytes() == b"just now"


def test_diff_when_a_copy_holds_terminal_commands_then_they_are_made_visible(cli: Cli, home: Path) -> None:
    skill_in(home, content=b"\x1b]0;gotcha\x07\n")
    done = cli("skills", "diff")
    assert "\x1b" not in done.out
    assert "-\\x1b]0;gotcha\\x07" in done.out


# -- looking --------------------------------------------------------------------------------------------------------


@pytest.mark.flag("skills ls --json")
@pytest.mark.flag("skills ls --project")
def test_ls_when_copies_of_all_kinds_are_there_then_shows_each(cli: Cli, home: Path, tmp_path: Path) -> None:
    skill_in(home, "claude", OLDER)
    skill_in(home, "gemini", b"mine")
    cli("skills", "install", "--agent", "cursor")
    shown = {row["agent"]: row for row in cli("skills", "ls", "--json").json["skills"]}
    assert {key: row["state"] for key, row in shown.items() if row["state"] != "absent"} == {
        "claude": "older", "gemini": "foreign", "cursor": "current",
    }  # fmt: skip
    assert shown["claude"]["version"] == "0.0.1"
    assert shown["claude"]["detected"] == "~/.claude is there"
    assert "0.0.1 (older)" in cli("skills", "ls").out
    there = cli("skills", "ls", "--project", str(tmp_path), "--json").json["skills"]
    assert {row["state"] for row in there} == {"absent"}


@pytest.mark.flag("skills show --json")
def test_show_when_called_then_is_the_manual(cli: Cli) -> None:
    assert cli("skills", "show").out == text.packaged()
    assert cli("skills", "show", "--json").json == {"version": __version__, "text": text.packaged()}


@pytest.mark.flag("skills diff --agent")
@pytest.mark.flag("skills diff --json")
@pytest.mark.flag("skills diff --project")
def test_diff_when_a_copy_differs_then_has_status_1_and_shows_it(cli: Cli, home: Path, tmp_path: Path) -> None:
    assert cli("skills", "diff").code == 0
    skill_in(home, content=OLDER)
    done = cli("skills", "diff")
    assert (done.code, "-# CloudRouter, as it was\n" in done.out) == (1, True)
    assert cli("skills", "diff", "--agent", "gemini").code == 0
    assert cli("skills", "diff", "--project", str(tmp_path)).code == 0
    (row,) = cli("skills", "diff", "--agent", "claude", "--json").json["skills"]
    assert "-# CloudRouter, as it was" in row["diff"]


# -- uninstall ------------------------------------------------------------------------------------------------------


@pytest.mark.flag("skills uninstall --agent")
@pytest.mark.flag("skills uninstall --json")
def test_uninstall_when_called_then_takes_ours_and_leaves_the_rest(cli: Cli, home: Path) -> None:
    cli("skills", "install", "--agent", "claude", "--agent", "cursor")
    skill_in(home, "gemini", b"somebody else's")
    skill_in(home, "copilot", OLDER)
    assert cli("skills", "uninstall", "--agent", "cursor").out.startswith("removed")
    assert skill_in(home, "claude").exists()
    rows = cli("skills", "uninstall", "--json").json["skills"]
    acted = {row["agents"][0]: row["action"] for row in rows if row["action"] != "absent"}
    assert acted == {"claude": "removed", "gemini": "left", "copilot": "removed"}
    assert not skill_in(home, "claude").parent.exists()
    assert skill_in(home, "claude").parent.parent.exists()
    assert skill_in(home, "gemini").read_bytes() == b"somebody else's"
    assert cli("skills", "uninstall", "--agent", "claude").out == "Nothing is installed.\n"


@pytest.mark.flag("skills uninstall --yes")
@pytest.mark.flag("skills uninstall --project")
def test_uninstall_when_a_copy_was_edited_then_needs_a_yes_and_keeps_it(cli: Cli, home: Path, tmp_path: Path) -> None:
    cli("skills", "install", "--project", str(tmp_path), "--agent", "claude")
    path = tmp_path / ".claude" / "skills" / "cloudrouter" / "SKILL.md"
    edited = path.read_bytes() + b"mine\n"
    path.write_bytes(edited)
    refused = cli("skills", "uninstall", "--project", str(tmp_path))
    assert (refused.code, path.read_bytes()) == (2, edited)
    done = cli("skills", "uninstall", "--project", str(tmp_path), "--yes")
    assert done.code == 0
    (backup,) = path.parent.iterdir()
    assert backup.name.startswith("SKILL.md.bak-2")
    assert backup.read_bytes() == edited


def test_uninstall_when_the_person_says_no_then_the_edit_stays(cli: Cli, home: Path, at_terminal: io.StringIO) -> None:
    path = skill_in(home, content=OLDER + b"mine\n")
    at_terminal.write("n\n")
    at_terminal.seek(0)
    assert cli("skills", "uninstall").out.startswith("left as it is")
    assert path.read_bytes() == OLDER + b"mine\n"


def test_json_when_printed_for_any_verb_then_is_one_document(cli: Cli, home: Path) -> None:
    for words in (["install", "--all", "--json"], ["ls", "--json"], ["diff", "--json"], ["uninstall", "--json"]):
        assert json.loads(cli("skills", *words).out)["skills"]
