"""`start`: a local folder becomes a machine."""

from __future__ import annotations

import sys
import time

from cloudrouter.cli import launching, output
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.progress import StartProgress, files_text
from cloudrouter.cli.verb import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `start`."""
    from cloudrouter.cli.values import seconds

    parser.add_argument("folder", metavar="DIR", nargs="?", help="the folder to send (default: an empty workspace)")
    launching.add_machine_flags(parser)
    parser.add_argument(
        "--timeout", metavar="TIME", type=seconds, help="hard deadline: it is stopped this long from now: 30m, 8h"
    )
    launching.add_folder_flags(parser)
    parser.add_argument(
        "--detach", action="store_true", help="print the id at once; boot and upload go on in the background"
    )
    parser.add_argument(
        "--keep-on-failure",
        action="store_true",
        help="keep the machine when its files or commands fail, to look into it",
    )
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Make the machine; its id is printed once its files are there and it answers."""
    began = time.monotonic()
    request = launching.build_request(args, args.folder, timeout=args.timeout)
    launching.end_on_signals()
    if args.detach:
        return _run_detached(args, request)
    progress = StartProgress()
    machine: dict[str, Any] = {}
    try:
        machine = launching.launch_machine(args, args.folder, request, progress, keep_on_failure=args.keep_on_failure)
        _tell(args, machine, time.monotonic() - began)
    except KeyboardInterrupt:
        # Ctrl-C in the moment between success and print: the machine is there, so its id must be known.
        if machine:
            output.say(machine["id"])
        raise
    return 0


def _tell(args: Namespace, machine: dict[str, Any], took: float) -> None:
    if args.json:
        output.say_json(machine)
        return
    parts = [output.escape(machine["name"]), f"ready in {took:.1f} s"]
    if machine["upload"] is not None:
        parts.append(files_text(machine["upload"]["files"], machine["upload"]["bytes"]))
    for word, things in (("command", machine.get("commands")), ("job", machine.get("jobs"))):
        if things:
            parts.append(f"{len(things)} {word}{'' if len(things) == 1 else 's'}")
    if output.is_terminal(sys.stdout):
        bold = output.paint(machine["id"], "bold", sys.stdout)
        output.say("  ".join(part for part in (bold, *parts) if part))
        _tell_next(machine)
        return
    output.say(machine["id"])
    if output.is_terminal(sys.stderr):
        # `ID=$(cloudrouter start .)`: the person sees which machine it is.
        parts.insert(0, output.escape(machine["id"]))
    output.note("  ".join(part for part in parts if part))


def _tell_next(machine: dict[str, Any]) -> None:
    ref = machine["name"] or machine["id"]
    lines = [(f"cloudrouter ssh {ref}", "a shell in it"), (f"cloudrouter delete {ref}", "throw it away")]
    if "desktop" in (machine.get("apps") or ()):
        lines.insert(1, (f"cloudrouter vnc {ref}", "watch its desktop"))
    width = max(len(command) for command, _ in lines)
    output.note()
    for command, meaning in lines:
        output.note(f"  {command:<{width}}  {output.paint(meaning, 'dim', sys.stderr)}")


def _run_detached(args: Namespace, request: dict[str, Any]) -> int:
    from cloudrouter.cli import background

    def launch(progress: StartProgress) -> dict[str, Any]:
        return launching.launch_machine(args, args.folder, request, progress, keep_on_failure=args.keep_on_failure)

    machine = background.begin(launch)
    if machine["left_behind"]:
        output.note(output.escape(machine["left_behind"]))
    if args.json:
        output.say_json(machine)
    else:
        output.say(machine["id"])
    output.note(f"It boots in the background. See how far it is:  cloudrouter status {machine['id']}")
    return 0


VERBS = {
    "start": Verb(
        "[flags] [DIR]",
        description="Turn a local folder into a machine of its own. .git goes along, what .gitignore and "
        ".cloudrouterignore name stays behind, and so do live secrets unless --with-secrets. When the id is printed, "
        "the files are in the workspace and the machine answers; when something fails, nothing stays.",
        examples=(
            ("cloudrouter start ./my-project", "a machine with the folder's files in it"),
            ("cloudrouter start --name lab --size small --timeout 2h", "an empty one, for two hours at most"),
            (
                "cloudrouter start . --env OPENAI_API_KEY --env-file .env.test",
                "with variables; no secret is written here",
            ),
            ("cloudrouter start -T web . --json", "as the template web says, for programs"),
        ),
        configure=configure,
        run=run,
        not_here=launching.NOT_HERE,
    )
}
