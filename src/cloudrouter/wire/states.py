"""The states of a machine and which of them may follow which."""

from __future__ import annotations

POOLED = "pooled"
PENDING = "pending"
STARTING = "starting"
RUNNING = "running"
PAUSING = "pausing"
PAUSED = "paused"
STOPPING = "stopping"
STOPPED = "stopped"
RESUMING = "resuming"
DELETING = "deleting"
GONE = "gone"
FAILED = "failed"

NEXT: dict[str, frozenset[str]] = {
    POOLED: frozenset({STARTING, DELETING, FAILED}),
    PENDING: frozenset({STARTING, DELETING, FAILED}),
    STARTING: frozenset({RUNNING, STOPPING, DELETING, FAILED}),
    RUNNING: frozenset({PAUSING, STOPPING, STOPPED, DELETING, FAILED}),
    PAUSING: frozenset({PAUSED, RUNNING, DELETING, FAILED}),
    PAUSED: frozenset({RESUMING, STOPPING, DELETING, FAILED}),
    STOPPING: frozenset({STOPPED, DELETING, FAILED}),
    STOPPED: frozenset({RESUMING, DELETING, FAILED}),
    RESUMING: frozenset({RUNNING, STOPPING, STOPPED, DELETING, FAILED}),
    DELETING: frozenset({GONE, FAILED}),
    FAILED: frozenset({RESUMING, DELETING}),
    GONE: frozenset(),
}
"""The one table of transitions; `delete` is allowed from every state but gone."""

HIDDEN = frozenset({POOLED, GONE})
"""States that `ls` leaves out unless asked for all."""

REACHABLE = frozenset({STARTING, RUNNING})
"""States in which the guest may be spoken to."""
