"""`completion`: what a shell needs to complete our verbs and flags."""

from __future__ import annotations

from cloudrouter.cli import output
from cloudrouter.cli.parsing import add_json_flag, whole_parser
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SHELLS = ("bash", "zsh", "tcsh")


def configure(parser: ArgumentParser) -> None:
    """The words of `completion`."""
    parser.add_argument("shell", metavar="SHELL", help=", ".join(SHELLS))
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Print the completion script."""
    if args.shell not in SHELLS:
        raise UsageError(
            f"There are no completions for {args.shell!r}.",
            fix=f"They are made for {', '.join(SHELLS)}.",
            next="cloudrouter completion bash",
        )
    import shtab

    script = "\n".join(shtab.complete(whole_parser(prog), args.shell, prog) for prog in ("cloudrouter", "cr"))
    if args.json:
        output.say_json({"shell": args.shell, "script": script})
    else:
        output.say(script)
    return 0


VERBS = {
    "completion": Verb(
        "[flags] SHELL",
        description="Print the completion script for bash, zsh or tcsh, for `cloudrouter` and `cr`.",
        examples=(
            ("cloudrouter completion bash", "put it into ~/.local/share/bash-completion/completions/cloudrouter"),
            ("cloudrouter completion zsh", "put it into a folder of your fpath as _cloudrouter"),
        ),
        configure=configure,
        run=run,
    )
}
