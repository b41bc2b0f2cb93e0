"""`skills`: give coding agents the manual, keep it current, take it away; nothing is fetched from anywhere."""

from __future__ import annotations

import os
import sys
import time

from cloudrouter import __version__
from cloudrouter.cli import output
from cloudrouter.cli.asking import confirm
from cloudrouter.cli.parsing import add_json_flag
from cloudrouter.cli.verb import Verb
from cloudrouter.wire.errors import Conflict, NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from cloudrouter.cli.skills.agents import Agent, Place
    from cloudrouter.cli.skills.copies import Copy

HERE = "."
"""What `--project` alone means."""
KNOWN = "claude, codex, cursor, gemini, opencode, copilot, agents"
DIFFERENT = 1
"""The status of `skills diff` when a copy differs, as diff's own."""


def install(args: Namespace) -> int:
    """Write the manual wherever it is wanted; what stands there already is shown as a diff and kept as a backup."""
    from cloudrouter.cli.skills import telling

    copies = [_look(place) for place in _chosen(args, everyone=args.all)]
    changed = [copy for copy in copies if copy.needs_consent]
    for copy in changed:
        telling.tell_difference(copy)
    may_ask = output.is_terminal(sys.stdin) and output.is_terminal(sys.stderr) and not args.json
    if changed and not args.yes and not may_ask:
        raise UsageError(
            f"{_files(len(changed))} would be overwritten, and nobody can be asked: nothing was written.",
            fix="Look at the difference above; -y overwrites and keeps each old file as a backup.",
            next=_again(args, "install", *(["--all"] if args.all else [])),
        )
    rows = [_install_one(copy, ask=copy.needs_consent and not args.yes) for copy in copies]
    return telling.finish(args, rows)


def _install_one(copy: Copy, *, ask: bool) -> dict[str, Any]:
    from cloudrouter.cli.skills import telling

    if copy.state == "current":
        return telling.row(copy, "unchanged")
    question = output.escape(f"Replace {copy.place.path}? The old one is kept beside it.")
    if ask and not confirm(question, yes=False, verb="skills install"):
        return telling.row(copy, "skipped")
    action = "installed" if copy.state == "absent" else "updated"
    try:
        return telling.row(copy, action, copy.install(_today()))
    except Conflict as error:
        return telling.refused(copy, error)


def uninstall(args: Namespace) -> int:
    """Take away what `install` wrote; an edited copy is asked for and kept as a backup, others' files stay."""
    from cloudrouter.cli.skills import telling

    copies = [_look(place) for place in _chosen(args, everyone=True)]
    edited = [copy for copy in copies if copy.state == "edited"]
    may_ask = output.is_terminal(sys.stdin) and output.is_terminal(sys.stderr) and not args.json
    if edited and not args.yes and not may_ask:
        raise UsageError(
            f"{_files(len(edited))} edited by somebody would go, and nobody can be asked: nothing was removed.",
            fix="-y removes it and keeps what was edited as a backup.",
            next=_again(args, "uninstall"),
        )
    return telling.finish(args, [_uninstall_one(copy, yes=args.yes) for copy in copies])


def _uninstall_one(copy: Copy, *, yes: bool) -> dict[str, Any]:
    from cloudrouter.cli.skills import telling

    if copy.state == "absent":
        return telling.row(copy, "absent")
    if copy.state in ("foreign", "refused"):
        return telling.row(copy, "left")
    question = f"{copy.place.path} was edited. Remove it, and keep a backup?"
    if copy.state == "edited" and not confirm(output.escape(question), yes=yes, verb="skills uninstall"):
        return telling.row(copy, "skipped")
    try:
        return telling.row(copy, "removed", copy.remove(_today()))
    except Conflict as error:
        return telling.refused(copy, error)


def ls(args: Namespace) -> int:
    """Every agent, how it was detected, and the state of its copy."""
    from cloudrouter.cli.skills import telling
    from cloudrouter.cli.skills.agents import AGENTS, detect, place_of

    project = _project(args)
    found = detect(project, os.environ)
    copies = {key: _look(place_of(agent, project, os.environ)) for key, agent in AGENTS.items()}
    if args.json:
        rows = [
            {"agent": key, "name": AGENTS[key].name, "detected": found.get(key), **telling.facts(copy)}
            for key, copy in copies.items()
        ]
        output.say_json({"version": __version__, "skills": rows})
        return 0
    cells = [
        (key, telling.state_words(copy.state, copy.version), found.get(key, "-"), copy.place.path)
        for key, copy in copies.items()
    ]
    for line in output.table(("AGENT", "SKILL", "DETECTED", "FILE"), cells, shrink=(2, 3)):
        output.say(line)
    telling.tell_refused(copies.values())
    return 0


def show(args: Namespace) -> int:
    """The manual itself."""
    from cloudrouter.cli.skills import text

    manual = text.packaged()
    if args.json:
        output.say_json({"version": __version__, "text": manual})
    else:
        output.say(manual.rstrip("\n"))
    return 0


def diff(args: Namespace) -> int:
    """What `install` would change; status 1 when a copy differs, 0 when all are current or not there."""
    from cloudrouter.cli.skills import telling

    copies = [_look(place) for place in _chosen(args, everyone=True)]
    differing = [copy for copy in copies if copy.needs_consent]
    if args.json:
        output.say_json({"skills": [{**telling.facts(copy), "diff": copy.diff()} for copy in copies]})
    else:
        telling.tell_refused(copies)
        for copy in differing:
            telling.show_diff(copy, output.say, sys.stdout)
        if not differing:
            installed = sum(copy.state == "current" for copy in copies)
            output.note(f"No difference: {_files(installed)} installed, all of version {__version__}.")
    return DIFFERENT if differing else 0


# -- choosing -------------------------------------------------------------------------------------------------------


def _chosen(args: Namespace, *, everyone: bool) -> list[Place]:
    """The files of the agents named; without names those of everyone, or of the detected ones, which is said."""
    from cloudrouter.cli.skills.agents import AGENTS, detect, places

    project = _project(args)
    if args.agent:
        agents = [_agent(word) for word in dict.fromkeys(args.agent)]
    elif everyone:
        agents = list(AGENTS.values())
    else:
        found = detect(project, os.environ)
        if not found:
            raise NotFound(
                "No coding agent was found here.",
                fix=f"Name one: {KNOWN}. `agents` is the folder that most of them read.",
                next="cloudrouter skills install --agent agents",
            )
        for key, why in found.items():
            output.note(f"{AGENTS[key].name}: {why}")
        agents = [AGENTS[key] for key in found]
    return places(agents, project, os.environ)


def _agent(word: str) -> Agent:
    from cloudrouter.cli.parsing import suggest
    from cloudrouter.cli.skills.agents import AGENTS

    if word in AGENTS:
        return AGENTS[word]
    raise UsageError(
        f"There is no agent {word!r} in the list.",
        fix=suggest(word, list(AGENTS)) or f"They are: {KNOWN}.",
        next="cloudrouter skills ls",
    )


def _project(args: Namespace) -> str | None:
    if args.project is None:
        return None
    folder: str = os.path.abspath(args.project)
    if not os.path.isdir(folder):
        raise NotFound(f"There is no folder {args.project}.", fix="Name the project's folder.", next="ls -d .")
    return folder


def _look(place: Place) -> Copy:
    from cloudrouter.cli.skills.copies import Copy

    return Copy(place)


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _again(args: Namespace, verb: str, *more: str) -> str:
    words = ["cloudrouter skills", verb, *(f"--agent {word}" for word in args.agent), *more]
    if args.project is not None:
        words.append(f"--project {args.project}")
    return " ".join([*words, "-y"])


def _today() -> str:
    return time.strftime("%Y%m%d", time.gmtime())


# -- words ----------------------------------------------------------------------------------------------------------


def _configure_level(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--project",
        metavar="DIR",
        nargs="?",
        const=HERE,
        help="in this project instead of for you (without DIR: this folder)",
    )
    add_json_flag(parser)


def _configure_agents(parser: ArgumentParser) -> None:
    parser.add_argument("--agent", metavar="NAME", action="append", default=[], help=f"for this one: {KNOWN}")
    _configure_level(parser)


def _configure_uninstall(parser: ArgumentParser) -> None:
    _configure_agents(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="remove edited copies without a question")


def _configure_install(parser: ArgumentParser) -> None:
    _configure_agents(parser)
    parser.add_argument("--all", action="store_true", help="for all of them, also those that are not here")
    parser.add_argument("-y", "--yes", action="store_true", help="overwrite without a question")


_INSTALL_TEXT = (
    "Write the manual where agents look for it: those named, else those found here. A copy that differs is shown as a "
    "diff, asked for, and kept as SKILL.md.bak-VERSION. Nothing is fetched: the text ships with this version."
)

VERBS = {
    "skills": Verb(
        "VERB [flags]",
        description="Give coding agents the manual of CloudRouter (SKILL.md): Claude Code, Codex, Cursor, Gemini CLI, "
        "OpenCode, GitHub Copilot, and whatever reads .agents/skills.",
        examples=(
            ("cloudrouter skills install", "for the agents that are found here"),
            ("cloudrouter skills ls", "which agents have it, and of which version"),
        ),
        inner={
            "install": Verb(
                "[flags]",
                description=_INSTALL_TEXT,
                examples=(
                    ("cloudrouter skills install", "for you, for the agents that are found"),
                    ("cloudrouter skills install --agent claude --agent codex -y", "for two of them, unasked"),
                    ("cloudrouter skills install --project . --all --json", "in this project, for programs"),
                ),
                configure=_configure_install,
                run=install,
            ),
            "update": Verb(
                "[flags]",
                description="The same as install.",
                examples=(
                    ("cloudrouter skills update", "shows the diff and asks"),
                    ("cloudrouter skills update -y", "keeps the old ones as backups, unasked"),
                ),
                configure=_configure_install,
                run=install,
            ),
            "ls": Verb(
                "[flags]",
                description="List the agents: by what each was found, and the state of its copy.",
                examples=(
                    ("cloudrouter skills ls", "for you"),
                    ("cloudrouter skills ls --project . --json", "in this project, for programs"),
                ),
                configure=_configure_level,
                run=ls,
            ),
            "show": Verb(
                "[flags]",
                description="Print the manual.",
                examples=(
                    ("cloudrouter skills show", "as it would be installed"),
                    ("cloudrouter skills show --json", "for programs"),
                ),
                configure=add_json_flag,
                run=show,
            ),
            "diff": Verb(
                "[flags]",
                description="Show what install would change in the copies that are there. Status 1 when one differs.",
                examples=(
                    ("cloudrouter skills diff", "all of yours"),
                    ("cloudrouter skills diff --agent cursor --project .", "one, in this project"),
                ),
                configure=_configure_agents,
                run=diff,
            ),
            "uninstall": Verb(
                "[flags]",
                description="Remove the copies that install wrote. An edited one is asked for and kept as a backup; "
                "files that are not from CloudRouter stay.",
                examples=(
                    ("cloudrouter skills uninstall", "all of yours"),
                    ("cloudrouter skills uninstall --agent gemini -y", "one, unasked"),
                ),
                configure=_configure_uninstall,
                run=uninstall,
            ),
        },
    )
}
