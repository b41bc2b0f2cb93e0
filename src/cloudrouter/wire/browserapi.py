"""Bodies and answers of `/v1/machines/{ref}/browser`: steps of a machine's browser, and its door for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from cloudrouter.wire.browsing import DEFAULT_TIMEOUT_S, MAIN

CDP_SECONDS = 600.0
"""How long a debugging address lets programs in when nobody says otherwise."""
CDP_LONGEST_S = 24 * 3600.0
CDP_PATH = "/cdp/"
"""Where the gateway has debugging addresses: the key comes next."""
PATIENCE_S = 600.0
"""How long a client waits beyond a step's own time: the browser may have to start, and other steps come first."""


@dataclass(frozen=True)
class Step:
    """Body of `POST /v1/machines/{ref}/browser`, and one of a batch."""

    verb: str
    """A name of wire.browsing, or `close` or `sessions`."""
    words: list[str] = field(default_factory=list)
    """In the verb's order. A file that the step needs, or may write to, is an absolute path in the machine."""
    options: dict[str, Any] = field(default_factory=dict)
    """Flags by their names without dashes: a text where it takes a value, else true."""
    session: Optional[str] = None
    """None: the batch's, or `main`."""
    timeout_s: float = DEFAULT_TIMEOUT_S
    """Seconds that the step itself may take; what it has to wait for first does not count."""
    bring: bool = False
    """Have the content of the file that it makes in the answer, where that has no more than BRING_LIMIT bytes."""


@dataclass(frozen=True)
class Dialog:
    """A dialog of the page that waits for an answer."""

    type: str
    """`alert`, `confirm`, `prompt` or `beforeunload`."""
    message: str
    default: Optional[str] = None
    """What a prompt begins with."""


@dataclass(frozen=True)
class MadeFile:
    """A file that a step has made in the machine; fetch it soon, for later ones take its place."""

    path: str
    size: int
    name: str
    """What the page or the browser would call it; not to be trusted as a path."""
    content: Optional[str] = None
    """Its bytes in base64, where it was to be brought and is small enough."""


@dataclass(frozen=True)
class StepAnswer:
    """What came of one step."""

    verb: str
    session: str
    data: dict[str, Any]
    """What the verb gives; its `shows` says which key is the point of it."""
    warning: Optional[str] = None
    dialog: Optional[Dialog] = None
    """Open since this step: nothing else can be done in the session before it is answered."""
    file: Optional[MadeFile] = None
    url: Optional[str] = None
    """Where the session's tab is now, where the step tells it."""
    duration_ms: int = 0
    """Inside the machine, without waiting for other steps."""
    recovered: bool = False
    """Whether the tab had crashed, and the step was done in a new one."""


@dataclass(frozen=True)
class Batch:
    """Body of `POST /v1/machines/{ref}/browser/batch`."""

    steps: list[Step]
    session: str = MAIN
    """Of steps that name none."""
    keep_going: bool = False
    """Do the steps behind a failed one too."""


@dataclass(frozen=True)
class FailedStep:
    """A step of a batch that failed, in its place among the answers."""

    verb: str
    session: str
    error: dict[str, Any]
    """As wire.errors has it."""


@dataclass(frozen=True)
class BatchAnswer:
    """What came of a batch; an answer for each step that was begun."""

    answers: list[Any]
    """StepAnswer, or FailedStep."""
    done: int
    """How many succeeded."""
    failed: Optional[int] = None
    """The index of the first that failed; None: all are done."""
    screenshot: Optional[MadeFile] = None
    """Of the page as the failed step left it, where it could be taken."""
    snapshot: Optional[str] = None
    """Its interactive outline, with new refs."""
    duration_ms: int = 0


@dataclass(frozen=True)
class OpenCdp:
    """Body of `POST /v1/machines/{ref}/browser/cdp`."""

    ttl_s: float = CDP_SECONDS
    """How long programs are let in with it; those that are in by then stay."""


@dataclass(frozen=True)
class Cdp:
    """A debugging address of a machine's browser: whoever has it controls the browser."""

    url: str
    """For what takes a WebSocket, such as Playwright's `connect_over_cdp` and Puppeteer's `browserWSEndpoint`."""
    http_url: str
    """For what asks `/json/version` below it first."""
    expires_at: str
    """RFC 3339 UTC."""
