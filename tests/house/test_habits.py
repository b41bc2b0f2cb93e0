"""Sizes, shells, prints, words: habits that a machine can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import cloudrouter
from cloudrouter.server.store import migrations

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "cloudrouter"
FILES = sorted(SRC.rglob("*.py"))

FILE_LINES = 600
FUNCTION_LINES = 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "every module says in a line or three what it is for"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_no_shell_strings_and_no_swallowed_errors(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "shell":
            raise AssertionError(f"{path}: shell= at line {node.lineno}")
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id == "Exception":
            only_pass = all(isinstance(statement, ast.Pass) for statement in node.body)
            assert not only_pass, f"{path}: swallowed error at line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_only_the_cli_prints(path: Path) -> None:
    if path.relative_to(SRC).parts[0] == "cli":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path}: print at line {node.lineno}"


def test_sql_lives_only_in_the_store() -> None:
    for path in FILES:
        if "store" in path.relative_to(SRC).parts:
            continue
        assert not re.search(r"\b(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM)\b", path.read_text()), path


def test_public_names_are_what_all_says() -> None:
    for name in cloudrouter.__all__:
        assert getattr(cloudrouter, name) is not None
    assert set(cloudrouter._HOMES) <= set(cloudrouter.__all__)


def test_the_newest_migration_is_the_one_the_code_expects() -> None:
    versions = SRC / "server" / "store" / "migrations" / "versions"
    revisions = [re.search(r'^revision = "(\w+)"', path.read_text(), re.M) for path in versions.glob("v*.py")]
    assert max(found.group(1) for found in revisions if found) == migrations.HEAD


def test_agents_page_is_short() -> None:
    assert len((ROOT / "AGENTS.md").read_text().splitlines()) <= 60
