"""From the words on the command line to an exit status: finds the verb, runs it, and tells failures in three lines."""

from __future__ import annotations

import os
import sys

from cloudrouter.cli.table import ALIASES, NOT_HERE, PRODUCT, VERBS, load_verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from cloudrouter.cli.verb import Verb
    from cloudrouter.wire.errors import CloudRouterError

INTERRUPTED = 130
BROKEN_PIPE = 141
HELP_WORDS = ("--help", "-h", "help")


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
    words = call.words
    if not words or words[0] in HELP_WORDS:
        return _show_help(call, words[1:])
    name = ALIASES.get(words[0], words[0])
    if name in ("--version", "-V"):
        name = "version"
    if name not in VERBS:
        raise _unknown_verb(words)
    verb, rest = load_verb(name), words[1:]
    call.own_failure = verb.own_failure
    if verb.inner:
        name, verb, rest = _choose_inner(name, verb, rest)
    if verb.run is None:
        return _show_page(name, verb)
    from cloudrouter.cli.parsing import parse_words

    call.unread = (name, verb, rest)
    args = parse_words(name, verb, rest)
    call.unread, call.json = None, args.json
    return verb.run(args)


def _choose_inner(name: str, verb: Verb, words: list[str]) -> tuple[str, Verb, list[str]]:
    """The verb below `server`, `image` or `config` that is meant; the outer one when its help is wanted."""
    if not words or words[0] in HELP_WORDS:
        return name, verb, words
    if words[0] in verb.inner:
        return f"{name} {words[0]}", verb.inner[words[0]], words[1:]
    from cloudrouter.cli.output import escape
    from cloudrouter.cli.parsing import suggest
    from cloudrouter.wire.errors import UsageError

    known = list(verb.inner)
    raise UsageError(
        f"`{name}` has no verb {escape(words[0])!r}.",
        fix=suggest(words[0], known) or f"There are: {', '.join(known)}.",
        next=f"{PRODUCT} {name} --help",
    )


def _show_help(call: Call, words: list[str]) -> int:
    """The overview; `help VERB` is the same as `VERB --help`."""
    if words and not words[0].startswith("-"):
        call.words = [*words, "--help"]
        return _dispatch(call)
    from cloudrouter.cli.output import say
    from cloudrouter.cli.overview import overview

    say(overview())
    return 0


def _show_page(name: str, verb: Verb) -> int:
    from cloudrouter.cli.output import say
    from cloudrouter.cli.parsing import build_parser

    say(build_parser(name, verb).format_help().rstrip())
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
    if word.startswith("-"):
        return UsageError(
            f"{PRODUCT} has no flag {word} before the verb.",
            fix="Flags stand after the verb: cloudrouter ls --json",
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
