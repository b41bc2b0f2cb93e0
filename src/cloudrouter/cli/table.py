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
    "status": ("status", "show machines one by one", MACHINES),
    "inspect": ("inspect", "everything that is known of machines, as JSON", MACHINES),
    "stats": ("stats", "what machines use: cpu, memory, disk, network", MACHINES),
    "events": ("events", "what happened to machines, and what happens", MACHINES),
    "rename": ("rename", "give a machine another name", MACHINES),
    "extend": ("extend", "move machines' deadlines", MACHINES),
    "stop": ("stop", "end machines' processes, keep their disks", MACHINES),
    "resume": ("resume", "boot stopped machines again", MACHINES),
    "delete": ("delete", "remove machines and everything in them", MACHINES),
    "templates": ("templates", "show machines by name: image, size, commands ...", MACHINES),
    "open": ("open", "the address at which a browser sees an app or a port", INSIDE),
    "vnc": ("open", "the address of a machine's desktop", INSIDE),
    "code": ("open", "the address of a machine's editor", INSIDE),
    "jupyter": ("open", "the address of a machine's notebooks", INSIDE),
    "apps": ("apps", "list, start and stop what serves people in a machine", INSIDE),
    "ports": ("ports", "list what listens inside, with addresses", INSIDE),
    "forward": ("forward", "let ports of this host lead into a machine", INSIDE),
    "browser": ("browser", "drive a machine's browser: open, look, click, fill", INSIDE),
    "screenshot": ("screenshot", "a picture of a machine's desktop", INSIDE),
    "record": ("record", "a film of a machine's desktop", INSIDE),
    "ssh": ("ssh", "run a command in a machine, or open a shell", INSIDE),
    "exec": ("ssh", "the same as ssh", INSIDE),
    "ssh-config": ("ssh_config", "let ssh, scp, rsync, git and editors reach machines", INSIDE),
    "ps": ("ps", "list a machine's background commands", INSIDE),
    "logs": ("logs", "show what a background command wrote", INSIDE),
    "wait": ("wait", "until background commands end, or a server is up", INSIDE),
    "kill": ("kill", "end a background command, or send it a signal", INSIDE),
    "attach": ("attach", "be at a background command as in the foreground", INSIDE),
    "pty": ("pty", "a terminal that goes on when you leave it", INSIDE),
    "pty-list": ("pty", "list the terminals in a machine", INSIDE),
    "upload": ("upload", "send a file or folder to a machine", INSIDE),
    "download": ("download", "fetch a file or folder from a machine", INSIDE),
    "cp": ("cp", "copy between here and machines, or between machines", INSIDE),
    "doctor": ("doctor", "check that this host can make machines", HOST),
    "image": ("image", "build, list and remove images", HOST),
    "volume": ("volume", "disks that outlive machines: make, list, remove", HOST),
    "cache": ("cache", "the package cache: what it holds, what it saved", HOST),
    "ssh-proxy": ("ssh_proxy", "the connection that plain ssh needs to a machine", HOST),
    "ssh-ca": ("ssh_ca", "the authority for SSH: show it, replace it", HOST),
    "uninstall": ("uninstall", "take away what CloudRouter has made on this host", HOST),
    "server": ("server", "run, start, stop and look at the router", HOST),
    "config": ("config", "show and change the defaults", HOST),
    "skills": ("skills", "give coding agents the manual", SELF),
    "version": ("version", "print the version", SELF),
    "completion": ("completion", "print or install shell completions", SELF),
    "whoami": ("whoami", "show who you are to the router, and which one it is", SELF),
    "login": ("login", "say that the router on this host needs none", SELF),
    "logout": ("logout", "say that there is nothing to leave", SELF),
    "auth": ("auth", "login, logout and whoami under another name", SELF),
}
"""name -> (module below cli.verbs, one-line help, group); the order is the one of the overview."""

ALIASES = {
    "create": "start",
    "new": "start",
    "list": "ls",
    "rm": "delete",
    "ttl": "extend",
    "template": "templates",
    "volumes": "volume",
}
"""Other names of a verb; help and errors always speak of the verb itself."""

NOT_HERE = {
    "destroy": "delete",
    "remove": "delete",
    "terminate": "delete",
    "shell": "ssh",
    "connect": "ssh",
    "push": "upload",
    "pull": "download",
    "scp": "cp",
    "up": "start",
    "down": "delete",
    "info": "status",
}
"""Words that people try, which are refused with the verb that does it."""

NOT_YET = {
    "pause": (
        "A machine cannot be paused with its memory yet",
        "`stop` ends its processes and keeps its disk, `resume` boots it again.",
        "stop ID",
    ),
    "fork": ("A machine cannot be forked yet", "Start a second one, and carry files over with cp.", "cp ID1: ID2:"),
    "snapshot": ("Snapshots are not there yet", "Keep what matters here.", "download ID"),
    "restore": ("Snapshots are not there yet", "Send what you have kept.", "upload ID"),
    "computer": (
        "Mouse and keys of a desktop cannot be driven by a verb yet",
        "People do it in their browser, and `screenshot` shows what is there.",
        "vnc ID",
    ),
    "sync": ("A folder cannot be kept in step yet", "`upload` sends it again.", "upload ID"),
    "mcp": ("There is no MCP server yet", "Agents call this command line; every verb takes --json.", "--help"),
}
"""Words of other versions: (what is missing, what does something like it today, the command that comes next)."""

PRODUCT = "cloudrouter"


def load_verb(name: str) -> Verb:
    """The verb of that name, imported now."""
    module = __import__(f"cloudrouter.cli.verbs.{VERBS[name][0]}", fromlist=["VERBS"])
    verb: Verb = module.VERBS[name]
    return verb


def aliases_of(name: str) -> list[str]:
    """The other names of a verb, in alphabetical order."""
    return sorted(alias for alias, verb in ALIASES.items() if verb == name)
