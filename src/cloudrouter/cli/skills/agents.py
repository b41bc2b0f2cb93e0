"""Which agents there are, where each looks for skills, and by what one sees that somebody uses it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

SKILL = "cloudrouter"
"""The folder that holds the skill; agents want it to be the name in its front matter."""
FILE = "SKILL.md"


class Agent(NamedTuple):
    """One agent. Paths are relative: `user_*` to its home, `project_*` to the project's folder."""

    key: str
    name: str
    user_folder: str
    project_folder: str
    user_signs: tuple[str, ...]
    project_signs: tuple[str, ...]
    programs: tuple[str, ...]
    home_variable: str = ""
    """A variable that moves the first folder of `user_folder` somewhere else."""


AGENTS = {
    agent.key: agent
    for agent in (
        Agent(
            "claude", "Claude Code", ".claude/skills", ".claude/skills",
            (".claude",), (".claude", "CLAUDE.md"), ("claude",), "CLAUDE_CONFIG_DIR",
        ),
        Agent("codex", "Codex", ".agents/skills", ".agents/skills", (".codex",), (".codex",), ("codex",)),
        Agent(
            "cursor", "Cursor", ".cursor/skills", ".cursor/skills",
            (".cursor",), (".cursor", ".cursorrules"), ("cursor", "cursor-agent"),
        ),
        Agent(
            "gemini", "Gemini CLI", ".gemini/skills", ".gemini/skills",
            (".gemini",), (".gemini", "GEMINI.md"), ("gemini",),
        ),
        Agent(
            "opencode", "OpenCode", ".config/opencode/skills", ".opencode/skills",
            (".config/opencode",), (".opencode", "opencode.json"), ("opencode",), "XDG_CONFIG_HOME",
        ),
        Agent(
            "copilot", "GitHub Copilot", ".copilot/skills", ".github/skills",
            (".copilot",), (".github/copilot-instructions.md", ".github/skills"), ("copilot",),
        ),
        Agent("agents", "others (.agents/skills)", ".agents/skills", ".agents/skills", (".agents",), (".agents",), ()),
    )
}  # fmt: skip
"""key -> agent; docs/skills.md says where each path is documented."""


class Place(NamedTuple):
    """One file to write, and the agents that read it. Nothing outside `root` is touched."""

    agents: tuple[Agent, ...]
    root: str
    folder: str
    """Relative to root: the skill's own folder."""

    @property
    def path(self) -> str:
        """The file itself."""
        return os.path.join(self.root, self.folder, FILE)


def place_of(agent: Agent, project: str | None, environ: Mapping[str, str]) -> Place:
    """Where an agent reads the skill: in a project's folder, or for the person (project None)."""
    if project is not None:
        return Place((agent,), project, f"{agent.project_folder}/{SKILL}")
    root, folder = _user_folder(agent, environ)
    return Place((agent,), root, f"{folder}/{SKILL}")


def _user_folder(agent: Agent, environ: Mapping[str, str]) -> tuple[str, str]:
    """(root, folder below it), with the agent's variable obeyed where it is an absolute path."""
    moved = environ.get(agent.home_variable, "") if agent.home_variable else ""
    if os.path.isabs(moved):
        return moved, agent.user_folder.partition("/")[2]
    return environ.get("HOME") or os.path.expanduser("~"), agent.user_folder


def places(agents: list[Agent], project: str | None, environ: Mapping[str, str]) -> list[Place]:
    """One place per file, each with every agent that reads it, also those that were not named."""
    wanted = {place_of(agent, project, environ).path for agent in agents}
    found: dict[str, Place] = {}
    for agent in AGENTS.values():
        place = place_of(agent, project, environ)
        if place.path in wanted:
            known = found.get(place.path)
            found[place.path] = known._replace(agents=(*known.agents, agent)) if known else place
    return list(found.values())


def detect(project: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """key -> the sign by which an agent was found; in a project without signs, the person's own agents."""
    if project is not None:
        seen = {key: _first_sign(project, agent.project_signs) for key, agent in AGENTS.items()}
        found = {key: f"{sign} is in the project" for key, sign in seen.items() if sign}
        if found:
            return found
    found = {}
    for key, agent in AGENTS.items():
        why = _user_sign(agent, environ)
        if why:
            found[key] = why
    return found


def _user_sign(agent: Agent, environ: Mapping[str, str]) -> str:
    root, folder = _user_folder(agent, environ)
    if folder != agent.user_folder and os.path.isdir(os.path.join(root, os.path.dirname(folder))):
        return f"{agent.home_variable} is set"
    sign = _first_sign(environ.get("HOME") or os.path.expanduser("~"), agent.user_signs)
    if sign:
        return f"~/{sign} is there"
    for program in agent.programs:
        if shutil.which(program, path=environ.get("PATH")):
            return f"the program {program} is installed"
    return ""


def _first_sign(folder: str, signs: tuple[str, ...]) -> str:
    return next((sign for sign in signs if os.path.lexists(os.path.join(folder, sign))), "")
