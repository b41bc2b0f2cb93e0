"""The pages are true: generated parts current, every command understood by the real parser, every error explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scripts import pages

from cloudrouter.cli.reference import main, reference
from cloudrouter.wire.errors import CODES, UsageError

from .documents import ROOT, Shown, commands_in, commands_of, understand
from .documents import pages as documents

SKILL = ROOT / "skills" / "cloudrouter" / "SKILL.md"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
SHOWN = [shown for page in documents() for shown in commands_of(page)]


# -- generated parts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(pages.wanted()), ids=lambda path: str(path.relative_to(ROOT)))
def test_page_when_generated_again_then_nothing_changes(path: Path) -> None:
    assert path.read_text() == pages.wanted()[path], "run `make docs`"


def test_marks_when_counted_then_readme_skill_and_troubleshooting_have_theirs() -> None:
    for path, mark in (("README.md", "verbs"), ("skills/cloudrouter/SKILL.md", "commands")):
        assert f"<!-- generated: {mark} -->" in (ROOT / path).read_text()
    assert "<!-- generated: error-codes -->" in TROUBLESHOOTING.read_text()


def test_filled_when_a_table_is_stale_then_replaces_it_alone() -> None:
    text = "before\n<!-- generated: error-codes -->\nold\n<!-- end -->\nafter\n"
    assert "\nold\n" not in pages.filled(text)
    assert pages.filled(text).startswith("before\n<!-- generated: error-codes -->\n| code |")
    assert pages.filled(text).endswith("<!-- end -->\nafter\n")
    with pytest.raises(KeyError):
        pages.filled("<!-- generated: nothing -->\n<!-- end -->")


def test_reference_when_written_then_is_in_the_file_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "x" / "cli.md")]) == 0
    assert (tmp_path / "x" / "cli.md").read_text() == reference()
    assert "is written" in capsys.readouterr().out


# -- every command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", SHOWN, ids=str)
def test_command_in_a_page_when_read_by_the_real_parser_then_is_understood(shown: Shown) -> None:
    understand(shown.words)


def test_commands_when_collected_then_each_page_has_its_own() -> None:
    counted = {page: sum(shown.page == page for shown in SHOWN) for page in {shown.page for shown in SHOWN}}
    assert counted["README.md"] >= 8
    assert counted["skills/cloudrouter/SKILL.md"] >= 30
    assert counted["docs/cli.md"] >= 100
    assert counted["docs/quick-start.md"] >= 8


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("ID=$(cloudrouter start ./p)  # a comment", [["cloudrouter", "start", "./p"]]),
        ('cloudrouter ssh "$ID" "a && b" | tail -3', [["cloudrouter", "ssh", "$ID", "a && b"]]),
        ("cr ls 2>/dev/null && cr doctor", [["cr", "ls"], ["cr", "doctor"]]),
        ("for i in 1 2; do cloudrouter delete $i; done", [["cloudrouter", "delete", "$i"]]),
        ("cat x | cloudrouter ssh ID 'wc -l' > out", [["cloudrouter", "ssh", "ID", "wc -l"]]),
        ("A=1 cloudrouter start . -e '*.log'", [["cloudrouter", "start", ".", "-e", "*.log"]]),
        ("pip install cloudrouter ", []),
        ("curl -s x", []),
    ],
)
def test_commands_in_a_line_when_written_for_a_shell_then_are_found(line: str, found: list[list[str]]) -> None:
    assert [list(words) for words in commands_in(line)] == found


@pytest.mark.parametrize("line", ["cloudrouter strat .", "cloudrouter ls --nonsense", "cloudrouter image fetch"])
def test_understand_when_a_command_is_wrong_then_refuses_it(line: str) -> None:
    with pytest.raises(UsageError):
        understand(tuple(line.split()))


# -- the skill ------------------------------------------------------------------------------------------------------


def test_skill_when_read_by_an_agent_then_is_short_and_has_its_head() -> None:
    text = SKILL.read_text()
    assert len(text.splitlines()) < 150
    head = re.match(r"---\nname: cloudrouter\ndescription: (.+)\n---\n", text)
    assert head
    assert 40 < len(head.group(1)) < 1024


def test_skill_when_it_names_exit_statuses_then_they_are_the_ones_of_the_error_tree() -> None:
    told = {int(word) for word in re.findall(r"^\| (\d+) \|", SKILL.read_text(), re.M)}
    assert told >= {2, 4, 5, 6, 124, 255}
    assert told <= {kind.exit_code for kind in CODES.values()} | {255}


# -- errors ---------------------------------------------------------------------------------------------------------


def test_troubleshooting_when_compared_with_the_error_tree_then_every_code_has_its_remedy() -> None:
    sections = re.findall(r"^### `?(\w+)`?[^\n]*\n(.*?)(?=^##|\Z)", TROUBLESHOOTING.read_text(), re.M | re.S)
    told = {name: body.strip() for name, body in sections}
    assert set(told) == set(CODES)
    assert all(len(body) > 80 for body in told.values())
