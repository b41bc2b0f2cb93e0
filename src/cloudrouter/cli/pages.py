"""Help for programs: the overview and each verb's page as JSON."""

from __future__ import annotations

from cloudrouter.cli.table import VERBS, aliases_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from cloudrouter.cli.parsing import Parser


def overview_json() -> dict[str, Any]:
    """`{"verbs": [{name, summary, group, aliases}]}`, in the order of the overview."""
    verbs = [
        {"name": name, "summary": summary, "group": group, "aliases": aliases_of(name)}
        for name, (_module, summary, group) in VERBS.items()
    ]
    return {"verbs": verbs}


def verb_json(name: str, parser: Parser) -> dict[str, Any]:
    """One verb's page: `{name, usage, description, aliases, words, flags, verbs, examples}`."""
    verb = parser.verb
    actions = parser._actions  # noqa: SLF001 - argparse has no other way to ask
    return {
        "name": name,
        "usage": (parser.usage or "").strip(),
        "description": verb.description,
        "aliases": aliases_of(name),
        "words": [_word(action) for action in actions if not action.option_strings],
        "flags": [_flag(action) for action in actions if action.option_strings],
        "verbs": [{"name": inner, "description": one.summary, "group": one.group} for inner, one in verb.inner.items()],
        "examples": [{"command": command, "meaning": meaning} for command, meaning in verb.examples],
    }


def _word(action: argparse.Action) -> dict[str, Any]:
    return {
        "name": str(action.metavar or action.dest),
        "help": action.help or "",
        "required": action.nargs in (None, "+"),
        "several": action.nargs in ("*", "+"),
    }


def _flag(action: argparse.Action) -> dict[str, Any]:
    value = None if action.nargs == 0 else str(action.metavar or action.dest.upper())
    return {
        "names": list(action.option_strings),
        "value": value,
        "help": action.help or "",
        "choices": None if action.choices is None else [str(one) for one in action.choices],
    }
