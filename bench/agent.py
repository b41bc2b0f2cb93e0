"""A scripted agent: it knows SKILL.md and help pages, runs what it finds there, and counts what it took."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

WRONG = (2, 255)
"""Exit statuses that mean that the call itself was wrong, or that CloudRouter failed."""
LABEL = "agent=bench"


class Failed(Exception):
    """The goal was not reached; the text says how."""


class Manual:
    """SKILL.md as an agent reads it: commands with the words that stand around them."""

    def __init__(self, text: str) -> None:
        self.lines: list[tuple[str, str]] = []
        section = ""
        for line in text.splitlines():
            if line.startswith("#"):
                section = line.strip("# ")
            command, _, comment = line.partition("  #")
            if re.match(r"^(\w+=\$\()?(echo .*\| )?cloudrouter ", command):
                self.lines.append((command.strip(), f"{section} {comment}"))
            for span in re.findall(r"`((?:cloudrouter) [^`]+)`", line):
                self.lines.append((span.replace("\\|", "|"), f"{section} {re.sub('`[^`]*`', ' ', line)}"))

    def find(self, *words: str) -> str | None:
        """The first command with all the words: of the verb that the first word names, then of any, then beside it."""
        for command, _around in self.lines:
            if f"cloudrouter {words[0]} " in command and all(word in command for word in words):
                return command
        for command, _around in self.lines:
            if all(word in command for word in words):
                return command
        for command, around in self.lines:
            if all(word in f"{command} {around}" for word in words):
                return command
        return None


class Agent:
    """Runs what it finds in the manual, and counts."""

    def __init__(self, manual: Manual, folder: Path, environ: dict[str, str]) -> None:
        self.manual = manual
        self.folder = folder
        self.environ = environ
        self.calls = self.wrong = self.retries = self.bytes = self.lookups = 0
        self.said: list[str] = []

    def look_up(self, *words: str) -> str:
        """A command for these words: from SKILL.md, else from the help page of the verb that is the first word."""
        found = self.manual.find(*words)
        if found is not None:
            return found
        self.lookups += 1
        page = self.shell(f"cloudrouter {words[0]} --help").stdout
        for line in page.splitlines():
            if line.strip().startswith("cloudrouter ") and all(word in line for word in words):
                return line.strip()
        raise Failed(f"neither SKILL.md nor the help page of {words[0]} has a command with {words}")

    def do(self, *words: str, put: dict[str, str] | None = None, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Look a command up, put own values in, run it; after a failure follow its advice once and try again."""
        line = self.fill(self.look_up(*words), put or {})
        done = self.shell(line)
        if done.returncode == expect:
            return done
        advice = re.search(r"^Next: (cloudrouter .*)$", done.stderr, re.M)
        if advice:
            self.shell(advice.group(1))
        self.retries += 1
        done = self.shell(line)
        if done.returncode != expect:
            raise Failed(f"`{line}` ended with {done.returncode}, wanted {expect}: {done.stderr[-300:]}")
        return done

    @staticmethod
    def fill(line: str, put: dict[str, str]) -> str:
        """The line with the manual's example values replaced: longest first, each once, and no variable assignment."""
        line = re.sub(r"^\w+=\$\((.*)\)$", r"\1", line)
        for example in sorted(put, key=len, reverse=True):
            if example not in line:
                raise Failed(f"the manual's `{line}` has no {example} to replace")
            line = line.replace(example, put[example])
        return line

    def shell(self, line: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """One line of shell, as an agent's tool runs it."""
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env={**self.environ, **extra}, capture_output=True, check=False,
            timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        self.calls += max(1, len(re.findall(r"\bcloudrouter\b", line)))
        self.wrong += done.returncode in WRONG
        self.bytes += len(done.stdout) + len(done.stderr)
        self.said.append(f"$ {line}\n{out}{err}[{done.returncode}]")
        return subprocess.CompletedProcess(line, done.returncode, out, err)

    def start(self, name: str, folder: str = "./app") -> str:
        """A machine from a folder, as the manual's first command makes one."""
        line = self.fill(
            self.look_up("start", "-l agent=me"), {"./my-project": f"{folder} -n {name}", "agent=me": LABEL}
        )
        done = self.shell(line)
        if done.returncode != 0 or not done.stdout.strip().startswith("cr_"):
            raise Failed(f"start: {done.stderr[-300:]}")
        return done.stdout.strip()


def need(truth: object, what: str) -> None:
    """The goal's check."""
    if not truth:
        raise Failed(what)


def exec_in(agent: Agent, machine: str, command: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """The manual's plain command line in a machine, with a command of the agent's own."""
    return agent.do(
        "ssh", "npm ci && npm test", "$ID", put={'"$ID"': machine, "npm ci && npm test": command}, expect=expect
    )
