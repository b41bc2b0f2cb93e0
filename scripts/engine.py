#!/usr/bin/env python3
"""A container engine for this host: find one, else install and start one. `up [--yes] [--json]`, `down`, `status`.

Progress goes to stderr; `up` ends with the line `DOCKER_HOST=...` (or JSON) on stdout. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import engine_host as host
from engine_host import State, say
from engine_search import DEFAULT_SOCKET, PING_S, Failed, answers, ask, find_engine

_CORE_BASES = ("cloudrouter/base:bookworm", "debian:bookworm-slim")


@dataclass(frozen=True)
class Plan:
    """What has to be done, each line of `words` told before it happens."""

    packages: tuple[str, ...]
    start: str
    """How the engine is started: "systemd", "hand", or "" when it runs."""
    words: tuple[str, ...]


def main(arguments: list[str]) -> int:
    """Run one command; 0 done, 1 failed, 2 a yes is needed that nobody is there to give."""
    parser = argparse.ArgumentParser(prog="engine.py", description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="find a container engine, else install and start one")
    up.add_argument("--yes", action="store_true", help="do not ask before installing")
    for name, text in (("down", "stop the engine that `up` started by hand"), ("status", "show what there is")):
        verbs.add_parser(name, help=text)
    for verb in verbs.choices.values():
        verb.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(arguments)
    try:
        if asked.verb == "up":
            return bring_up(os.environ, yes=asked.yes, as_json=asked.json)
        return (bring_down if asked.verb == "down" else show_status)(os.environ, as_json=asked.json)
    except Failed as failure:
        print("\n".join(failure.lines), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def bring_up(env: Mapping[str, str], *, yes: bool, as_json: bool) -> int:
    """Leave this host with an engine that answers, and with mmdebstrap where no registry does."""
    with host.locked(env):
        state = host.read_state(env)
        found = find_engine(env)
        plan = make_plan(found)
        if plan.words:
            if not may_proceed(plan, env, yes=yes):
                return 2
            carry_out(plan, env, state)
            found = found or find_engine(env) or ""
        if not found:
            raise Failed(f"The engine runs, but {DEFAULT_SOCKET} does not answer.", "see what is wrong", "docker info")
        state.socket = found
        host.write_state(env, state)
    result = {
        "socket": found,
        "started_by_us": host.is_ours(state),
        "started_now": plan.start == "hand",
        "installed": list(plan.packages),
    }
    print(json.dumps(result) if as_json else f"DOCKER_HOST={found}")
    return 0


def bring_down(env: Mapping[str, str], *, as_json: bool) -> int:
    """Stop the engine that `up` started by hand, and nothing else."""
    with host.locked(env):
        state = host.read_state(env)
        stopped = host.is_ours(state)
        if stopped:
            say(f"Stopping the engine (process {state.pid}) that was started by hand")
            host.stop_process(state)
        host.write_state(env, State(installed=state.installed))
    if not stopped:
        say("No engine was started by hand from here; nothing to stop")
    if as_json:
        print(json.dumps({"stopped": stopped}))
    return 0


def show_status(env: Mapping[str, str], *, as_json: bool) -> int:
    """Print the engine that would be used; 1 when there is none."""
    state = host.read_state(env)
    found = find_engine(env)
    version = ask(found, "/version").get("Version", "") if found else ""
    result = {"socket": found, "running": bool(found), "version": version, "started_by_us": host.is_ours(state)}
    if as_json:
        print(json.dumps(result))
    elif found:
        print(f"{found} answers, version {version}{', started from here' if result['started_by_us'] else ''}")
    else:
        print("No container engine answers on this host.")
    return 0 if found else 1


def make_plan(found: str | None) -> Plan:
    """What is missing on this host; empty words when nothing is."""
    packages: list[str] = []
    start = ""
    if not found:
        start = "systemd" if has_systemd() else "hand"
        if not host.find_program("dockerd"):
            packages.append("docker.io")
    if not host.find_program("mmdebstrap") and (not found or not has_base(found)) and not registry_answers():
        packages += ["mmdebstrap", "debian-archive-keyring", *(["uidmap"] if os.getuid() else [])]
    words = []
    if packages:
        words.append(f"install {', '.join(packages)} with apt-get")
    if start:
        words.append("start Docker as a systemd service" if start == "systemd" else "start dockerd in the background")
    if words and not is_debian():
        raise Failed(
            "No container engine answers on this host." if not found else "mmdebstrap is missing.",
            "install Docker (docs.docker.com/engine/install) or Podman, start it, and come back"
            if not found
            else "let the engine reach a registry, or install mmdebstrap",
            "python3 scripts/engine.py up",
        )
    return Plan(tuple(packages), start, tuple(words))


def may_proceed(plan: Plan, env: Mapping[str, str], *, yes: bool) -> bool:
    """Say what will be done and get a yes: from the flag, from CI, or from the person at the terminal."""
    say("This host needs work before it can run machines. It will:")
    for word in plan.words:
        say(f"  - {word}")
    if yes or env.get("CI", "").lower() in ("true", "1"):
        return True
    if not sys.stdin.isatty():
        say("Nobody is here to agree to that. Agree with:")
        say("Next: python3 scripts/engine.py up --yes")
        return False
    print("Go on? [Y/n] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")


def has_systemd() -> bool:
    """systemd is this host's first process."""
    return os.path.isdir("/run/systemd/system")


def is_debian() -> bool:
    """Debian, Ubuntu, or something that calls itself like them."""
    try:
        with open("/etc/os-release", encoding="utf-8") as source:
            pairs = dict(line.strip().split("=", 1) for line in source if "=" in line)
    except OSError:
        return False
    words = f"{pairs.get('ID', '')} {pairs.get('ID_LIKE', '')}".replace('"', "").split()
    return bool({"debian", "ubuntu"} & set(words)) and host.find_program("apt-get") is not None


def has_base(url: str) -> bool:
    """The engine has a base image already, so nothing must be fetched or made for it."""
    return any(ask(url, f"/images/{name}/json") for name in _CORE_BASES)


def registry_answers() -> bool:
    """Docker's registry can be expected to answer: a connection opens, or a proxy stands between."""
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    try:
        socket.create_connection(("registry-1.docker.io", 443), timeout=PING_S).close()
    except OSError:
        return False
    return True


def carry_out(plan: Plan, env: Mapping[str, str], state: State) -> None:
    """Install and start; what was done is written into the state as it happens."""
    if plan.packages:
        host.install(plan.packages)
        state.installed = sorted({*state.installed, *plan.packages})
    if not plan.start or answers_by_itself(plan):
        if plan.start == "hand":
            host.remember_process(state)  # the package's own start script did it, at our request
        return
    if plan.start == "systemd":
        host.run([*host.as_root(), "systemctl", "start", "docker"])
        host.wait_for(lambda: answers(f"unix://{DEFAULT_SOCKET}"), host.START_S, lambda: "see: journalctl -u docker")
        return
    host.start_by_hand(env)
    host.remember_process(state)
    host.write_state(env, state)


def answers_by_itself(plan: Plan) -> bool:
    """Debian's packages start their service where something is there to start it; give that a moment."""
    if "docker.io" not in plan.packages:
        return False
    return host.poll(lambda: os.path.exists(DEFAULT_SOCKET) and answers(f"unix://{DEFAULT_SOCKET}"), 5.0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
