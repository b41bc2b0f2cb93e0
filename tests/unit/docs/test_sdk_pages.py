"""The pages about the SDK are true: every example runs and prints what it says, the reference is current."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.client.live import memory_router
from tests.unit.docs.examples import Example, check_output, read_examples, run_example

ROOT = Path(__file__).parents[3]
EXAMPLES = read_examples(ROOT / "docs" / "sdk.md")


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    base = tmp_path_factory.mktemp("router")
    with memory_router(str(base)):
        yield str(base)


@pytest.mark.parametrize("example", [one for one in EXAMPLES if not one.needs], ids=str)
def test_example_when_run_then_prints_what_the_page_says(example: Example, router: str, tmp_path: Path) -> None:
    env = {**os.environ, "CLOUDROUTER_RUNTIME_DIR": f"{router}/run", "CLOUDROUTER_STATE_DIR": f"{router}/state"}
    check_output(example, run_example(example, tmp_path, env))


def test_page_when_read_then_has_an_example_of_each_kind() -> None:
    assert len(EXAMPLES) >= 14
    text = "\n".join(one.code for one in EXAMPLES)
    for word in (
        "start(",
        "run(",
        "exec(",
        "stdin=True",
        "start_job(",
        "files.",
        "forward(",
        "connect(",
        "TaskGroup",
        "open(",
        "ptys.",
        "apps.",
        "screenshot(",
    ):
        assert word in text
    # Volumes, apps, and ports of a machine of its own need an engine.
    assert sum(bool(one.needs) for one in EXAMPLES) <= 3, "what can run without an engine does"
    assert all(one.expected for one in EXAMPLES), "an example that prints nothing shows nothing"


def test_reference_when_generated_again_then_nothing_changes(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "sdk_reference.py"
    target = tmp_path / "x" / "sdk-reference.md"
    done = subprocess.run(
        [sys.executable, str(script), str(target)], check=True, capture_output=True, text=True, env=dict(os.environ)
    )
    assert "is written" in done.stdout
    assert (ROOT / "docs" / "sdk-reference.md").read_text() == target.read_text(), "run `make docs`"


def test_programs_that_use_the_sdk_when_checked_strictly_then_have_no_errors() -> None:
    program = Path(__file__).with_name("typed_program.py")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(program)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stdout
    lines = [line for line in program.read_text().splitlines() if "# type: ignore[" in line]
    assert len(lines) >= 4, "the wrong uses, which mypy has to see: an unneeded ignore is an error"
