"""The one error tree, with the same codes in every room and on the wire.

CloudRouterError
  UsageError           the request cannot be right              exit 2   http 400
    InvalidSpec        a field of a wanted machine is refused   exit 2   http 400
    Unsupported        the provider cannot do this              exit 2   http 422
  AuthFailed           credentials refused                      exit 3   http 401
  NotFound             no such machine, job, image, file        exit 4   http 404
  Ambiguous            an id prefix fits several machines       exit 4   http 409
  NoCapacity           the host or vendor is full               exit 5   http 503
  QuotaExceeded        more than this owner may have            exit 5   http 429
  NotRunning           the machine is there but not running     exit 6   http 409
  Conflict             name taken, already being changed        exit 1   http 409
  NotConfigured        a part is missing on this host           exit 1   http 501
  Unreachable          engine, router or guest do not answer    exit 1   http 502   retry
  RateLimited          asked to slow down                       exit 1   http 429   retry
  TimedOut             did not happen in time                   exit 124 http 504
  TransferFailed       files did not arrive whole               exit 1   http 500
  StepFailed           the browser could not do a step          exit 1   http 422
    StaleRef           a @ref of an older snapshot              exit 1   http 409
    DialogOpen         a dialog of the page has to be answered  exit 1   http 409
    NotAField          there is nothing to be filled            exit 1   http 409
    TabGone            the session's tab was closed             exit 1   http 409
    BrowserDown        the browser ended under a step           exit 1   http 502   retry
  ProviderBug          something unforeseen in a provider       exit 1   http 500
  Internal             something unforeseen anywhere else       exit 1   http 500
"""

from __future__ import annotations

TYPE_CHECKING = False  # the constant type checkers know: importing typing costs the fast verbs 2 ms
if TYPE_CHECKING:
    from typing import Any


class CloudRouterError(Exception):
    """Base of all: a sentence that says what happened, what to do (`fix`) and the exact command (`next`)."""

    code = "internal"
    exit_code = 1
    http_status = 500
    retry = False

    def __init__(self, message: str, *, fix: str = "", next: str = "", **details: Any) -> None:  # noqa: A002
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.next = next
        self.details = details

    def to_json(self) -> dict[str, Any]:
        """The wire form: code, message, fix, next, and details where there are some."""
        body: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "fix": self.fix,
            "next": self.next,
        }
        if self.details:
            body["details"] = self.details
        return body

    def to_text(self) -> str:
        """Up to three lines for people: what happened, `Fix:` and `Next:`."""
        lines = [self.message]
        if self.fix:
            lines.append(f"Fix:  {self.fix}")
        if self.next:
            lines.append(f"Next: {self.next}")
        return "\n".join(lines)


class UsageError(CloudRouterError):
    """The request cannot be right, whoever asks."""

    code, exit_code, http_status = "usage", 2, 400


class InvalidSpec(UsageError):
    """A field of the wanted machine is refused; `details.field` names it."""

    code = "invalid_spec"


class Unsupported(UsageError):
    """The provider cannot do this; the message names the feature and the alternative."""

    code, http_status = "unsupported", 422


class AuthFailed(CloudRouterError):
    """Credentials are missing or refused."""

    code, exit_code, http_status = "auth_failed", 3, 401


class NotFound(CloudRouterError):
    """No such machine, job, image or file."""

    code, exit_code, http_status = "not_found", 4, 404


class Ambiguous(CloudRouterError):
    """The id prefix fits more than one machine."""

    code, exit_code, http_status = "ambiguous", 4, 409


class NoCapacity(CloudRouterError):
    """The host or the vendor has no room for this now."""

    code, exit_code, http_status = "no_capacity", 5, 503


class QuotaExceeded(CloudRouterError):
    """More than this owner may have."""

    code, exit_code, http_status = "quota_exceeded", 5, 429


class NotRunning(CloudRouterError):
    """The machine exists but is not running."""

    code, exit_code, http_status = "not_running", 6, 409


class Conflict(CloudRouterError):
    """The name is taken, or the machine is being changed by somebody else."""

    code, http_status = "conflict", 409


class NotConfigured(CloudRouterError):
    """Something this host needs is not installed or not set."""

    code, http_status = "not_configured", 501


class Unreachable(CloudRouterError):
    """The engine, the router or the guest does not answer; trying again may help."""

    code, http_status, retry = "unreachable", 502, True


class RateLimited(CloudRouterError):
    """The other side asks to slow down."""

    code, http_status, retry = "rate_limited", 429, True


class TimedOut(CloudRouterError):
    """It did not happen within the time allowed."""

    code, exit_code, http_status = "timed_out", 124, 504


class TransferFailed(CloudRouterError):
    """Files did not arrive whole; the message names what was kept."""

    code = "transfer_failed"


class StepFailed(CloudRouterError):
    """The browser could not do this step; the message says why."""

    code, http_status = "step_failed", 422


class StaleRef(StepFailed):
    """A `@ref` that the page no longer has: it is from an older snapshot, or of another tab."""

    code, http_status = "stale_ref", 409


class DialogOpen(StepFailed):
    """A dialog of the page waits for its answer, and nothing else can be done before; `details.dialog` holds it."""

    code, http_status = "dialog_open", 409


class NotAField(StepFailed):
    """What was to be filled or typed into is no field."""

    code, http_status = "not_a_field", 409


class TabGone(StepFailed):
    """The session's tab was closed."""

    code, http_status = "tab_gone", 409


class BrowserDown(StepFailed):
    """The browser ended while the step was done: it may have happened or not."""

    code, http_status, retry = "browser_down", 502, True


class ProviderBug(CloudRouterError):
    """Something unforeseen happened in a provider; the cause is chained."""

    code = "provider_bug"


class Internal(CloudRouterError):
    """Something unforeseen happened; the router's log has more."""


def _tree(base: type[CloudRouterError]) -> dict[str, type[CloudRouterError]]:
    found = {}
    for kind in base.__subclasses__():
        found[kind.code] = kind
        found.update(_tree(kind))
    return found


CODES: dict[str, type[CloudRouterError]] = _tree(CloudRouterError)
"""Wire code -> class; codes are stable for ever."""


def from_json(body: Any) -> CloudRouterError:
    """The error that `to_json` described; unknown codes and broken bodies become Internal."""
    if not isinstance(body, dict) or not isinstance(body.get("message"), str):
        return Internal(f"The other side sent an error that cannot be read: {str(body)[:200]}")
    kind = CODES.get(str(body.get("code")), Internal)
    details = body.get("details")
    safe = (
        {k: v for k, v in details.items() if k not in ("message", "fix", "next")} if isinstance(details, dict) else {}
    )
    error = kind(body["message"], fix=str(body.get("fix") or ""), next=str(body.get("next") or ""))
    error.details = safe  # not as arguments: the other side chooses the names
    return error
