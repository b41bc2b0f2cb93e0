"""`ssh-config`: have OpenSSH, and everything that uses it, know the machines."""

from __future__ import annotations

import os

from cloudrouter.cli import output
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import places
from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def configure(parser: ArgumentParser) -> None:
    """The words of `ssh-config`."""
    parser.add_argument("--install", action="store_true", help="include it in ~/.ssh/config, in front of all else")
    parser.add_argument("--uninstall", action="store_true", help="take it out of ~/.ssh/config again")
    parser.add_argument("--file", metavar="FILE", help="with these two: another file than ~/.ssh/config")
    add_json_flag(parser)


def run(args: Namespace) -> int:
    """Make the files that OpenSSH reads; print the configuration, or include it."""
    _check(args)
    from cloudrouter.client import sshinclude
    from cloudrouter.client.sshfiles import SshFiles

    files = SshFiles(places.state_dir(os.environ))
    file = os.path.abspath(args.file) if args.file else sshinclude.default_file()
    told: dict[str, Any] = {"file": file, "config_file": files.config, "config": None, "changed": False}
    if args.uninstall:
        told["changed"] = sshinclude.uninstall(file)
    else:
        told["config"] = files.prepare(connect_own_version(), os.environ)
        if args.install:
            told["changed"] = sshinclude.install(file, files.config)
    told["included"] = sshinclude.is_included(file, files.config)
    if args.json:
        output.say_json(told)
    else:
        _tell(args, told)
    return 0


def _check(args: Namespace) -> None:
    """Refuse flags that contradict each other before anything is done."""
    if args.install and args.uninstall:
        raise UsageError("--install and --uninstall exclude each other.", next="cloudrouter ssh-config --help")
    if args.file and not (args.install or args.uninstall):
        raise UsageError(
            "--file says where --install and --uninstall do their work, and neither is there.",
            fix="Add one of them, or send what is printed to the file.",
            next=f"cloudrouter ssh-config --install --file {args.file}",
        )


def _tell(args: Namespace, told: dict[str, Any]) -> None:
    file = output.escape(told["file"])
    if args.install:
        output.say(f"{file}  {'includes the machines now' if told['changed'] else 'includes the machines already'}")
        output.note("Try it:  ssh my-project.cr, or by id: ssh cr_7k2m9xqd; scp, sftp, rsync, git and editors, too.")
    elif args.uninstall:
        output.say(f"{file}  {'is without our lines again' if told['changed'] else 'has no lines of ours'}")
    else:
        output.say(told["config"].rstrip())
        if not told["included"]:
            output.note(f"{file} does not include this yet:  cloudrouter ssh-config --install")


VERBS = {
    "ssh-config": Verb(
        "[flags]",
        description="Let ssh, scp, sftp, rsync, git, Ansible and editors reach machines as hosts: by id (cr_7k2m9xqd) "
        "and by name with .cr behind it (my-project.cr). Both sides show certificates, so nothing asks, and a host "
        "that is not the machine is refused. Without flags the configuration is printed; --install adds one Include "
        "to ~/.ssh/config and leaves every other byte of it alone. See docs/ssh.md.",
        examples=(
            ("cloudrouter ssh-config --install", "once; then: ssh my-project.cr"),
            ("cloudrouter ssh-config", "print it, to read it or to use it with ssh -F"),
            ("cloudrouter ssh-config --uninstall", "take it out again"),
            ("cloudrouter ssh-config --install --file ~/.ssh/agents --json", "elsewhere, for programs"),
        ),
        configure=configure,
        run=run,
    )
}
