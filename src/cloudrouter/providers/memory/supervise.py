"""First process of a local machine: keeps the guest alive and adopts what its commands leave behind."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType

PR_SET_CHILD_SUBREAPER = 36
PAUSES_S = (0.2, 1.0, 4.0, 8.0)
LONG_ENOUGH_S = 10.0


class _Ended(Exception):
    """TERM arrived."""


def supervise(command: list[str]) -> int:
    """Run the guest, again when it dies, until TERM; orphans of the machine become children of this process."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")
    signal.signal(signal.SIGTERM, _end)
    guest: subprocess.Popen[bytes] | None = None
    fast_deaths = 0
    try:
        while True:
            began = time.monotonic()
            guest = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            code = _wait(guest)
            fast_deaths = 0 if time.monotonic() - began >= LONG_ENOUGH_S else fast_deaths + 1
            pause = PAUSES_S[min(fast_deaths, len(PAUSES_S)) - 1] if fast_deaths else PAUSES_S[0]
            sys.stderr.write(f"supervise: the guest ended with status {code} and is started again in {pause} s\n")
            sys.stderr.flush()
            select.select([], [], [], pause)
    except _Ended:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if guest is not None and guest.returncode is None:
            guest.terminate()
            _wait(guest)
        return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    raise _Ended


def _wait(guest: subprocess.Popen[bytes]) -> int:
    """The guest's exit status; every other child that ends meanwhile is reaped."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == guest.pid:
            guest.returncode = os.waitstatus_to_exitcode(status)
            return guest.returncode


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    raise SystemExit(supervise(sys.argv[2:]))
