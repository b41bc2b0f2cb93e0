"""`completion`: the small script that lets a shell ask this program what could stand at the cursor."""

from __future__ import annotations

import os

from cloudrouter.cli import output
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

SHELLS = ("bash", "zsh", "fish", "tcsh")


def configure(parser: ArgumentParser) -> None:
    """The words of `completion`."""
    parser.add_argument("shell", metavar="SHELL", nargs="?", help=f"{', '.join(SHELLS)} (default: yours, by $SHELL)")
    parser.add_argument(
        "--install", action="store_true", help="write it where the shell looks for it, and say where; bash, zsh, fish"
    )
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Print the completion script, or put it where the shell finds it."""
    from cloudrouter.cli import completionscripts

    shell = args.shell or own_shell(os.environ)
    if shell not in SHELLS:
        raise UsageError(
            f"There are no completions for {shell!r}.",
            fix=f"They are made for {', '.join(SHELLS)}.",
            next="cloudrouter completion bash",
        )
    if args.install:
        return _install(args, shell)
    script = completionscripts.SCRIPTS[shell]
    if args.json:
        output.say_json({"shell": shell, "script": script})
    else:
        output.say(script.rstrip())
    return 0


def own_shell(environ: Mapping[str, str]) -> str:
    """The shell that the person logs in with, by its name; UsageError where nobody knows."""
    name = os.path.basename(environ.get("SHELL", ""))
    if not name:
        raise UsageError(
            "SHELL is not set, so it is not clear which shell is meant.",
            fix=f"Name it: {', '.join(SHELLS)}.",
            next="cloudrouter completion bash",
        )
    return name


def _install(args: Namespace, shell: str) -> int:
    from cloudrouter.cli import completionscripts

    files = completionscripts.places(shell, os.environ)
    changed = [path for path in files if completionscripts.write(path, completionscripts.SCRIPTS[shell])]
    advice = completionscripts.advice(shell, files[0], os.environ)
    if args.json:
        output.say_json({"shell": shell, "files": files, "changed": changed, "advice": advice or None})
        return 0
    for path in files:
        output.say(f"{output.escape(path)}  {'written' if path in changed else 'up to date'}")
    output.note(advice or "New shells complete our verbs, flags and machines from now on.")
    return 0


VERBS = {
    "completion": Verb(
        "[flags] [SHELL]",
        description="Print the completion script of a shell, for `cloudrouter` and `cr`: verbs, flags, machines, jobs, "
        "templates. Machines are asked of a router that runs; none is started.",
        examples=(
            ("cloudrouter completion --install", "for the shell you log in with"),
            ("cloudrouter completion zsh", "print it, to put it somewhere yourself"),
            ("cloudrouter completion fish --install --json", "for programs"),
        ),
        configure=configure,
        run=run,
    )
}
