"""Reading what a machine says of its commands: it may be hostile, so nothing is believed to be there."""

from __future__ import annotations

from cloudrouter.wire.errors import Internal, NotRunning, TimedOut
from cloudrouter.wire.ids import is_job_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STATES = ("running", "exited", "lost")
_KEPT_LETTERS = 4000


def read_jobs(answer: Any) -> list[dict[str, Any]]:
    """The jobs of a `job.list` answer; Internal when it cannot be read."""
    found = answer.get("jobs") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise Internal("The machine did not list its jobs in a way that can be read.")
    return [check_job(one) for one in found]


def read_job(answer: Any) -> dict[str, Any]:
    """The job of an answer that is about one."""
    return check_job(answer.get("job") if isinstance(answer, dict) else None)


def check_job(job: Any) -> dict[str, Any]:
    """The description of a job, when it is one: callers hand its code on to their own callers."""
    if not isinstance(job, dict) or not is_job_id(str(job.get("id"))) or job.get("state") not in _STATES:
        raise Internal("The machine described a job in a way that cannot be read.")
    code = job.get("code")
    fits = isinstance(code, int) and not isinstance(code, bool) and 0 <= code <= 255
    if not (fits if job["state"] == "exited" else code is None):
        raise Internal(f"The machine did not say how {job['id']} ended.")
    return job


def read_signalled(answer: Any) -> int:
    """How many processes a `job.kill` reached."""
    count = read_job(answer).get("signalled")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise Internal("The machine did not say what became of the signal.")
    return count


def read_execs(answer: Any) -> list[dict[str, Any]]:
    """The foreground commands of an `exec.list` answer."""
    found = answer.get("execs") if isinstance(answer, dict) else None
    if not isinstance(found, list) or not all(
        isinstance(one, dict) and isinstance(one.get("id"), str) for one in found
    ):
        raise Internal("The machine did not list its commands in a way that can be read.")
    return found


def read_ready(answer: Any, what: str, timeout: float, machine: str = "") -> dict[str, Any]:
    """The `ready` of an answer that says yes; TimedOut with what was last seen, NotRunning when the job ended first."""
    body = answer.get("ready") if isinstance(answer, dict) else None
    if not isinstance(body, dict) or not isinstance(body.get("ready"), bool) or not isinstance(body.get("last"), str):
        raise Internal("The machine did not say whether the server is up.")
    if body["ready"]:
        return body
    last = body["last"][:200]
    if body.get("job") is None or check_job(body["job"])["state"] == "running":
        raise TimedOut(
            f"{what} was not ready within {timeout:g} s; the last try: {last}.",
            fix="See what listens in the machine, and what the server wrote.",
            next=f"cloudrouter ports {machine or 'ID'}",
            last=last,
        )
    job, log = body["job"], str(body.get("log") or "")[-_KEPT_LETTERS:].rstrip()
    how = "is lost" if job["code"] is None else f"ended with exit code {job['code']}"
    raise NotRunning(
        f"{job['id']} {how} before {what} was ready.",
        fix="Look at what it wrote.",
        next=f"cloudrouter logs {machine or 'ID'} {job['id']}",
        log=log,
        job=job,
    )
