"""`start --detach`: the launch goes on in a process of its own, and its failure is found again by `status`."""

from __future__ import annotations

import json
import os
import signal
import sys

from cloudrouter.cli.progress import StartProgress
from cloudrouter.wire import places
from cloudrouter.wire.errors import CloudRouterError, Internal, from_json
from cloudrouter.wire.ids import is_machine_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    Launch = Callable[[StartProgress], dict[str, Any]]

KEPT_LOGS = 50
_FAILED = "failed: "


def begin(launch: Launch) -> dict[str, Any]:
    """Run the launch in the background; returns the machine's JSON as soon as the router has given it an id.

    One more field is in it, `left_behind`: a line for people on what of the folder stays here, empty for nothing.
    What fails before that is raised here; what fails later is in the log that `failure_of` reads.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run_child(launch, writing)
    os.close(writing)
    try:
        with open(reading, "rb") as pipe:
            told = pipe.readline()
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    message = json.loads(told or b"{}")
    if "machine" in message:
        machine: dict[str, Any] = message["machine"]
        return machine
    os.waitpid(child, 0)
    if "error" in message:
        raise from_json(message["error"])
    raise Internal("The background process ended without a word.", next="cloudrouter ls")


def _run_child(launch: Launch, writing: int) -> NoReturn:
    """The whole life of the background process; it never returns into the parent's code."""
    code = 1
    try:
        os.setsid()
        _point_at(os.open(os.devnull, os.O_RDWR), 0, 1, 2)
        code = _launch_and_log(launch, _Told(writing))
    finally:
        os._exit(code)


def _launch_and_log(launch: Launch, told: _Told) -> int:
    try:
        launch(told)
    except CloudRouterError as error:
        return told.end(error)
    except KeyboardInterrupt:
        return told.end(Internal("The start was ended by a signal."))
    except Exception as error:  # noqa: BLE001 - nobody else could tell of it
        return told.end(Internal(f"Something unforeseen happened: {type(error).__name__}: {error}"))
    os.unlink(log_path(told.machine_id))
    return 0


class _Told(StartProgress):
    """Tells the waiting parent the machine once it has an id, and writes the rest into the machine's log."""

    def __init__(self, writing: int) -> None:
        super().__init__()
        self._writing = writing
        self._parent_waits = True
        self._left_behind = ""

    def __call__(self, event: Mapping[str, Any]) -> None:
        """One event of the launch."""
        if event.get("phase") == "selected":
            self._left_behind = " ".join(part for part in (event["left_behind"], *event["notes"]) if part)
        if event.get("phase") == "created" and self._parent_waits:
            self.machine_id = str(event["id"])
            _point_at(_open_log(self.machine_id), 1, 2)
            self._tell({"machine": {**event["machine"], "left_behind": self._left_behind}})
        super().__call__(event)

    def end(self, error: CloudRouterError) -> int:
        """A failure: to the parent while it waits, else to the log."""
        if self._parent_waits:
            self._tell({"error": error.to_json()})
        else:
            sys.stderr.write(f"{_FAILED}{json.dumps(error.to_json())}\n")
            sys.stderr.flush()
        return error.exit_code

    def _tell(self, message: dict[str, Any]) -> None:
        self._parent_waits = False
        os.write(self._writing, json.dumps(message).encode() + b"\n")
        os.close(self._writing)


def log_path(machine_id: str) -> str:
    """The log of this machine's background start; it is removed when the start has succeeded."""
    if not is_machine_id(machine_id):
        raise Internal("The router gave a machine an id that is none.")
    return f"{places.state_dir(os.environ)}/logs/start-{machine_id}.log"


def failure_of(machine_id: str) -> str:
    """Why the background start of a machine failed; empty when it did not, or is still at it."""
    try:
        with open(log_path(machine_id), encoding="utf-8", errors="replace") as file:
            last = file.readlines()[-1:]
    except OSError:
        return ""
    if not last or not last[0].startswith(_FAILED):
        return ""
    try:
        return from_json(json.loads(last[0].removeprefix(_FAILED))).message
    except ValueError:
        return "its background start failed"


def _open_log(machine_id: str) -> int:
    path = log_path(machine_id)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    _remove_old_logs(os.path.dirname(path))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)


def _remove_old_logs(folder: str) -> None:
    """Keep the logs of the newest failures only."""
    logs = [f"{folder}/{name}" for name in os.listdir(folder) if name.startswith("start-") and name.endswith(".log")]
    for path in sorted(logs, key=lambda one: os.lstat(one).st_mtime)[: -KEPT_LOGS or None]:
        os.unlink(path)


def _point_at(source: int, *targets: int) -> None:
    for target in targets:
        os.dup2(source, target)
    if source not in targets:
        os.close(source)
