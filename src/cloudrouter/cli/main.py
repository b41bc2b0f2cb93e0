"""From the words on the command line to an exit status: finds the verb, runs it, and tells failures in three lines."""

from __future__ import annotations

import os
import sys

from cloudrouter.cli.table import ALIASES, NOT_HERE, NOT_YET, PRODUCT, VERBS, load_verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from typing import NoReturn

    from cloudrouter.cli.verb import Verb
    from cloudrouter.wire.errors import CloudRouterError

INTERRUPTED = 130
BROKEN_PIPE = 141
HELP_WORDS = ("--help", "-h", "help")
COMPLETE = "__complete"
"""What completion scripts call; it is no verb."""


class Call:
    """One call of the command line: what is known of it when something fails."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.json = False
        self.own_failure: int | None = None
        self.unread: tuple[str, Verb, list[str]] | None = None
        """The verb and its words, until they have been understood."""


def run(argv: Sequence[str]) -> int:
    """Do what the words say and return the exit status; every failure has been told when it returns."""
    call = Call(argv)
    try:
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            # A name or message that the locale cannot spell is escaped; it must never be a traceback.
            reconfigure(errors="backslashreplace")
        code = _dispatch(call)
        _flush()
        return code
    except SystemExit as leaving:  # argparse after --help
        _flush()
        return leaving.code if isinstance(leaving.code, int) else 0
    except KeyboardInterrupt as interrupt:
        return int(getattr(interrupt, "exit_code", INTERRUPTED))
    except BrokenPipeError:
        _forget_stdout()
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the one place where everything ends as three lines
        return _fail(call, error)


def run_process(argv: Sequence[str]) -> NoReturn:
    """`run` as the whole of a process: leaves at once, without the milliseconds of taking Python down."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # A closed one (`>&-`): else the next socket would get its number, and be written to as if it were stdout.
            os.open(os.devnull, os.O_RDWR)
    os._exit(run(argv))


def _dispatch(call: Call) -> int:
    leading, words = split_leading(call.words)
    call.json = "--json" in leading
    if not words or words[0] in HELP_WORDS:
        return _show_help(call, words[1:])
    if words[0] == COMPLETE:
        from cloudrouter.cli.completing import complete

        return complete(words[1:])
    name, verb, rest = _find_verb(call, words)
    if verb.run is None:
        return _show_page(call, name, verb, rest)
    from cloudrouter.cli.parsing import parse_words

    rest = [*leading, *rest]
    call.unread = (name, verb, rest)
    args = parse_words(name, verb, rest)
    call.unread, call.json = None, args.json
    _obey_common(args)
    return verb.run(args)


def split_leading(words: list[str]) -> tuple[list[str], list[str]]:
    """(the flags before the verb, written so that every verb takes them; the verb and what follows)."""
    found: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word in ("-v", "--verbose", "--json"):
            found.append("--json" if word == "--json" else "--verbose")
        elif word in ("-t", "--team") and at + 1 < len(words):
            at += 1
            found.append(f"--team={words[at]}")
        elif word.startswith("--team="):
            found.append(word)
        else:
            break
        at += 1
    return found, words[at:]


def _find_verb(call: Call, words: list[str]) -> tuple[str, Verb, list[str]]:
    """(name, verb, the words behind it) of what is meant; raises UsageError when there is no such verb."""
    name = ALIASES.get(words[0], words[0])
    if name in ("--version", "-V"):
        name = "version"
    if name not in VERBS:
        call.json = call.json or "--json" in words
        raise _unknown_verb(words)
    verb = load_verb(name)
    call.own_failure = verb.own_failure
    return _choose_inner(call, name, verb, words[1:]) if verb.inner else (name, verb, words[1:])


def _choose_inner(call: Call, name: str, verb: Verb, words: list[str]) -> tuple[str, Verb, list[str]]:
    """The verb below `server`, `image` or `config` that is meant; the outer one when its help is wanted."""
    flags, words = _split_flags(verb, words)
    if words and words[0] in verb.inner:
        return f"{name} {words[0]}", verb.inner[words[0]], [*flags, *words[1:]]
    wants_help = bool(words) and words[0] in HELP_WORDS
    if wants_help and len(words) > 1 and words[1] in verb.inner:
        return f"{name} {words[1]}", verb.inner[words[1]], ["--help", *flags, *words[2:]]
    if verb.alone and not wants_help and (not words or words[0].startswith("-")):
        return f"{name} {verb.alone}", verb.inner[verb.alone], words
    if not words or wants_help or words == ["--json"]:
        return name, verb, [*flags, *words]
    call.json = call.json or "--json" in [*flags, *words]
    raise _unknown_inner(name, verb, words[0])


def _split_flags(verb: Verb, words: list[str]) -> tuple[list[str], list[str]]:
    """(flags that stand before the name of a verb below, where the verb lets them; the rest)."""
    if not verb.before_inner:
        return [], words
    flags, rest = split_leading(words)
    while rest and rest[0].partition("=")[0] in verb.before_inner:
        taken = 1 if "=" in rest[0] else 2
        flags += rest[:taken]
        more, rest = split_leading(rest[taken:])
        flags += more
    return flags, rest


def _unknown_inner(name: str, verb: Verb, word: str) -> CloudRouterError:
    from cloudrouter.cli.output import escape
    from cloudrouter.cli.parsing import suggest
    from cloudrouter.wire.errors import UsageError

    told = f"`{name}` has no verb {escape(word)!r}"
    known = list(verb.inner)
    begun = [one for one in known if one.startswith(f"{word}-")]
    if word in verb.not_here:
        missing, fix = verb.not_here[word]
        return UsageError(f"{told}: {missing}.", fix=fix, next=f"{PRODUCT} {name} --help")
    if begun:
        fix = f"There are: {', '.join(begun)}."
    else:
        fix = suggest(word, known) or (f"There are: {', '.join(known)}." if len(known) < 20 else "See which there are.")
    return UsageError(f"{told}.", fix=fix, next=f"{PRODUCT} {name} --help")


def _obey_common(args: Namespace) -> None:
    """What --team and --verbose mean, which is the same everywhere."""
    if args.team is not None:
        from cloudrouter.cli.output import escape, note

        note(f"cloudrouter: --team {escape(args.team)} has no effect: this router serves one user and has no teams.")
    if args.verbose:
        from cloudrouter.cli import telling

        telling.begin()


def _show_help(call: Call, words: list[str]) -> int:
    """The overview; `help VERB` is the same as `VERB --help`."""
    call.json = call.json or "--json" in words
    words = [word for word in words if word != "--json"]
    if words and not words[0].startswith("-"):
        name, verb, rest = _find_verb(call, words)
        call.own_failure = None
        return _show_page(call, name, verb, rest)
    from cloudrouter.cli import output

    if call.json:
        from cloudrouter.cli.pages import overview_json

        output.say_json(overview_json())
    else:
        from cloudrouter.cli.overview import overview

        output.say(overview())
    return 0


def _show_page(call: Call, name: str, verb: Verb, words: list[str]) -> int:
    from cloudrouter.cli.parsing import build_parser

    parser = build_parser(name, verb)
    parser.wants_json = call.json or "--json" in words
    parser.print_help()
    return 0


def _unknown_verb(words: list[str]) -> CloudRouterError:
    from cloudrouter.cli.output import escape
    from cloudrouter.cli.parsing import suggest
    from cloudrouter.wire.errors import UsageError

    word = escape(words[0])
    if words[0] in NOT_HERE:
        instead = NOT_HERE[words[0]]
        return UsageError(
            f"There is no verb {word!r} in {PRODUCT}.",
            fix=f"`{instead}` does that.",
            next=f"{PRODUCT} {instead} {escape(words[1]) if words[1:] else 'ID'}",
        )
    if words[0] in NOT_YET:
        missing, today, following = NOT_YET[words[0]]
        return UsageError(f"{missing}: there is no verb {word!r}.", fix=today, next=f"{PRODUCT} {following}")
    if word.startswith("-"):
        return UsageError(
            f"{PRODUCT} has no flag {word} before the verb.",
            fix="Before the verb there may be --json, -v and -t TEAM; all other flags stand after it.",
            next=f"{PRODUCT} --help",
        )
    return UsageError(
        f"There is no verb {word!r} in {PRODUCT}.",
        fix=suggest(words[0], [*VERBS, *ALIASES]) or "See which verbs there are.",
        next=f"{PRODUCT} --help",
    )


# -- failures -------------------------------------------------------------------------------------------------------


def _fail(call: Call, error: Exception) -> int:
    """Tell a failure: three lines on stderr, with --json also `{"error": ...}` on stdout."""
    from cloudrouter.cli import output
    from cloudrouter.wire.errors import CloudRouterError

    told = error if isinstance(error, CloudRouterError) else _defect(error)
    if os.environ.get("CLOUDROUTER_DEBUG"):
        import traceback

        output.note("".join(traceback.format_exception(error)).rstrip())
    try:
        if call.json or _asks_json(call):
            output.say_json({"error": told.to_json()})
        output.show_error(told)
        _flush()
    except OSError:
        _forget_stdout()
    return told.exit_code if call.own_failure is None else call.own_failure


def _asks_json(call: Call) -> bool:
    if call.unread is None:
        return False
    from cloudrouter.cli.parsing import wants_json

    return wants_json(*call.unread)


def _defect(error: Exception) -> CloudRouterError:
    """An exception that nobody foresaw, or an output that cannot be written, as an error with a remedy."""
    from cloudrouter.wire.errors import Internal

    if isinstance(error, OSError) and error.filename is None and error.strerror:
        return Internal(f"Reading or writing failed: {error.strerror}.", fix="Check the disk and the pipes.")
    return Internal(
        f"Something unforeseen happened: {type(error).__name__}: {error}",
        fix="Run it again with CLOUDROUTER_DEBUG=1 to see where.",
        next=f"{PRODUCT} server logs",
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _forget_stdout() -> None:
    """Point stdout at nothing, so that Python's own last flush does not complain about the missing reader."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)
    except OSError:
        sys.stdout = None
