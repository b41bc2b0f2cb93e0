"""One client of a terminal as its holder sees it: what it typed, and what it is still to be shown."""

from __future__ import annotations

import os
import select

from cloudrouter.guest.ptyline import PIECE, SHOWN, Frames, frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

FULL = 256 * 1024
"""From so many waiting bytes on a client lags: where all do, the program waits for a while."""
MOST = 1024 * 1024
"""With more than so many waiting bytes it is shown nothing more, until it has taken them; then a replay."""
_TYPED = 64 * 1024


class Viewer:
    """One connection of the guest."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = (80, 24)
        self.watches = False
        """Whether it is at the terminal; else it has not said so yet, or only asks."""
        self.typed = bytearray()
        """What the terminal has not taken yet."""
        self.is_behind = False
        self.is_gone = False
        self.was_told = False
        """Whether it has been sent the ending whole."""
        self._frames = Frames()
        self._queue: list[tuple[bytes, bool]] = []
        """(frame, whether a reader may begin behind it)."""
        self._waiting = 0
        self._sent = 0
        """Of the first frame."""
        self._last: Optional[bytes] = None
        """The frame that ends it, which waits until everything was shown."""
        self._ends = False

    @property
    def is_full(self) -> bool:
        """Whether much waits."""
        return self._waiting >= FULL

    @property
    def wants_replay(self) -> bool:
        """Whether it was behind and has taken all that waited."""
        return self.is_behind and not self._queue

    def events(self) -> int:
        """What to wait for."""
        takes = select.POLLIN if len(self.typed) < _TYPED else 0
        return takes | (select.POLLOUT if self._queue or self._last is not None else 0)

    def receive(self) -> list[tuple[bytes, bytes]]:
        """The frames that came."""
        try:
            data = os.read(self.fd, PIECE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.is_gone = True
            return []
        self._frames.feed(data)
        found = []
        try:
            while (one := self._frames.next()) is not None:
                found.append(one)
        except ValueError:
            self.is_gone = True
        return found

    def put(self, kind: bytes, data: bytes, *, is_clean: bool = True) -> None:
        """Queue one frame."""
        self._queue.append((frame(kind, data), is_clean))
        self._waiting += len(data)

    def show(self, data: bytes, *, is_clean: bool) -> None:
        """Queue output, unless it is behind; one that falls behind keeps what leads to the end of a sequence."""
        if self.is_behind or not data:
            return
        for at in range(0, len(data), PIECE):
            self.put(SHOWN, data[at : at + PIECE], is_clean=is_clean and at + PIECE >= len(data))
        if self._waiting > MOST:
            self.is_behind = True
            kept = next((number for number, (_, clean) in enumerate(self._queue) if clean), len(self._queue)) + 1
            del self._queue[kept:]
            self._waiting = sum(len(one) for one, _ in self._queue)

    def show_again(self, replay: bytes) -> None:
        """Queue all that is kept, to go on from there."""
        self.is_behind = False
        for at in range(0, len(replay), PIECE):
            self.put(SHOWN, replay[at : at + PIECE], is_clean=False)

    def tell_end(self, kind: bytes, data: bytes) -> None:
        """The last frame, behind all that is to be shown."""
        self._last = frame(kind, data)

    def end(self) -> None:
        """Nothing more comes after what is queued."""
        self._ends = True

    def send(self) -> bool:
        """Send what is taken now; whether anything was."""
        took = False
        while self._queue:
            first, _ = self._queue[0]
            try:
                count = os.write(self.fd, first[self._sent :])
            except BlockingIOError:
                return took
            except OSError:
                self.is_gone = True
                return took
            took = True
            self._sent += count
            if self._sent < len(first):
                return took
            self._queue.pop(0)
            self._waiting -= len(first) - 5
            self._sent = 0
        if self._last is not None and not self.is_behind:
            self._queue.append((self._last, True))
            self._waiting += len(self._last) - 5
            self._last, self._ends = None, True
            return self.send() or took
        if self._ends:
            self.was_told = self.watches
            self.is_gone = True
        return took

    def close(self) -> None:
        """Let go of the connection."""
        os.close(self.fd)
