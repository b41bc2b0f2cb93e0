"""A pytest plugin: sees which flags a test gives on the command line, or makes the command line ignore one of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.cli import parsing
from cloudrouter.cli.table import load_verb
from cloudrouter.cli.verb import Verb

COMMON = frozenset({"-h", "--help"})
"""argparse's own, which ends before any verb of ours runs."""


def long_name(options: Sequence[str]) -> str:
    """How a flag is called in reports: its first long form."""
    return next((option for option in options if option.startswith("--")), options[0])


def every_flag() -> set[str]:
    """Each flag of each verb, as `ls --all` or `image build --rebuild`; `image` alone runs nothing."""
    return {
        f"{name} {long_name(action.option_strings)}"
        for name, parser in parsing.all_parsers().items()
        if " " in name or not load_verb(name).inner
        for action in parser.flags().values()
        if not COMMON.intersection(action.option_strings)
    }


class Recorder:
    """Notes which test gives which flag."""

    def __init__(self) -> None:
        self.seen: dict[str, list[str]] = {}
        self._test = ""
        self._passed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Remember whose calls follow, and listen to the parser."""
        self._test = item.nodeid
        original = parsing.parse_words

        def parse_words(name: str, verb: Verb, words: Sequence[str]) -> Any:
            found = original(name, verb, words)
            for flag in given_flags(name, verb, words):
                tests = self.seen.setdefault(flag, [])
                if self._test not in tests:
                    tests.append(self._test)
            return found

        parsing.parse_words = parse_words
        try:
            return (yield)
        finally:
            parsing.parse_words = original

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Only a test that passes can tell anything by failing."""
        if report.when == "call" and report.passed:
            self._passed.add(report.nodeid)

    def write(self, path: Path) -> None:
        """The flags with the tests that pass and give them."""
        found = {flag: [test for test in tests if test in self._passed] for flag, tests in self.seen.items()}
        path.write_text(json.dumps(found))


class Ignorer:
    """Lets the command line parse one flag and forget it; counts the tests that notice."""

    def __init__(self, flag: str) -> None:
        self.flag = flag
        self.noticed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        """Drop the flag's value for the time of a test."""
        original = parsing.parse_words

        def parse_words(name: str, verb: Verb, words: Sequence[str]) -> Any:
            found = original(name, verb, words)
            for action in parsing.build_parser(name, verb).flags().values():
                if f"{name} {long_name(action.option_strings)}" == self.flag:
                    setattr(found, action.dest, copy.copy(action.default))
            return found

        parsing.parse_words = parse_words
        try:
            return (yield)
        finally:
            parsing.parse_words = original

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that fails has noticed."""
        if report.when == "call" and report.failed:
            self.noticed.append(report.nodeid)


def given_flags(name: str, verb: Verb, words: Sequence[str]) -> set[str]:
    """The flags among these words that are our own."""
    flags = parsing.build_parser(name, verb).flags()
    found = set()
    for word in parsing.Words(flags, words, verb.before_command).ours:
        action = flags.get(word.partition("=")[0]) or (flags.get(word[:2]) if not word.startswith("--") else None)
        if action is not None:
            found.add(f"{name} {long_name(action.option_strings)}")
    return found
