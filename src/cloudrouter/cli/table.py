"""Every verb with the module it lives in, its one-line help and its group; nothing is imported from here."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloudrouter.cli.verb import Verb

MACHINES = "Machines"
INSIDE = "Inside a machine"
HOST = "This host"
SELF = "CloudRouter itself"

VERBS: dict[str, tuple[str, str, str]] = {
    "start": ("start", "turn a local folder into a machine", MACHINES),
    "run": ("run", "start a machine, run one command, delete it", MACHINES),
    "ls": ("ls", "list your machines", MACHINES),
    "status": ("status", "show one machine", MACHINES),
    "extend": ("extend", "move a machine's deadline", MACHINES),
    "stop": ("stop", "end a machine's processes, keep its disk", MACHINES),
    "resume": ("resume", "boot a stopped machine again", MACHINES),
    "delete": ("delete", "remove machines and everything in them", MACHINES),
    "ssh": ("ssh", "run a command in a machine, or open a shell", INSIDE),
    "exec": ("ssh", "the same as ssh", INSIDE),
    "ps": ("ps", "list a machine's background commands", INSIDE),
    "logs": ("logs", "show what a background command wrote", INSIDE),
    "upload": ("upload", "send a file or folder to a machine", INSIDE),
    "download": ("download", "fetch a file or folder from a machine", INSIDE),
    "doctor": ("doctor", "check that this host can make machines", HOST),
    "image": ("image", "build, list and remove images", HOST),
    "server": ("server", "run, start, stop and look at the router", HOST),
    "config": ("config", "show and change the defaults", HOST),
    "version": ("version", "print the version", SELF),
    "completion": ("completion", "print shell completions", SELF),
}
"""name -> (module below cli.verbs, one-line help, group); the order is the one of the overview."""

ALIASES = {"create": "start", "new": "start", "list": "ls", "rm": "delete"}
"""Other names of a verb; help and errors always speak of the verb itself."""

NOT_HERE = {"kill": "delete"}
"""Words that people try, which are refused with the verb that does it."""

PRODUCT = "cloudrouter"


def load_verb(name: str) -> Verb:
    """The verb of that name, imported now."""
    module = __import__(f"cloudrouter.cli.verbs.{VERBS[name][0]}", fromlist=["VERBS"])
    verb: Verb = module.VERBS[name]
    return verb


def aliases_of(name: str) -> list[str]:
    """The other names of a verb, in alphabetical order."""
    return sorted(alias for alias, verb in ALIASES.items() if verb == name)
