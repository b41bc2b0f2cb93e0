"""How far things are, on stderr: one live line on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time

from cloudrouter.cli import output
from cloudrouter.wire.sizes import format_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

REDRAW_S = 0.1


class LiveLine:
    """A line on stderr that is written over; on anything but a terminal it writes nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.live = output.is_terminal(sys.stderr)
        self._clock = clock
        self._shown = ""
        self._drawn_at = 0.0

    def show(self, text: str, *, at_once: bool = True) -> None:
        """Put the text in place of what stands there; without at_once not more than ten times a second."""
        now = self._clock()
        if not self.live or text == self._shown or (not at_once and now - self._drawn_at < REDRAW_S):
            return
        self._shown, self._drawn_at = text, now
        line = output.cut(output.escape(text), output.terminal_width(sys.stderr) - 1)
        self._write(f"\r\x1b[K{output.paint(line, 'dim', sys.stderr)}")

    def clear(self) -> None:
        """Leave an empty line, where something else may be written."""
        if self._shown:
            self._shown = ""
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()


class StartProgress:
    """Shows the phases of `client.launch.launch`, and remembers what became of the machine."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.line = LiveLine()
        self.machine_id = ""
        """Known from the moment the router has told it."""
        self.fate = ""
        """`ready`, `removing`, `removed`, `kept`, `unkept` or `unknown`; empty before."""
        self._quiet = quiet
        self._said = ""
        self._lines = ForeignLines()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """One event of the launch."""
        phase = str(event.get("phase"))
        if event.get("id"):
            self.machine_id = str(event["id"])
        if phase in ("ready", "removing", "removed", "kept", "unkept", "unknown"):
            self.fate = phase
        if phase in ("command", "output", "commanded"):
            self._show_command(phase, event)
            return
        if phase in ("ready", "removed", "kept", "unkept", "unknown"):
            self.line.clear()
            return
        text = self._text(phase, event)
        if text:
            self.line.show(text, at_once=phase != "uploading")
            if not self.line.live and self._matters(phase, event):
                self._say_plainly(text)

    def _show_command(self, phase: str, event: Mapping[str, Any]) -> None:
        """A command of the start, and below it what it prints."""
        if phase == "output":
            self._lines.take(bytes(event["data"]))
            return
        self._lines.finish()
        if phase == "command":
            self.line.clear()
            place = f" ({event['at']}/{event['of']})" if event["of"] > 1 else ""
            output.note(output.paint(f"$ {output.escape(event['command'])}{place}", "bold", sys.stderr))

    def _text(self, phase: str, event: Mapping[str, Any]) -> str:
        if phase in ("booting", "building"):
            return step_text(event["progress"]) if isinstance(event.get("progress"), dict) else ""
        if phase == "uploading":
            return transfer_text("sending", event)
        return {
            "selecting": "looking through the folder",
            "sending": "sending the folder to be built",
            "sending_app": f"sending the app {event.get('folder', '')}",
            "creating": "making the machine",
            "created": f"{self.machine_id} boots",
            "removing": f"removing {self.machine_id} again",
            "reconnecting": "the router went away; connecting again",
        }.get(phase, "")

    def _matters(self, phase: str, event: Mapping[str, Any]) -> bool:
        """Whether a phase is worth a line of its own: numbered steps take long, the others are over soon."""
        if phase in ("booting", "building"):
            return bool(event["progress"].get("of"))
        return phase in ("removing", "reconnecting") or (phase == "created" and not self._quiet)

    def _say_plainly(self, text: str) -> None:
        """One plain line, each text once."""
        if text != self._said:
            self._said = text
            output.note(output.escape(text))


class ForeignLines:
    """What a command in a machine prints, as lines on stderr below our own; nothing in it can harm a terminal."""

    LIMIT = 8 * 1024

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> None:
        """Show the whole lines; a line without an end waits, unless it is very long."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._show(line)
        if len(self._rest) > self.LIMIT:
            self.finish()

    def finish(self) -> None:
        """Show what waits still."""
        if self._rest:
            self._show(self._rest)
        self._rest = b""

    def _show(self, line: bytes) -> None:
        # Of a line that was written over again and again, its last state.
        text = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace").expandtabs(4)
        output.note(f"  {output.escape(text)}")


class TransferProgress:
    """Shows how far an upload or download is; silent where there is no terminal."""

    def __init__(self, word: str) -> None:
        self.line = LiveLine()
        self._word = word

    def __call__(self, event: Mapping[str, Any]) -> None:
        """One event of `client.transfer`."""
        self.line.show(transfer_text(self._word, event), at_once=False)


def step_text(step: Mapping[str, Any]) -> str:
    """One step of long work: `core 3/9: Node 24`; empty for a message that is none."""
    return str(step.get("step") or "")


def transfer_text(word: str, event: Mapping[str, Any]) -> str:
    """`sending 120 of 214 files, 612 KiB of 1.2 MiB (8.1 MiB/s)`."""
    files, size = f"{event['files']:,}", format_bytes(event["bytes"])
    if "total_files" in event:
        files += f" of {event['total_files']:,}"
        size += f" of {format_bytes(event['total_bytes'])}"
    return f"{word} {files} files, {size} ({format_bytes(event['rate'])}/s)"


def files_text(files: int, size: int) -> str:
    """`214 files (1.2 MiB)`."""
    return f"{files:,} file{'' if files == 1 else 's'} ({format_bytes(size)})"
