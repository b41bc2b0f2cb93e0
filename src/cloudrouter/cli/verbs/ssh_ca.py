"""`ssh-ca`: the authority that signs what machines and people show each other over SSH."""

from __future__ import annotations

import os

from cloudrouter.cli import jobs, output
from cloudrouter.cli.connection import connect_own_version
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire import places, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any


def show(args: Namespace) -> int:
    """Print the authority's public key and where its private one lies."""
    _tell(args, connect_own_version().call("GET", routes.SSH_AUTHORITY))
    return 0


def rotate(args: Namespace) -> int:
    """Replace the authority, and have this host's known hosts follow at once."""
    from cloudrouter.client.sshfiles import SshFiles

    facts = connect_own_version().call("POST", f"{routes.SSH_AUTHORITY}/rotate")
    files = SshFiles(places.state_dir(os.environ))
    if os.path.isdir(files.folder):
        files.know(str(facts["public_key"]))
    _tell(args, facts)
    return 0


def forget(args: Namespace) -> int:
    """Forget a machine's host key, so that the one it shows next is taken for its own."""
    done = connect_own_version().call("DELETE", routes.machine(args.machine, "ssh", "host-key"))
    if args.json:
        output.say_json(done)
    elif done["forgotten"]:
        output.say(f"The host key of {output.escape(args.machine)} is forgotten; the one it shows next is its own.")
    else:
        output.say(f"No host key of {output.escape(args.machine)} is known.")
    return 0


def _tell(args: Namespace, facts: dict[str, Any]) -> None:
    if args.json:
        output.say_json(facts)
        return
    from cloudrouter.cli.times import age

    output.say(output.escape(facts["public_key"]))
    rows = [
        ("fingerprint", output.escape(facts["fingerprint"])),
        ("made", f"{age(facts['created_at'])} ago"),
        ("private key", output.escape(facts["path"])),
    ]
    for line in output.pairs(rows):
        output.note(line)


def _configure_forget(parser: ArgumentParser) -> None:
    jobs.add_machine(parser)
    add_json_flag(parser)


VERBS = {
    "ssh-ca": Verb(
        "[VERB] [flags]",
        description="The router's SSH authority: an Ed25519 key that signs the host keys of machines, and for minutes "
        "the keys of whoever connects. It is made when first needed; its private half stays in the router's folder.",
        examples=(
            ("cloudrouter ssh-ca", "its public key, and how old it is"),
            ("cloudrouter ssh-ca rotate", "another one; what the old one signed is refused from now on"),
        ),
        alone="show",
        inner={
            "show": Verb(
                "[flags]",
                description="Print its public key; fingerprint, age and place stand on stderr.",
                examples=(
                    ("cloudrouter ssh-ca show", "one line, as known_hosts and TrustedUserCAKeys take it"),
                    ("cloudrouter ssh-ca show --json", "{public_key, fingerprint, created_at, path}"),
                ),
                configure=add_json_flag,
                run=show,
            ),
            "rotate": Verb(
                "[flags]",
                description="Replace it. Certificates of the old one are refused from now on, by running machines as "
                "well; connections that are open go on, and this host's known hosts follow.",
                examples=(
                    ("cloudrouter ssh-ca rotate", "when somebody may have read the key"),
                    ("cloudrouter ssh-ca rotate --json", "for programs"),
                ),
                configure=add_json_flag,
                run=rotate,
            ),
            "forget": Verb(
                "[flags] ID",
                description="Forget the SSH host key that a machine has shown, after you have changed it there "
                "yourself; the one that it shows next is taken for its own.",
                examples=(
                    ("cloudrouter ssh-ca forget my-project", "when the router says that the key has changed"),
                    ("cloudrouter ssh-ca forget cr_7k2m9xqd --json", "for programs"),
                ),
                configure=_configure_forget,
                run=forget,
            ),
        },
    )
}
