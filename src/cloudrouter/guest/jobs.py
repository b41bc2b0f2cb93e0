"""Background commands: starting them, and what is known of them, from files that outlive the guest."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass

from cloudrouter.guest import commands, holder
from cloudrouter.guest.config import write_file
from cloudrouter.guest.environment import rfc3339
from cloudrouter.guest.holding import read_exit, read_held, start_holder
from cloudrouter.guest.pipes import close_all
from cloudrouter.guest.process import closed_folder, ending
from cloudrouter.wire.errors import CloudRouterError, Internal, NotFound, TransferFailed, UsageError
from cloudrouter.wire.ids import is_job_id, new_job_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from cloudrouter.guest.commands import Command
    from cloudrouter.guest.server import Guest
    from cloudrouter.guest.stream import Stream

RUNNING, EXITED, LOST = "running", "exited", "lost"
KEPT = 200
KEPT_BYTES = 1024 * 1024 * 1024
"""Ended jobs beyond this many, or beyond so many bytes of log, are removed, the oldest first, when a new one starts."""
JOB_VARIABLE = b"CLOUDROUTER_JOB"
"""Tells a job's processes which job they are of, and us which processes are a job's, wherever they have gone."""


@dataclass(frozen=True)
class Job:
    """What is known of a job."""

    id: str
    command: str
    cwd: str
    state: str
    pid: Optional[int]
    started_ms: int
    ended_ms: Optional[int] = None
    code: Optional[int] = None
    signal: Optional[str] = None
    stdin: bool = False
    """Whether it was started with an input that `job.attach` can write to."""

    def to_json(self) -> dict[str, Any]:
        """The wire form; times are RFC 3339 UTC."""
        return {
            "id": self.id,
            "command": self.command,
            "cwd": self.cwd,
            "state": self.state,
            "pid": self.pid if self.state == RUNNING else None,
            "started_at": rfc3339(self.started_ms),
            "ended_at": None if self.ended_ms is None else rfc3339(self.ended_ms),
            "code": self.code,
            "signal": self.signal,
            "stdin": self.stdin,
        }


async def start(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `job.start`: answers once the command really runs, or says why it does not."""
    command = commands.read_command(request, guest.settings, guest.config)
    job = await start_job(guest, command)
    await stream.finish("job", job.to_json())


async def start_job(guest: Guest, command: Command, *, stdin: bool = False) -> Job:
    """Start a command as a job; with stdin its input is a pipe whose other end the guest has."""
    root = jobs_folder(guest.settings.state)
    _forget_old(root)
    job_id, folder = _make_folder(root, command, stdin=stdin)
    command.env[JOB_VARIABLE] = job_id.encode()
    reading = -1
    try:
        if stdin:
            reading = guest.inputs.make(job_id, command.account)
        keep = () if reading < 0 else (reading,)
        limit = guest.settings.job_log_bytes
        answer = await start_holder(guest, command, folder, keep=keep, limit=limit, stdin=reading)
        word, _, value = answer.partition(b" ")
        if word != b"running":
            raise start_error(word, value, command)
        job = read_job(root, job_id)
        if job is None:
            raise Internal(f"The job {job_id} was started, but its record is gone.")
    except BaseException as error:
        guest.inputs.close(job_id)
        if not isinstance(error, asyncio.CancelledError):
            _remove_folder(folder)
        if isinstance(error, OSError):
            reason = (error.strerror or "unknown error").lower()
            raise TransferFailed(f"The job could not be started: {reason}.") from None
        raise
    finally:
        close_all(reading)
    return job


async def list_all(stream: Stream, request: dict[str, Any], guest: Guest) -> None:
    """The operation `job.list`, oldest first."""
    await stream.finish("jobs", [job.to_json() for job in read_jobs(jobs_folder(guest.settings.state))])


def jobs_folder(state: str) -> str:
    """Where the jobs' folders are."""
    return f"{state}/jobs"


def count_running(state: str) -> int:
    """How many jobs run now."""
    return sum(job.state == RUNNING for job in read_jobs(jobs_folder(state)))


def read_jobs(root: str) -> list[Job]:
    """All jobs, oldest first."""
    found = (read_job(root, name) for name in os.listdir(root) if is_job_id(name))
    return sorted((job for job in found if job is not None), key=lambda job: (job.started_ms, job.id))


def find_job(root: str, wanted: object) -> Job:
    """The job of that id, or the newest for None; NotFound names those that are there."""
    if wanted is not None and not isinstance(wanted, str):
        raise UsageError("job must be a job id.")
    jobs = read_jobs(root)
    for job in reversed(jobs):
        if wanted in (None, job.id):
            return job
    known = ", ".join(job.id for job in jobs[-10:])
    fix = f"Known jobs: {known}." if known else "Start one with `cloudrouter ssh ID --bg COMMAND`."
    what = "There are no jobs in this machine yet." if wanted is None else f"There is no job {str(wanted)[:40]!r} here."
    raise NotFound(what, fix=fix)


def read_job(root: str, job_id: str) -> Optional[Job]:
    """One job from its folder; None while it is not started yet, or when it is being removed."""
    folder = f"{root}/{job_id}"
    try:
        with open(f"{folder}/meta.json", encoding="utf-8") as file:
            meta = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    held = read_held(folder)
    if held is None:
        return None
    base = {
        "id": job_id,
        "command": meta["command"],
        "cwd": meta["cwd"],
        "pid": held.command or None,
        "started_ms": held.started_ms,
        "stdin": meta.get("stdin") is True,
    }
    alive = held.is_alive  # before the ending: a holder that ends in between has told it
    told = read_exit(folder)
    if told is None:
        return Job(state=RUNNING if alive else LOST, **base)
    how = ending(told[0])
    return Job(state=EXITED, code=how.code, signal=how.signal, ended_ms=told[1], **base)


def holder_of(root: str, job_id: str) -> int:
    """The job's holder while it lives, else 0."""
    held = read_held(f"{root}/{job_id}")
    return held.pid if held is not None and held.is_alive else 0


def _make_folder(root: str, command: Command, *, stdin: bool) -> tuple[str, str]:
    while True:
        job_id = new_job_id()
        folder = f"{root}/{job_id}"
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise TransferFailed(f"The job cannot be kept: {(error.strerror or 'unknown error').lower()}.") from None
        meta = {"id": job_id, "command": command.shown, "cwd": os.fsdecode(command.cwd), "stdin": stdin}
        try:
            write_file(f"{folder}/meta.json", json.dumps(meta), 0o600)
        except OSError as error:
            _remove_folder(folder)
            raise TransferFailed(f"The job cannot be kept: {(error.strerror or 'unknown error').lower()}.") from None
        return job_id, folder


def start_error(word: bytes, value: bytes, command: Command, what: str = "job") -> CloudRouterError:
    """The error behind what a holder said of a command that it could not start."""
    number = int(value) if value.isdigit() else 0
    if word == b"trouble":
        return TransferFailed(f"The {what} could not be started: {os.strerror(number).lower()}.")
    if value == holder.FOLDER:
        return closed_folder(command.cwd, command.account)
    if word == b"fault":
        code, sentence = commands.start_fault(OSError(number, os.strerror(number)), command.program)
        return NotFound(f"{sentence}.") if code == 127 else UsageError(f"{sentence}.")
    return Internal(f"The process that was to hold the {what} ended at once.")


def _forget_old(root: str) -> None:
    room, kept = KEPT_BYTES, 1
    for job in reversed([job for job in read_jobs(root) if job.state != RUNNING]):
        folder = f"{root}/{job.id}"
        room -= _folder_bytes(folder)
        kept += 1
        if kept > KEPT or room < 0:
            _remove_folder(folder)


def _folder_bytes(folder: str) -> int:
    try:
        with os.scandir(folder) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except FileNotFoundError:
        return 0  # another start removes it just now


def _remove_folder(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
