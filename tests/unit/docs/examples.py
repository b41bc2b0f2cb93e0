"""The programs in a page: each ```python block, what it needs, and what it says that it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"(?:<!-- needs: (\w+) -->\n)?```python\n(.*?)```", re.S)
_SUMS = "def add(a, b):\n    return a + b\n"
_TEST = """import unittest

from sums import add


class Sums(unittest.TestCase):
    def test_add(self):
        self.assertEqual(add(2, 3), 5)
"""


@dataclass(frozen=True)
class Example:
    """One program."""

    heading: str
    code: str
    needs: str
    """The provider that it needs; empty when any will do."""

    @property
    def expected(self) -> list[str]:
        """The lines that it prints, by its comments `#: ...`."""
        return re.findall(r"#: (.*)$", self.code, re.M)

    def __str__(self) -> str:
        return self.heading


def read_examples(page: Path) -> list[Example]:
    """All programs of a page."""
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        headings = re.findall(r"^## (.+)$", text[: match.start()], re.M)
        found.append(Example(headings[-1] if headings else "top", match.group(2), match.group(1) or ""))
    return found


def run_example(example: Example, folder: Path, env: dict[str, str]) -> str:
    """Run the program in a folder with the project that the examples start from; what it prints."""
    (folder / "my-project").mkdir()
    (folder / "my-project" / "sums.py").write_text(_SUMS)
    (folder / "my-project" / "test_sums.py").write_text(_TEST)
    # Warnings are errors: no example leaves a file open. Not `-X dev`, where asyncio tells what a busy host delays.
    words = [sys.executable, "-W", "error", "-c", example.code]
    done = subprocess.run(words, cwd=folder, env=env, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def check_output(example: Example, printed: str) -> None:
    """The printed lines are those of the page, empty ones aside."""
    assert [line for line in printed.splitlines() if line] == example.expected
