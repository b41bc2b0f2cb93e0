"""`browser`: one verb for each step of a machine's browser, all read from one table, and a few around them."""

from __future__ import annotations

from cloudrouter.cli import browsersteps, output
from cloudrouter.cli.browserexamples import EXAMPLES
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.jobs import add_machine
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.values import seconds
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.browsing import CLOSE, DEBUG, GROUPS, NAVIGATE, NETWORK, STEPS, TABS, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

AROUND = "Many steps, programs, people"
SESSIONS = "sessions"
OWN = (
    Step(CLOSE, NAVIGATE, "end the browser, or with --session that session's tabs", "", ""),
    Step(SESSIONS, TABS, "the sessions that are open, and where they are", "", "", shows="sessions", reads=True),
)
"""Verbs of the machine itself that are asked for like steps."""
FOLLOWED = {"console": DEBUG, "errors": DEBUG, "network": NETWORK}
"""Verbs that can go on with what comes -> their group."""
DESCRIPTION = (
    "Drive the Chromium on a machine's desktop, the one that a person sees with `vnc` or `browser watch`. The first "
    "step starts it and holds. `snapshot -i` gives each element a @ref for the other verbs; refs end when the page "
    "changes. Flags may stand anywhere; `--session NAME` is a tab of one's own beside other agents."
)
MORE = {
    "close": " Refs, routes, recordings and settings of the session end with it.",
    "cookies-set": " Without --url, --domain and --path it is for the page that is open.",
    "download": " Nothing that is there is replaced without --force.",
    "errors": " -f goes on with what comes, in every tab unless --session names one.",
    "console": " -f goes on with what comes, in every tab unless --session names one.",
    "eval": " A text is printed as it is, everything else as JSON.",
    "fill": " What is no field is refused, and nothing is typed. --stdin keeps a secret out of the list of processes.",
    "har-stop": " The file may hold cookies and passwords: it is readable for you alone.",
    "network": " -f goes on with what comes, in every tab unless --session names one.",
    "pdf": " An older PDF at that place is replaced; anything else only with --force.",
    "screenshot": " An older picture at that place is replaced; anything else only with --force.",
    "set-viewport": " The person's window stays as it is.",
    "set-device": " The person's window stays as it is.",
    "snapshot": " A @ref is good until the page changes or another tab is chosen; then take a new snapshot.",
    "state-save": " The file holds cookies and tokens: it is readable for you alone.",
    "upload": " They are sent to the machine first; with --in-machine they are there already.",
    "wait": " --timeout says how long; when it is over, the status is 124.",
}
"""What the page of a verb says besides its line in the table."""
WITHHELD = {
    "install": ("the browser is part of the machine's image", "Start a machine with `--image desktop`."),
    "upgrade": ("its version is part of the machine's image", "`cloudrouter image build` makes a new image."),
    "plugin": ("plugins would run programs that nobody has seen", "Run programs in the machine with `ssh`."),
    "connect": ("every step is at the machine's own browser", "`open` is the first step; `cdp` lets programs in."),
    "dashboard": ("people see the browser itself", "`browser watch ID` prints the address."),
    "stream": ("people see the browser itself", "`browser watch ID` prints the address."),
    "chat": ("you are the one who thinks", "`snapshot -i` shows the page."),
    "auth": ("passwords are not kept in a machine", "`state-save` and `state-load` keep who is signed in."),
    "profiles": ("a machine's browser has one profile", "A second machine has another one."),
    "record": ("films are of the whole desktop", "`cloudrouter record ID start`."),
    "mcp": ("there is no MCP server yet", "Agents call these verbs; each takes --json."),
    "skills": ("the manual is CloudRouter's own", "`cloudrouter skills show`."),
    "doctor": ("it is about this host", "`cloudrouter doctor`, and `cloudrouter apps ID logs browser`."),
    "react": ("it needs a build of the page that has React's tools", "`eval` asks the page."),
    "webmcp": ("pages cannot offer tools to agents here", "`find` and `click` do what a person would."),
    "goto": ("it is called open", "`browser open ID URL`."),
    "navigate": ("it is called open", "`browser open ID URL`."),
    "key": ("it is called press", "`browser press ID Enter`."),
    "tap": ("there is no touch", "`click` does the same."),
    "swipe": ("there is no touch", "`scroll` does the same."),
    "vnc": ("it is a verb of its own", "`cloudrouter vnc ID`, or `browser watch ID`."),
}
"""Words of agent-browser and of other tools that are refused -> (why, what does it)."""


def _runner(step: Step) -> Callable[[Namespace], int]:
    """What does a step of this verb."""

    def run(args: Namespace) -> int:
        if getattr(args, "follow", False):
            from cloudrouter.cli import browserfollow

            return browserfollow.run(args, step)
        body = browsersteps.make(step, args.words, args)
        if step.gives or step.takes:
            from cloudrouter.cli import browserfiles

            return browserfiles.run(step, body, args)
        answer = browsersteps.ask(connect_own_version(), args.machine, body)
        if args.json:
            output.say_json(answer["data"] if step.name == SESSIONS else answer)
        else:
            from cloudrouter.cli import browsershow

            browsershow.show(step, answer)
        browsersteps.tell(answer, args.machine, body["session"])
        return 0

    return run


def _with_follow(configure: Callable[[ArgumentParser], None]) -> Callable[[ArgumentParser], None]:
    def add(parser: ArgumentParser) -> None:
        parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
        configure(parser)

    return add


def _step_verb(name: str, step: Step, group: str) -> Verb:
    configure = browsersteps.configure(step)
    return Verb(
        browsersteps.usage(step),
        description=f"{step.help[:1].upper()}{step.help[1:]}.{MORE.get(name, '')}",
        examples=EXAMPLES[name],
        configure=_with_follow(configure) if name in FOLLOWED else configure,
        run=_runner(step),
        texts=True,
        group=group,
        summary=step.help,
    )


# -- around the steps -----------------------------------------------------------------------------------------------


def _configure_batch(parser: ArgumentParser) -> None:
    add_machine(parser)
    parser.add_argument("file", metavar="FILE", nargs="?", help="a JSON array of steps (default: stdin)")
    parser.add_argument("--keep-going", action="store_true", help="do the steps behind a failed one too")
    parser.add_argument(
        "--screenshot",
        metavar="FILE",
        default="batch-failure.png",
        help="where the picture of a failed step goes (default: batch-failure.png)",
    )
    parser.add_argument("--force", action="store_true", help="let steps replace files that are there")
    browsersteps.add_common(parser)


def _batch(args: Namespace) -> int:
    from cloudrouter.cli import browserbatch

    return browserbatch.run(args)


def _configure_cdp(parser: ArgumentParser) -> None:
    add_machine(parser)
    parser.add_argument("--ttl", metavar="TIME", type=seconds, default=600.0, help="how long it is good (default: 10m)")
    add_json_flag(parser)


def _cdp(args: Namespace) -> int:
    from cloudrouter.cli import browserdoors

    return browserdoors.cdp(args)


def _configure_watch(parser: ArgumentParser) -> None:
    add_machine(parser)
    parser.add_argument("-o", "--open", action="store_true", help="open it in your browser as well")
    add_json_flag(parser)


def _watch(args: Namespace) -> int:
    from cloudrouter.cli import browserdoors

    return browserdoors.watch(args)


def _around() -> dict[str, Verb]:
    """Verbs that are no step."""
    batch = "many steps in one call, until one fails"
    cdp = "an address for Playwright, Puppeteer and the like"
    watch = "an address for a person who looks and cannot type"
    return {
        "batch": Verb(
            "[flags] ID [FILE]",
            description="Do many steps in one call: a JSON array of words such as "
            '["click", "@e2"], of command lines such as "click @e2", or of objects {"verb", "words", "options", '
            '"session", "timeout_s"}. The first that fails ends it: its picture is saved, and the page\'s snapshot is '
            "printed.",
            examples=EXAMPLES["batch"],
            configure=_configure_batch,
            run=_batch,
            group=AROUND,
            summary=batch,
        ),
        "cdp": Verb(
            "[flags] ID",
            description="Print an address at which programs of yours drive this browser by the DevTools protocol, as "
            "connect_over_cdp of Playwright does. Whoever has it controls the browser: do not write it down.",
            examples=EXAMPLES["cdp"],
            configure=_configure_cdp,
            run=_cdp,
            group=AROUND,
            summary=cdp,
        ),
        "watch": Verb(
            "[flags] ID",
            description="Print the address at which a person sees the desktop with the browser on it, and cannot type; "
            "the same as `vnc --view-only`.",
            examples=EXAMPLES["watch"],
            configure=_configure_watch,
            run=_watch,
            group=AROUND,
            summary=watch,
        ),
    }


def _inner() -> dict[str, Verb]:
    """Every verb, in the order of its group."""
    found: dict[str, Verb] = {}
    requests = STEPS["network-requests"]
    for group in GROUPS:
        found.update((name, _step_verb(name, one, group)) for name, one in STEPS.items() if one.group == group)
        found.update((one.name, _step_verb(one.name, one, group)) for one in OWN if one.group == group)
        if group == NETWORK:
            found["network"] = _step_verb("network", requests, group)
    return {**found, **_around()}


VERBS = {
    "browser": Verb(
        "VERB [flags] ID ...",
        description=DESCRIPTION,
        examples=(
            ("cloudrouter browser open my-project http://localhost:3000", "go to a page"),
            ("cloudrouter browser snapshot -i my-project", 'what is there, with refs: button "Sign in" [ref=e2]'),
            ("cloudrouter browser click my-project @e2", "act on it"),
            ("cloudrouter browser screenshot my-project page.png", "see what it did"),
            ("cloudrouter browser batch my-project steps.json", "many steps in one call"),
        ),
        inner=_inner(),
        not_here=WITHHELD,
        before_inner=("--session", "--timeout"),
    )
}
