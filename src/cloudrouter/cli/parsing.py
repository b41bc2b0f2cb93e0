"""Building the parser of one verb, and errors that help instead of argparse's own."""

from __future__ import annotations

import argparse

from cloudrouter.cli.table import PRODUCT, VERBS, aliases_of, load_verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from cloudrouter.cli.verb import Verb
    from cloudrouter.wire.errors import UsageError

HELP_WIDTH = 100
_DASHES = "\0--"
TEAM_HELP = "no effect: the router serves one user, without teams"


class Parser(argparse.ArgumentParser):
    """argparse that raises UsageError in three lines and never exits by itself on bad words."""

    def __init__(self, prog: str, verb: Verb) -> None:
        super().__init__(
            prog=prog,
            usage=f"{prog} {verb.usage}".rstrip(),
            description=verb.description,
            epilog=_epilog(prog, verb),
            formatter_class=_formatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.verb = verb
        self.wants_json = False
        """Whether --json is among the words being read: then the help page is JSON too."""
        self.common: list[argparse.Action] = []
        """The flags that every verb has, which no page about all verbs repeats."""
        self._positionals.title = "Words"
        self._optionals.title = "Flags"
        if verb.configure:
            verb.configure(self)
        self._add_common()

    def _add_common(self) -> None:
        """What every verb takes; `-t` and `-v` only where the verb has no other meaning for them."""
        group = self.add_argument_group("Everywhere")
        taken = self._option_string_actions
        if "--team" not in taken:
            words = [word for word in ("-t", "--team") if word not in taken]
            self.common.append(group.add_argument(*words, metavar="SLUG", help=TEAM_HELP))
        if "--verbose" not in taken:
            words = [word for word in ("-v", "--verbose") if word not in taken]
            self.common.append(
                group.add_argument(
                    *words, action="store_true", help="say what is asked of the router, and how long it takes"
                )
            )
        self.common.append(group.add_argument("-h", "--help", action="help", help="show this help"))

    def print_help(self, file: Any = None) -> None:
        """The page on stdout; as JSON where that is wanted."""
        from cloudrouter.cli import output, pages

        name = self.prog.removeprefix(f"{PRODUCT} ")
        if self.wants_json:
            output.say_json(pages.verb_json(name, self))
        else:
            output.say(self.format_help().rstrip())

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found as one of our errors."""
        raise usage_error(self, message)

    def flags(self) -> dict[str, argparse.Action]:
        """Every flag of this parser, by the way it is written."""
        return dict(self._option_string_actions)


def build_parser(name: str, verb: Verb) -> Parser:
    """The parser of one verb; name is `start`, or `server run` for an inner one."""
    return Parser(f"{PRODUCT} {name}", verb)


def parse_words(name: str, verb: Verb, words: Sequence[str]) -> argparse.Namespace:
    """The words after the verb as a namespace; raises UsageError. `command` and `as_argv` are set where taken."""
    parser = build_parser(name, verb)
    split = Words(parser.flags(), words, verb.before_command, texts=verb.texts)
    parser.wants_json = "--json" in split.ours
    # argparse drops a word `--` wherever it stands; a text may well be that.
    positionals = [_DASHES if verb.texts and word == "--" else word for word in split.positionals]
    behind = ["--", *positionals] if positionals else []
    args, unknown = parser.parse_known_args([*split.ours, *behind])
    unknown = [word for word in unknown if word != "--"]
    if unknown:
        raise _unknown_word(parser, unknown[0])
    if verb.before_command is not None:
        args.command, args.as_argv = split.command, split.as_argv
    if verb.texts:
        args.words = split.positionals[1:]
    return args


def wants_json(name: str, verb: Verb, words: Sequence[str]) -> bool:
    """Whether --json is among our own flags; for errors about words that cannot be parsed."""
    return "--json" in Words(build_parser(name, verb).flags(), words, verb.before_command, texts=verb.texts).ours


class Words:
    """The words after a verb, sorted: our flags, our positional words, and the command with whatever belongs to it.

    argparse alone would take the command's flags for ours, and lose a positional word that stands behind a flag.
    """

    def __init__(
        self,
        flags: dict[str, argparse.Action],
        words: Sequence[str],
        before: int | Callable[[str], bool] | None,
        *,
        texts: bool = False,
    ) -> None:
        self.ours: list[str] = []
        self.positionals: list[str] = []
        self.command: list[str] = []
        self.as_argv = False
        """Whether `--` stood before the command: its words are a program and its arguments, not a line."""
        self.waiting: argparse.Action | None = None
        """The flag at the very end whose value is not there yet; for completion."""
        self._flags = flags
        self._before = before
        self._texts = texts
        self._read(list(words))

    def _read(self, words: list[str]) -> None:
        at = 0
        while at < len(words):
            word = words[at]
            if word == "--":
                self._read_rest(words[at + 1 :])
                return
            if word == "-" or not word.startswith("-") or (self._texts and _is_negative(word)):
                if self._starts_command(word):
                    self.command = words[at:]
                    return
                self.positionals.append(word)
            else:
                self.ours.append(word)
                action = self._wants_value(word)
                if action is not None and at + 1 == len(words):
                    self.waiting = action
                elif action is not None and (action.nargs != "?" or not words[at + 1].startswith("-")):
                    at += 1
                    self._add_value(words[at])
            at += 1

    def _add_value(self, value: str) -> None:
        """Put a flag's value behind it; a text that looks like a flag right at it, or argparse takes it for one."""
        if self._texts and value.startswith("-"):
            self.ours[-1] += f"={value}" if self.ours[-1].startswith("--") else value
        else:
            self.ours.append(value)

    def _read_rest(self, words: list[str]) -> None:
        if self._before is None:
            self.positionals += words
        else:
            self.command, self.as_argv = words, True

    def _starts_command(self, word: str) -> bool:
        if self._before is None:
            return False
        if isinstance(self._before, int):
            return len(self.positionals) >= self._before
        return bool(self.positionals) or not self._before(word)

    def _wants_value(self, word: str) -> argparse.Action | None:
        """The flag whose value is the next word, or None; `--cwd=/tmp` and `-e.git` carry theirs with them."""
        if word.startswith("--"):
            action = self._flags.get(word)
            return action if action is not None and action.nargs != 0 else None
        for index, char in enumerate(word[1:], 1):
            action = self._flags.get("-" + char)
            if action is None:
                return None
            if action.nargs != 0:
                return action if index == len(word) - 1 else None
        return None


def _is_negative(word: str) -> bool:
    """Whether it is a number below nothing, such as -11.5, and no flag."""
    return word[1:].replace(".", "", 1).isdecimal() and word.isascii()


def usage_error(parser: argparse.ArgumentParser, message: str) -> UsageError:
    """argparse's message as a sentence, with what to do about it."""
    from cloudrouter.cli.output import escape
    from cloudrouter.wire.errors import UsageError

    told, fix = _explain(parser, message)
    return UsageError(escape(told), fix=fix, next=f"{parser.prog} --help")


def _explain(parser: argparse.ArgumentParser, message: str) -> tuple[str, str]:
    """(what is wrong, what to do) in our words; argparse has no error classes, only these texts."""
    verb = parser.prog.removeprefix(f"{PRODUCT} ")
    usage = f"Usage: {(parser.usage or '').strip()}"
    what, colon, rest = message.partition(": ")
    if what == "the following arguments are required":
        return f"`{verb}` needs {rest.replace(', ', ' and ')}.", usage
    if not colon or not what.startswith("argument "):
        return f"`{verb}`: {message}.", usage
    flag = what.removeprefix("argument ").split("/")[-1]
    if rest.startswith("invalid choice: "):
        value, _, choices = rest.removeprefix("invalid choice: ").partition(" (choose from ")
        return f"{flag} cannot be {value}.", f"Choose from {choices.rstrip(')').replace(chr(39), '')}."
    if rest.startswith("ignored explicit argument "):
        return f"{flag} takes no value, and is followed by one.", "A text that begins with a dash stands behind `--`."
    if rest.startswith("expected "):
        return f"{flag} needs a value.", usage
    fault, _, remedy = rest.partition("; ")
    return f"{flag}: {fault}.", f"{remedy[:1].upper()}{remedy[1:]}." if remedy else usage


def _unknown_word(parser: Parser, word: str) -> UsageError:
    from cloudrouter.cli.output import escape
    from cloudrouter.wire.errors import UsageError

    verb = parser.prog.removeprefix(f"{PRODUCT} ")
    written = next((flag for flag in parser.verb.not_here if word == flag or word.startswith(f"{flag}=")), None)
    if written is not None:
        missing, instead = parser.verb.not_here[written]
        return UsageError(f"`{verb}` has no flag {written}: {missing}.", fix=instead, next=f"{parser.prog} --help")
    if word.startswith("-"):
        known = [flag for flag in parser.flags() if flag.startswith("--")]
        told = f"`{verb}` has no flag {escape(word)}."
        fix = suggest(word.split("=")[0], known) or "See which flags there are."
        if parser.verb.texts:
            fix += " A text that begins with a dash stands behind `--`."
    else:
        told, fix = f"`{verb}` does not take {word!r}.", f"Usage: {(parser.usage or '').strip()}"
    return UsageError(told, fix=fix, next=f"{parser.prog} --help")


def suggest(word: str, known: Sequence[str]) -> str:
    """`Did you mean X?`, or nothing when no known word is close."""
    import difflib

    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    # Letters that changed places are the commonest slip: `strat` is start, though stats is as near.
    best = next((one for one in close if sorted(one) == sorted(word)), close[0] if close else "")
    return f"Did you mean {best}?" if best else ""


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """The flag that every verb has."""
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")


def all_parsers() -> dict[str, Parser]:
    """The parser of every verb and inner verb, by its name; for completions, the reference and tests."""
    found = {}
    for name in VERBS:
        verb = load_verb(name)
        found[name] = build_parser(name, verb)
        for inner_name, inner in verb.inner.items():
            found[f"{name} {inner_name}"] = build_parser(f"{name} {inner_name}", inner)
    return found


def _epilog(prog: str, verb: Verb) -> str:
    lines = []
    if verb.inner:
        lines += [*_inner_lines(verb.inner), ""]
    other = aliases_of(prog.removeprefix(f"{PRODUCT} "))
    if other:
        lines += [f"Also written: {', '.join(other)}", ""]
    lines.append("Examples:")
    for command, meaning in verb.examples:
        lines += [f"  {command}", f"      {meaning}"]
    return "\n".join(lines)


def _inner_lines(inner: dict[str, Verb]) -> list[str]:
    """The verbs below one, each with its line, under their headings."""
    width = max(len(name) for name in inner)
    lines: list[str] = []
    heading = None
    for name, one in inner.items():
        if one.group != heading:
            lines += ([""] if lines else []) + [f"{one.group or 'Verbs'}:"]
            heading = one.group
        lines.append(f"  {name:<{width}}  {one.summary}")
    return lines


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """One style for all help pages: `Usage:` with a capital, values in one place, examples as they are written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap a description; an epilog has lines of its own."""
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)  # noqa: SLF001 - the grandparent's own

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        """As argparse's, with our word before it."""
        super().add_usage(usage, actions, groups, prefix or "Usage: ")

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """`-n, --name NAME` instead of `-n NAME, --name NAME`."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def _formatter(prog: str) -> argparse.HelpFormatter:
    from cloudrouter.cli.output import terminal_width

    return _Formatter(prog, max_help_position=30, width=min(HELP_WIDTH, terminal_width()))
