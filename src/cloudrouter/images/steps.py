"""Reading a builder's output: which titled step runs, its last lines, and the progress events made of them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

from cloudrouter.images.engine import Progress

_STEP = re.compile(r"^(?:\[\d+/\d+\] )?STEP (\d+)/(\d+) ?: ?(.*)$", re.IGNORECASE)
_NOISE = re.compile(r"^( *---> |-->|Removing intermediate container |Successfully (built|tagged) |COMMIT )")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
TAIL_LINES = 15


def titles(dockerfile: str) -> dict[str, str]:
    """How an instruction begins -> its title: the comment `#: Title` names the instructions that follow it."""
    found: dict[str, str] = {}
    title, parts = "", []
    for line in dockerfile.splitlines():
        text = line.strip()
        if text.startswith("#:"):
            title = text[2:].strip()
        if not text or text.startswith("#"):
            continue
        parts.append(text.removesuffix("\\"))
        if text.endswith("\\"):
            continue
        if title:
            found[_beginning(" ".join(parts))] = title
        title, parts = "", []
    return found


def _beginning(instruction: str) -> str:
    """Builders join continued lines and keep their spaces; the first words tell instructions apart."""
    return " ".join(instruction.split())[:72].rstrip()


class Steps:
    """Counts titled steps over all parts of a build and reports them; `at` never goes back."""

    def __init__(self, name: str, total: Iterable[str], progress: Progress) -> None:
        self._name = name
        self._titles = list(total)
        self._progress = progress
        self._at = 0
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    @property
    def title(self) -> str:
        """The step that runs."""
        return self._titles[self._at - 1] if self._at else ""

    def begin(self, title: str, detail: str = "") -> None:
        """A step starts; those before it are done or were not needed."""
        self._at = self._titles.index(title, max(self._at - 1, 0)) + 1
        self.tail.clear()
        self._report(detail)

    def say(self, text: str) -> None:
        """Output of the running step, any number of lines."""
        for line in clean_lines(text):
            self.tail.append(line)
            self._report(line)

    def _report(self, detail: str) -> None:
        self._progress(
            {
                "step": f"{self._name} {self._at}/{len(self._titles)}: {self.title}",
                "at": self._at,
                "of": len(self._titles),
                "detail": detail,
            }
        )


class Follower:
    """Turns the text stream of one build into steps, whose lines may be cut anywhere."""

    def __init__(self, dockerfile: str, steps: Steps) -> None:
        self._titles = titles(dockerfile)
        self._steps = steps
        self._rest = ""

    def feed(self, text: str) -> None:
        """The next piece of output."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """Whatever came without a line end at last."""
        self._line(self._rest)
        self._rest = ""

    def _line(self, line: str) -> None:
        step = read_step(line)
        if step is None:
            if not is_noise(line):
                self._steps.say(line)
            return
        title = self._titles.get(_beginning(step[2]))
        if title is not None:
            self._steps.begin(title)


def read_step(line: str) -> tuple[int, int, str] | None:
    """(number, of how many, instruction) where a builder announces a step, else None."""
    match = _STEP.match(line)
    return (int(match[1]), int(match[2]), match[3]) if match else None


def is_noise(line: str) -> bool:
    """Whether a builder says so only of itself."""
    return _NOISE.match(line) is not None


def clean_lines(text: str) -> list[str]:
    """Lines fit for a terminal: no control codes, the last state of lines redrawn by carriage returns."""
    shown = []
    for line in text.split("\n"):
        last = line.rstrip("\r").rsplit("\r", 1)[-1]
        plain = _ESCAPES.sub("", last).rstrip()
        if plain:
            shown.append(plain[:500])
    return shown
