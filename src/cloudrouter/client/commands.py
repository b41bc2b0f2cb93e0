"""Running one command on a stream: input, output, signals and a terminal in a single loop without threads."""

from __future__ import annotations

import errno
import json
import os
import select
import signal

from cloudrouter.client import terminals
from cloudrouter.wire.errors import CloudRouterError, Internal, Unreachable, from_json
from cloudrouter.wire.streams import CHUNK, FINAL, STDERR, STDOUT, WINDOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from cloudrouter.client.progress import Progress
    from cloudrouter.client.websocket import Stream

    Write = Callable[[memoryview], object]

_QUEUED = 2 * CHUNK
"""Input is read only while less than this waits for the socket."""
ASK_TIMEOUT_S = 30.0
"""How long a machine may be silent before a question counts as unanswered."""
GRACE_S = 1.0
"""How long a command may go on after our own SIGTERM or SIGHUP was forwarded to it."""
LEAVE_S = 1.0
"""How long what was typed at a terminal that is left may take to arrive."""
_WINDOW_LIMIT = 1 << 40
_PIPE_CODE = 141
"""What a shell reports for a program that wrote into a closed pipe: 128 + SIGPIPE."""


def run(
    stream: Stream,
    request: Mapping[str, Any],
    *,
    stdin_fd: int | None,
    on_stdout: Write,
    on_stderr: Write,
    tty: bool = False,
    signals: bool = True,
    on_started: Callable[[dict[str, Any]], object] | None = None,
    progress: Progress | None = None,
    detach: terminals.DetachKeys | None = None,
) -> dict[str, Any]:
    """Send the request, carry bytes until the operation's final message, and return what that says.

    For exec that is `{"code", "signal", "timeout", "duration_ms"}`, for job.logs `{"state", "code"}`, and so on.

    stdin_fd: sent as the command's input; None: it has none. A closed one counts as empty. With `tty` it must be a
    terminal: it is raw meanwhile and restored always, and its size is followed.
    on_stdout, on_stderr: get each piece as a memoryview that is theirs to keep; they may block, which slows the
    command down. When they raise BrokenPipeError the command is ended and the code is 141.
    progress: for a job, which outlives the stream: it is told how far the output has come, it says whether and which
    input is sent again, and of the signals only SIGINT is forwarded.
    detach: for a terminal that goes on without us: its keys, the end of our input, SIGTERM and SIGHUP end only the
    stream. For the keys and the end of input the result is `{"detached": True}`.
    signals: forward SIGINT (a second one ends the command and raises KeyboardInterrupt), SIGTERM and SIGHUP (a
    command that does not end by them within GRACE_S is ended, with the code 128 + n). For the main thread only.
    Raises the error that the other side sent, or Unreachable when the stream ends too early.
    """
    tty_fd = stdin_fd if tty else None
    loop = _Loop(stream, stdin_fd, on_stdout, on_stderr, on_started, tty_fd, progress, detach)
    body = dict(request)
    if stdin_fd is not None:
        body["stdin"] = True
    if tty_fd is not None:
        columns, rows = terminals.size(tty_fd)
        body["tty"] = {"cols": columns, "rows": rows, "term": os.environ.get("TERM") or "xterm-256color"}
    try:
        stream.queue_text(json.dumps(body))
        if not signals:
            return _guarded(loop)
        handled = terminals.HANDLED if progress is None else (signal.SIGINT,)
        with terminals.Attached(loop.on_signal, tty_fd, handled) as wakeup:
            return _guarded(loop, wakeup)
    finally:
        if detach is not None:
            stream.leave(timeout=LEAVE_S)
        stream.close()


def ask(stream: Stream, request: Mapping[str, Any], *, timeout: float | None = ASK_TIMEOUT_S) -> dict[str, Any]:
    """Send a request that has no data and return its final message whole, such as `{"jobs": [...]}`.

    timeout: seconds for each step of it; Unreachable when the machine is silent for longer. None waits for ever.
    """
    try:
        stream.send_text(json.dumps(dict(request)), timeout=timeout)
        while (message := stream.receive(timeout=timeout)) is not None:
            if message[0] == "text":
                answer = read_text(message[1])
                if final_of(answer) is not None:
                    return answer
    finally:
        stream.close()
    raise ended(stream)


def writer(fd: int) -> Write:
    """A callback that writes all of each piece to a descriptor, also to one that somebody made non-blocking."""

    def write(piece: memoryview) -> None:
        while piece:
            try:
                piece = piece[os.write(fd, piece) :]
            except BlockingIOError:
                poller = select.poll()
                poller.register(fd, select.POLLOUT)
                poller.poll()

    return write


def read_text(payload: bytes) -> dict[str, Any]:
    """A text message as the JSON object it must be; raises the error it holds."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise Internal("The machine sent a message that cannot be read.")
    if "error" in message:
        raise from_json(message["error"])
    return message


def final_of(message: Mapping[str, Any]) -> str | None:
    """The word that makes a message the last one of its operation, or None."""
    return next((word for word in message if word in FINAL), None)


def granted(window: int, message: Mapping[str, Any]) -> int:
    """The window after a message that may grant more."""
    more = message.get("window", 0)
    if not isinstance(more, int) or more < 0:
        raise Internal("The machine granted a window that is no number.")
    return min(window + more, _WINDOW_LIMIT)


def ended(stream: Stream) -> CloudRouterError:
    """What it means that the peer said goodbye before its final message."""
    return broken(stream.close_reason)


def broken(reason: str) -> CloudRouterError:
    """What it means that a stream ended too early, with what the peer said to that."""
    why = "".join(c for c in reason if c.isprintable())
    return Unreachable(
        f"The machine's stream ended before the operation did{f' ({why})' if why else ''}.",
        fix="The machine may have been stopped or deleted.",
        next="cloudrouter ls",
    )


class _Stopped(BaseException):
    """Leaves the loop from inside a signal handler: the command is to be ended."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class _Loop:
    """The state of one operation: what may be read, what is on its way, which signals came."""

    def __init__(
        self,
        stream: Stream,
        stdin_fd: int | None,
        on_stdout: Write,
        on_stderr: Write,
        on_started: Callable[[dict[str, Any]], object] | None,
        tty_fd: int | None,
        progress: Progress | None,
        detach: terminals.DetachKeys | None,
    ) -> None:
        self._stream = stream
        self._detach = detach
        self._stdin = stdin_fd if progress is None else None
        self._progress = progress
        self._job_stdin = stdin_fd
        """A job's input, read only once the machine has said that the job takes some."""
        self._on_stdout = on_stdout
        self._on_stderr = on_stderr
        self._on_started = on_started
        self._window = WINDOW
        self._arrived: list[int] = []
        self._interrupted = False
        self._in_callback = False
        self._forwarding = False
        self._ending = 0
        """The signal after which the command has GRACE_S left, or 0."""
        self._final: dict[str, Any] | None = None
        self._tty_fd = tty_fd

    def run(self, wakeup: int | None) -> dict[str, Any]:
        """The loop; returns the final message's content."""
        stream = self._stream
        while True:
            if self._arrived:
                self._forward_signals()
            stream.flush()
            self._read_messages()
            if self._final is not None:
                return self._final
            if stream.closed:
                raise ended(stream)
            events = self._poll(wakeup)
            if wakeup is not None and wakeup in events:
                os.read(wakeup, 512)
            if events.get(stream.fileno(), 0) & ~select.POLLOUT:
                stream.feed()
            if self._stdin is not None and self._stdin in events and not stream.closed:
                self._read_stdin(self._stdin)

    def on_signal(self, number: int) -> None:
        """From the signal handler. While a callback blocks in writing the stream is not in use, so it may be used."""
        self._arrived.append(number)
        if self._in_callback and not self._forwarding:
            self._forward_signals()

    def _poll(self, wakeup: int | None) -> dict[int, int]:
        # Made anew each time: poll reports the hang-up of a descriptor even when it is registered for nothing.
        poller = select.poll()
        poller.register(self._stream.fileno(), select.POLLIN | (select.POLLOUT if self._stream.wants_write else 0))
        if wakeup is not None:
            poller.register(wakeup, select.POLLIN)
        if self._stdin is not None and self._window > 0 and self._stream.pending < _QUEUED:
            poller.register(self._stdin, select.POLLIN)
        return dict(poller.poll())

    def _read_stdin(self, fd: int) -> None:
        try:
            piece = os.read(fd, min(CHUNK, self._window))
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.EIO, errno.EISDIR, errno.EINVAL):
                raise
            piece = b""  # A closed one, or a terminal that hung up: nothing will ever come.
        if self._detach is not None:
            self._read_typed(self._detach, piece)
        elif piece:
            self._send_input(piece)
        else:
            self._stdin = None
            self._end_input()

    def _read_typed(self, detach: terminals.DetachKeys, piece: bytes) -> None:
        """What is typed at a terminal that goes on without us."""
        typed = detach.take(piece)
        if typed:
            self._send_input(typed)
        if detach.left or not piece:
            self._final = {"detached": True}

    def _send_input(self, piece: bytes) -> None:
        self._window -= len(piece)
        self._stream.queue_binary(piece)
        if self._progress is not None:
            self._progress.sent(piece)

    def _end_input(self) -> None:
        self._stream.queue_text('{"eof":true}')
        if self._progress is not None:
            self._progress.input_ended = True

    def _begin_input(self, progress: Progress, started: dict[str, Any]) -> None:
        """Take up a job's input: what the machine did not get is sent again first, then what is read."""
        if started.get("stdin") is not True:
            return
        for piece in progress.unsent(started.get("input")):
            self._window -= len(piece)
            self._stream.queue_binary(piece)
        if progress.input_ended:
            self._end_input()
        else:
            self._stdin = self._job_stdin

    def _read_messages(self) -> None:
        while self._final is None and (message := self._stream.take()) is not None:
            kind, payload = message
            if kind == "binary":
                self._hand_out(payload)
            else:
                self._obey(read_text(payload))

    def _hand_out(self, payload: bytes) -> None:
        channel = payload[0] if payload else 0
        if channel not in (STDOUT, STDERR):
            raise Internal("The machine sent output on a channel that does not exist.")
        self._in_callback = True
        try:
            if self._arrived:
                self._forward_signals()
            write = self._on_stdout if channel == STDOUT else self._on_stderr
            write(memoryview(payload)[1:])
        finally:
            self._in_callback = False
        if self._progress is not None:
            self._progress.shown()

    def _obey(self, message: dict[str, Any]) -> None:
        word = final_of(message)
        if word is not None:
            content = message[word]
            self._final = content if isinstance(content, dict) else {word: content}
        elif "window" in message:
            before, self._window = self._window, granted(self._window, message)
            if self._progress is not None:
                self._progress.taken(self._window - before)
        elif "started" in message:
            started = message["started"] if isinstance(message["started"], dict) else {}
            if self._progress is not None:
                self._progress.begin(started)
                self._begin_input(self._progress, started)
            if self._on_started is not None:
                self._on_started(started)
        elif self._progress is not None:
            self._progress.obey(message)

    def _forward_signals(self) -> None:
        self._forwarding = True
        try:
            while self._arrived:
                self._forward(self._arrived.pop(0))
            self._stream.flush()
        finally:
            self._forwarding = False

    def _forward(self, number: int) -> None:
        if number == signal.SIGWINCH:
            if self._tty_fd is not None and not self._stream.closed:
                self._stream.queue_text(json.dumps({"resize": terminals.size(self._tty_fd)}))
            return
        if number == signal.SIGALRM:
            if self._ending:
                raise _Stopped(self._ending)
            return
        if self._detach is not None and number in (signal.SIGTERM, signal.SIGHUP):
            raise _Stopped(number)
        if not self._stream.closed:  # Else the command has ended, and only its output is still on its way out.
            self._stream.queue_text(json.dumps({"signal": _name(number)}))
        if number == signal.SIGINT and not self._interrupted:
            self._interrupted = True
        elif number != signal.SIGINT and not self._ending:
            self._ending = number
            # A timer and not a deadline in poll: our own output may be stuck, and a signal gets out of that too.
            signal.setitimer(signal.ITIMER_REAL, GRACE_S)
        else:
            raise _Stopped(number)


def _guarded(loop: _Loop, wakeup: int | None = None) -> dict[str, Any]:
    """The loop's result, with its early ends turned into what they mean for the caller."""
    try:
        return loop.run(wakeup)
    except BrokenPipeError:
        return _ended_here(_PIPE_CODE, "PIPE")
    except _Stopped as stopped:
        if stopped.number == signal.SIGINT:
            raise KeyboardInterrupt from None
        return _ended_here(128 + stopped.number, _name(stopped.number))


def _ended_here(code: int, name: str) -> dict[str, Any]:
    return {"code": code, "signal": name, "timeout": False, "ended_here": True}


def _name(number: int) -> str:
    return signal.Signals(number).name.removeprefix("SIG")
