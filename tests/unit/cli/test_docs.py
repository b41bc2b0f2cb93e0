"""The pages about the command line are true: generated ones current, hand-written ones parseable."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cloudrouter.cli.parsing import parse_words
from cloudrouter.cli.reference import main, reference
from cloudrouter.cli.table import ALIASES, VERBS, load_verb

ROOT = Path(__file__).parents[3]
SKILL = ROOT / "skills" / "cloudrouter" / "SKILL.md"


def test_reference_when_generated_again_then_nothing_changes() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == reference(), "run `make docs`"


def test_reference_when_written_then_is_in_the_file_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "x" / "cli.md")]) == 0
    assert (tmp_path / "x" / "cli.md").read_text() == reference()
    assert "is written" in capsys.readouterr().out


def test_skill_when_read_by_an_agent_then_is_short_and_has_its_head() -> None:
    text = SKILL.read_text()
    assert len(text.splitlines()) < 120
    head = re.match(r"---\nname: cloudrouter\ndescription: (.+)\n---\n", text)
    assert head
    assert 40 < len(head.group(1)) < 1024


def skill_lines() -> list[str]:
    """Every command in the skill: lines of code blocks, and code spans, that begin with our name."""
    text = SKILL.read_text()
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.S)
    found = [line for block in blocks for line in block.splitlines()]
    found += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return [line.strip() for line in found if line.strip().startswith(("cloudrouter ", "cr ", "ID=$(cloudrouter"))]


@pytest.mark.parametrize("line", skill_lines())
def test_skill_line_when_read_by_the_real_parser_then_is_understood(line: str) -> None:
    inner = re.match(r"ID=\$\((.*)\)$", line.partition("  #")[0].strip())
    words = shlex.split(inner.group(1) if inner else line, comments=True)
    for sign in ("|", ">", "<"):
        words = words[: words.index(sign)] if sign in words else words
    _product, name, *rest = words
    name = ALIASES.get(name, name)
    assert name in VERBS
    verb = load_verb(name)
    if verb.inner:
        name, verb, rest = f"{name} {rest[0]}", verb.inner[rest[0]], rest[1:]
    parse_words(name, verb, rest)


def test_skill_when_searched_for_commands_then_has_the_main_ones() -> None:
    names = {line.removeprefix("ID=$(").split()[1] for line in skill_lines()}
    assert {"start", "run", "ls", "ssh", "logs", "ps", "upload", "download", "delete", "extend"} <= names
