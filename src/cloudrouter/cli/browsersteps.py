"""Words of a `browser` verb as a step for the router, and the one request that does it."""

from __future__ import annotations

import sys

from cloudrouter.cli import jobs, output
from cloudrouter.cli.values import seconds
from cloudrouter.wire import routes
from cloudrouter.wire.browsing import DEFAULT_TIMEOUT_S, LONGEST_TIMEOUT_S, MAIN, is_once, session_fault, words_fault
from cloudrouter.wire.errors import CloudRouterError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable
    from typing import Any

    from cloudrouter.client.transport import Transport
    from cloudrouter.wire.browsing import Option, Step

PATIENCE_S = 600.0
"""How long to wait beyond a step's own time: desktop and browser may have to start, and other steps come first."""
SECRETS = ("TEXT", "MORE", "VALUE", "PASSWORD", "JSON", "SCRIPT")
"""Words that may hold what nobody else should read: never repeated, and taken from stdin when that is wanted."""
HELP = {
    "ACTION": "click (default), fill, check, hover or text; with nth the selector stands here",
    "ATTRIBUTE": "its name, as href",
    "BUTTON": "left (default), right or middle",
    "DEVICE": "its name, as 'iPhone 12'; off: none any more",
    "DIRECTION": "up, down, left or right",
    "DX": "to the right, in pixels",
    "DY": "down, in pixels",
    "FILE": "a file here",
    "FROM": "the element that is dragged",
    "HEIGHT": "in pixels",
    "JSON": 'such as \'{"X-Test": "1"}\'',
    "KEY": "its name",
    "LATITUDE": "degrees, -90 to 90",
    "LOCATOR": "role, text, label, placeholder, alt, title, testid, first, last or nth",
    "LONGITUDE": "degrees, -180 to 180",
    "MOTION": "reduced-motion",
    "NAME": "its name",
    "MORE": "with nth: what to fill in",
    "PASSWORD": "the password; --stdin keeps it out of the list of processes",
    "PATTERN": "addresses, as **/api/*",
    "PIXELS": "how far",
    "REQUEST": "its id in network-requests",
    "SCALE": "pixels of the screen for one of the page",
    "SCHEME": "dark or light",
    "SCRIPT": "an expression, or statements",
    "SELECTOR": "an element: @e2 of the last snapshot, or CSS, or xpath=//a",
    "SELECTOR_OR_MS": "an element as for click, or milliseconds",
    "SWITCH": "on (default) or off",
    "TAB": "its id in tab-list, or its label",
    "TEXT": "what to write",
    "TO": "the element it is dropped on",
    "URL": "an address, as http://localhost:3000",
    "USER": "the user's name",
    "VALUE": "what it is to be",
    "WIDTH": "in pixels, or off",
    "X": "from the left, in pixels",
    "Y": "from the top, in pixels",
}
"""What a word of wire.browsing is."""
CHOICES: dict[str, tuple[str, ...]] = {
    "BUTTON": ("left", "right", "middle"),
    "DIRECTION": ("up", "down", "left", "right"),
    "LOCATOR": ("role", "text", "label", "placeholder", "alt", "title", "testid", "first", "last", "nth"),
    "SWITCH": ("on", "off"),
    "content": ("text", "all", "none"),
    "format": ("png", "jpeg"),
    "load": ("load", "domcontentloaded", "networkidle"),
    "same-site": ("Strict", "Lax", "None"),
    "state": ("visible", "hidden", "attached", "detached"),
}
"""What a word, or a flag's value, can be, where that is a closed list."""
FIXES = {
    "stale_ref": ("Refs end when the page changes. Take a new snapshot.", "snapshot -i"),
    "dialog_open": ("Answer the dialog first: dialog-accept or dialog-dismiss.", "dialog-accept"),
    "not_a_field": ("Take a snapshot and choose a textbox; `click` is for buttons, `check` for boxes.", "snapshot -i"),
    "tab_gone": ("Choose another tab, or open a new one with tab-new.", "tab-list"),
    "step_failed": ("Take a snapshot, and see what the page looks like.", "snapshot -i"),
    "browser_down": ("It is started again by the next step.", "open"),
}
"""code of an error -> (what to do about it, the verb that comes next)."""


# -- the words ------------------------------------------------------------------------------------------------------


def configure(step: Step) -> Callable[[ArgumentParser], None]:
    """What reads the words of a step's verb."""

    def add(parser: ArgumentParser) -> None:
        jobs.add_machine(parser)
        for word in step.words:
            _add_word(parser, step, word)
        for option in step.options:
            _add_option(parser, option)
        if step.gives:
            parser.add_argument("--force", action="store_true", help="replace a file that is there, whatever it is")
        if step.gives or step.takes:
            parser.add_argument(
                "--in-machine", action="store_true", help="FILE is a path in the machine; nothing is copied"
            )
        if takes_stdin(step):
            parser.add_argument("--stdin", action="store_true", help="its last word is what stdin says")
        add_common(parser)

    return add


def add_common(parser: ArgumentParser) -> None:
    """The flags of every step."""
    parser.add_argument("--session", metavar="NAME", help=f"whose tab is meant (default: {MAIN})")
    parser.add_argument("--timeout", metavar="TIME", type=seconds, help="how long it may take (default: 25s)")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def _add_word(parser: ArgumentParser, step: Step, word: str) -> None:
    name = bare(word)
    several = word.endswith("...")
    optional = word.startswith("[") or (takes_stdin(step) and word == step.words[-1])
    choices = CHOICES.get(name)
    parser.add_argument(
        f"word_{name.lower()}",
        metavar=name,
        nargs="*" if several and optional else "+" if several else "?" if optional else None,
        choices=choices,
        help=_word_help(step, name),
    )


def _word_help(step: Step, name: str) -> str:
    if name == "FILE" and step.gives:
        return "where it goes here; - is stdout" + ("" if f"[{name}]" not in step.words else _without(step))
    if name == "VALUE" and step.name == "select":
        return "its value, or what is seen of it"
    if name == "TEXT" and step.name == "find":
        return "what to fill in; with nth the action stands here"
    if name == "KEY" and step.name in ("press", "keydown", "keyup"):
        return "Enter, Tab, Escape, ArrowDown, a, Control+a ..."
    if name == "VALUE" and step.name == "find":
        return "what to look for; with nth the number, from 0"
    return HELP[name]


def _without(step: Step) -> str:
    return " (default: base64 on stdout)" if step.name == "screenshot" else f" (default: NAME-TIME{step.suffix})"


def _add_option(parser: ArgumentParser, option: Option) -> None:
    written = [f"--{option.name}"]
    if option.short:
        written.insert(0, f"-{option.short}")
    dest = f"option_{option.name.replace('-', '_')}"
    if option.value:
        choices = CHOICES.get(option.name)
        parser.add_argument(*written, dest=dest, metavar=option.value, choices=choices, help=option.help)
    else:
        parser.add_argument(*written, dest=dest, action="store_true", help=option.help)


def bare(word: str) -> str:
    """A word of the table without its brackets and dots."""
    return word.strip("[].")


def takes_stdin(step: Step) -> bool:
    """Whether the last word of a step may come from stdin."""
    return bool(step.words) and bare(step.words[-1]) in SECRETS and not step.words[-1].endswith("...")


def usage(step: Step) -> str:
    """What stands behind the verb."""
    return " ".join(["[flags] ID", *step.words])


# -- the step -------------------------------------------------------------------------------------------------------


def make(step: Step, words: list[str], args: Namespace) -> dict[str, Any]:
    """The step as the router takes it; raises UsageError for words that cannot be right."""
    words = list(words)
    if getattr(args, "stdin", False):
        words.append(_read_stdin())
    options = read_options(step, args)
    check_words(step, words, options)
    return {
        "verb": step.name,
        "words": words,
        "options": options,
        "session": session_of(args),
        "timeout_s": timeout_of(args),
    }


def check_words(step: Step, words: list[str], options: dict[str, Any]) -> None:
    """Raise UsageError for words and flags that do not fit a verb."""
    fault = words_fault(step, words)
    if fault:
        raise misused(step, fault)
    if step.name == "wait":
        _check_wait(words, options)


def read_options(step: Step, args: Namespace) -> dict[str, Any]:
    """The flags of a step that were given."""
    found = {}
    for option in step.options:
        value = getattr(args, f"option_{option.name.replace('-', '_')}", None)
        if value is not None and value is not False:
            found[option.name] = "--" if value == [] else value  # argparse loses a value that is that word
    return found


def session_of(args: Namespace) -> str:
    """The session that is meant; UsageError for a name that can be none."""
    name: str | None = args.session
    if name is None:
        return MAIN
    fault = session_fault(name)
    if fault:
        raise UsageError(f"{name[:40]!r} is no session's name: {fault}.", fix="Write it like main or agent-2.")
    return name


def timeout_of(args: Namespace) -> float:
    """Seconds that a step may take."""
    timeout: float | None = args.timeout
    if timeout is not None and timeout > LONGEST_TIMEOUT_S:
        raise UsageError(f"--timeout is at most {LONGEST_TIMEOUT_S:g} seconds.", fix="Give less, and ask again.")
    return DEFAULT_TIMEOUT_S if timeout is None else timeout


def misused(step: Step, fault: str) -> UsageError:
    """Words that do not fit a verb, as an error with its usage."""
    whole = f"cloudrouter browser {step.name}"
    return UsageError(f"`browser {step.name}`: {fault}.", fix=f"Usage: {whole} {usage(step)}", next=f"{whole} --help")


def _check_wait(words: list[str], options: dict[str, Any]) -> None:
    """One thing is waited for, and --state is about an element."""
    asked = [name for name in ("text", "url", "load", "fn") if name in options]
    whole = "cloudrouter browser wait --help"
    if len(words) + len(asked) != 1:
        told = "nothing to wait for" if not words and not asked else "several things to wait for"
        raise UsageError(
            f"`browser wait` is given {told}.",
            fix="Give one: a selector, milliseconds, --text, --url, --load or --fn.",
            next=whole,
        )
    if "state" in options and (not words or words[0].isdecimal()):
        raise UsageError("--state is about an element.", fix="Give a selector with it.", next=whole)


def _read_stdin() -> str:
    """All of stdin as one word, without the end of its last line."""
    stream = None if sys.stdin is None else sys.stdin.buffer
    data = b"" if stream is None else stream.read()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UsageError("What stdin says is no UTF-8 text.", fix="Convert it first.") from None
    return text[:-1] if text.endswith("\n") else text


# -- the request ----------------------------------------------------------------------------------------------------


def ask(transport: Transport, machine: str, body: dict[str, Any]) -> dict[str, Any]:
    """One step; its answer. Errors come with the command that helps."""
    try:
        answer = transport.call(
            "POST",
            routes.machine(machine, "browser"),
            body,
            timeout=float(body["timeout_s"]) + PATIENCE_S,
            once=is_once(str(body["verb"])),
        )
    except CloudRouterError as error:
        raise advised(error, machine, str(body["session"])) from None
    return check(answer)


def check(answer: Any) -> dict[str, Any]:
    """The answer of one step, in the shape that everything behind relies on."""
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
        from cloudrouter.wire.errors import Internal

        raise Internal("The router answered a step with something that is no answer.")
    return answer


def advised(error: CloudRouterError, machine: str, session: str) -> CloudRouterError:
    """The error with what to do about it for this machine and session."""
    if error.code in FIXES:
        fix, verb = FIXES[error.code]
        error.fix = error.fix or fix
        error.next = error.next or command(verb, machine, session)
    elif error.code == "timed_out" and not error.next:
        error.next = command("screenshot", machine, session) + " page.png"
    return error


def command(verb: str, machine: str, session: str) -> str:
    """The command line of a verb on this machine and session."""
    return f"cloudrouter browser {verb}{'' if session == MAIN else f' --session {session}'} {machine}"


def tell(answer: dict[str, Any], machine: str, session: str) -> None:
    """What has to be known at once, on stderr: a dialog that waits, a warning, a tab that had crashed."""
    if answer.get("recovered"):
        output.note("The tab had crashed; this was done in a new one.")
    dialog = answer.get("dialog")
    if isinstance(dialog, dict):
        said = f': "{output.escape(dialog["message"])}"' if dialog.get("message") else ""
        output.note(f"A dialog is open, a {output.escape(dialog.get('type'))}{said}. Answer it before anything else:")
        output.note(f"  {command('dialog-accept', machine, session)}")
        output.note(f"  {command('dialog-dismiss', machine, session)}")
    elif answer.get("warning"):
        output.note(output.escape(answer["warning"]))
