"""From a verb with its words and options to the command for agent-browser; what cannot be said so is refused."""

from __future__ import annotations

from cloudrouter.wire.browsing import words_fault
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cloudrouter.wire.browsing import Option, Step

GLOBAL = ("--annotate", "--screenshot-format", "--screenshot-quality")
"""Flags that agent-browser takes before the command alone."""


_FLAGS_OF_FIND = ("--name", "--exact")


def check(step: Step, words: Sequence[object], options: object) -> dict[str, Any]:
    """The options by name, once words and options fit the verb; UsageError when they do not."""
    # The file that a step makes is not named: the guest makes a place for it.
    unnamed = step.gives and len(words) < len(step.words)
    fault = words_fault(step, [*words, ""] if unnamed else words)
    if fault:
        raise UsageError(f"browser {step.name}: {fault}.", next=f"cloudrouter browser {step.name} --help")
    if not isinstance(options, dict):
        raise UsageError("options must be an object.")
    known = {option.name: option for option in step.options}
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"browser {step.name} has no option {str(name)[:40]!r}.")
        _check_value(step, known[name], value)
    return {name: value for name, value in options.items() if value is not False}


def _check_value(step: Step, option: Option, value: object) -> None:
    if not option.value:
        if not isinstance(value, bool):
            raise UsageError(f"browser {step.name}: {option.name} is true or false.")
    elif not isinstance(value, str) or not value:
        raise UsageError(f"browser {step.name}: {option.name} must be a text that is not empty.")
    elif value.startswith("-"):
        raise UsageError(
            f"browser {step.name}: the value of {option.name} cannot begin with a dash.",
            fix="Say the same in another way, such as with a space or a part of it.",
        )


def command(step: Step, words: Sequence[str], options: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(flags before the command, the command's words). FILE words are paths in the machine by now."""
    argv = _positions(step, list(words))
    flags: list[str] = []
    for option in step.options:
        if option.name in options and not (step.name == "screenshot" and option.name == "selector"):
            target = flags if option.tool in GLOBAL else argv
            target += [option.tool, options[option.name]] if option.value else [option.tool]
    if step.name == "screenshot" and "selector" in options:
        argv.insert(1, options["selector"])
    return flags, argv


def _positions(step: Step, words: list[str]) -> list[str]:
    """The tool's words with what the caller gave in the places of the words in capitals."""
    named = [word.strip("[].") for word in step.words]
    given = dict(zip(named, words))  # noqa: B905 - no strict= in Python 3.9
    rest = words[len(named) :]
    argv: list[str] = []
    for word in step.tool:
        name = word.strip("[].")
        if name not in named:
            argv.append(word)
        elif name in given:
            argv.append(_harmless(step, name, given[name]))
            argv += rest if word.endswith("...") else []
    return [*argv, "main"] if step.name == "frame" and not words else argv


def _harmless(step: Step, name: str, word: str) -> str:
    """The word as agent-browser takes it for a word: of some verbs it would take one for a flag."""
    if step.name == "eval" and word.startswith("-"):
        return f" {word}"
    if name == "URL" and step.name in ("open", "tab-new"):
        return _address(word)
    if name == "TEXT" and not word and step.name in ("keyboard-type", "keyboard-insert"):
        raise UsageError(f"browser {step.name}: TEXT is empty.")
    if step.name == "find" and word in _FLAGS_OF_FIND:
        raise UsageError(f"browser find: {name} cannot be {word}.", fix="Find it first, then fill it by its @ref.")
    return word


def _address(word: str) -> str:
    """The address as a person means it: this machine's own servers seldom speak TLS, which agent-browser supposes."""
    host = word.partition("/")[0].rpartition("@")[2].lower()
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    own = name in ("localhost", "[::1]", "0.0.0.0") or name.endswith(".localhost") or name.startswith("127.")  # noqa: S104
    return f"http://{word}" if own else word
