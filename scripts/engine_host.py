"""Work on this host for `engine.py`: install packages, start and stop dockerd, remember what was done."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from engine_search import DEFAULT_SOCKET, Failed, answers, read_json

START_S = 90.0
STOP_S = 40.0


@dataclass
class State:
    """What a run of `up` did, kept for `down`; `pid_started` tells a process from a later one with its number."""

    socket: str = ""
    pid: int = 0
    pid_started: str = ""
    installed: list[str] = field(default_factory=list)


def install(packages: tuple[str, ...]) -> None:
    """apt-get, without questions and without suggestions."""
    settings = ["env", "DEBIAN_FRONTEND=noninteractive"]
    say(f"Installing {', '.join(packages)} ...")
    run([*as_root(), *settings, "apt-get", "update", "-q"])
    run([*as_root(), *settings, "apt-get", "install", "-y", "-q", "--no-install-recommends", *packages])


def start_by_hand(env: Mapping[str, str]) -> None:
    """dockerd in a session of its own, so that neither Ctrl-C nor a closed terminal ends it."""
    log = f"{state_folder(env)}/dockerd.log"
    say(f"Starting dockerd; its log is {log}")
    command = [*as_root(), "setsid", "--fork", find_program("dockerd") or "dockerd"]
    if os.getuid():
        command += ["--group", str(os.getgid())]
    with open(log, "ab") as target:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=target, stderr=target, check=False)
    if result.returncode != 0:
        raise Failed(f"dockerd could not be started (status {result.returncode}).\n{end_of(log)}")
    wait_for(lambda: answers(f"unix://{DEFAULT_SOCKET}"), START_S, lambda: end_of(log), alive=dockerd_is_alive())


def dockerd_is_alive() -> Callable[[], bool]:
    """Whether dockerd still tries: its pid file appears early, and its process ends when it gives up."""
    seen = [False]

    def alive() -> bool:
        running = bool(process_start(dockerd_pid()))
        seen[0] = seen[0] or running
        return running or not seen[0]

    return alive


def dockerd_pid() -> int:
    """The process in dockerd's own pid file, 0 when there is none."""
    try:
        with open("/var/run/docker.pid", encoding="ascii") as source:
            return int(source.read())
    except (OSError, ValueError):
        return 0


def remember_process(state: State) -> None:
    """Keep which process was started, in a way that a reused number cannot fool."""
    state.pid = dockerd_pid()
    state.pid_started = process_start(state.pid)


def is_ours(state: State) -> bool:
    """The engine that `up` started by hand still runs."""
    return bool(state.pid) and bool(state.pid_started) and process_start(state.pid) == state.pid_started


def process_start(pid: int) -> str:
    """When a dockerd with this number was started, in the kernel's clock ticks; empty when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as source:
            name, _, rest = source.read().partition("(")[2].rpartition(")")
    except OSError:
        return ""
    return rest.split()[19] if name == "dockerd" and rest.split()[0] != "Z" else ""


def stop_process(state: State) -> None:
    """TERM, and wait: dockerd ends its containers first."""
    if os.getuid():
        run([*as_root(), "kill", "-TERM", str(state.pid)])
    else:
        os.kill(state.pid, signal.SIGTERM)
    wait_for(lambda: not is_ours(state), STOP_S, lambda: f"process {state.pid} does not end")


def as_root() -> list[str]:
    """What goes before a command that root must run."""
    if os.getuid() == 0:
        return []
    sudo = shutil.which("sudo")
    quiet = [sudo or "sudo", "-n"]
    if sudo and subprocess.run([*quiet, "true"], capture_output=True, check=False).returncode == 0:
        return quiet
    if sudo and sys.stdin.isatty():
        return [sudo]
    raise Failed("This needs root, and sudo cannot give it here.", "run it as root, or let sudo work", "su -")


def run(command: list[str]) -> None:
    """Run to the end with its output on stderr."""
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if result.returncode != 0:
        raise Failed(f"{' '.join(command)} failed with status {result.returncode}.", "see its output above")


def wait_for(
    done: Callable[[], bool], deadline_s: float, reason: Callable[[], str], alive: Callable[[], bool] = lambda: True
) -> None:
    """Until it is so; Failed with the reason at the deadline, or as soon as nobody works on it any more."""
    # Liveness first: a daemon that accepts and then dies must have been seen alive by then.
    ended = poll(lambda: not alive() or done(), deadline_s)
    if done():
        return
    raise Failed(f"{'It ended by itself' if ended else f'It did not happen within {deadline_s:g} s'}:\n{reason()}")


def poll(done: Callable[[], bool], deadline_s: float) -> bool:
    """Ask again and again until yes or until the time is up."""
    end = time.monotonic() + deadline_s
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)  # noqa: TID251 - nothing tells when a socket begins to answer
    return True


def end_of(path: str) -> str:
    """The last lines of a log."""
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            return "".join(source.readlines()[-20:]).rstrip()
    except OSError as error:
        return f"(no log: {error})"


def find_program(name: str) -> str | None:
    """A program also where only root's PATH looks."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def state_folder(env: Mapping[str, str]) -> str:
    """Where this script keeps its state file and dockerd's log; made if it is not there."""
    base = env.get("CLOUDROUTER_STATE_DIR")
    if not base:
        base = (env.get("XDG_STATE_HOME") or env.get("HOME", "/") + "/.local/state").rstrip("/") + "/cloudrouter"
    folder = f"{base}/engine"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return folder


def read_state(env: Mapping[str, str]) -> State:
    """What the last `up` did; nothing when that is unknown."""
    found = read_json(f"{state_folder(env)}/engine.json")
    known = {name: found[name] for name in State.__dataclass_fields__ if name in found}
    return State(**known)


def write_state(env: Mapping[str, str], state: State) -> None:
    """Replace the state file in one step."""
    path = f"{state_folder(env)}/engine.json"
    with open(f"{path}.new", "w", encoding="utf-8") as target:
        json.dump(asdict(state), target)
    os.replace(f"{path}.new", path)


@contextmanager
def locked(env: Mapping[str, str]) -> Iterator[None]:
    """One run at a time: a second waits, and then finds what the first has done."""
    with open(f"{state_folder(env)}/lock", "w", encoding="ascii") as target:
        fcntl.flock(target, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """Progress, for people."""
    print(text, file=sys.stderr, flush=True)
