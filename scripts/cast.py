"""The moving picture of the README, made from a real run: `cast.py record` runs the session, `cast.py render` draws it.

The recording (docs/assets/demo.cast, asciicast 2) keeps every byte with its time. The script plays the typing, and long
pauses are shortened when it is drawn; everything else is as it was.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import pyte

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "docs" / "assets"
CAST, MOVING, STILL = ASSETS / "demo.cast", ASSETS / "demo.svg", ASSETS / "demo-still.svg"
COLUMNS, ROWS = 92, 24
PROMPT = "\x1b[1;32m$\x1b[0m "
SESSION = (
    "cloudrouter start ./todo-web",
    'cloudrouter ssh todo-web "npm ci --silent && npm test --silent 2>&1 | tail -8"',
    'cloudrouter ssh --bg todo-web "npm run dev"',
    "cloudrouter wait todo-web --port 3000",
    "cloudrouter browser open todo-web localhost:3000",
    "cloudrouter browser snapshot -i todo-web",
    "cloudrouter browser fill todo-web @e2 'Water the plants'",
    "cloudrouter browser click todo-web @e3",
    "cloudrouter browser get-text todo-web '[role=status]'",
    "cloudrouter browser screenshot todo-web page.png",
    'cloudrouter ssh todo-web "npm run build --silent"',
    "cloudrouter download todo-web dist ./dist",
    "cloudrouter delete todo-web",
)
A_KEY_S, READING_S, END_S = 0.03, 0.9, 4.0
LONGEST_PAUSE = 2.0
FRAME_S = 0.1


# -- recording ------------------------------------------------------------------------------------------------------


class Recorder:
    """Bytes with the time at which they came."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str]] = []
        self.now = 0.0

    def put(self, text: str) -> None:
        """What is on the terminal now."""
        self.events.append((round(self.now, 3), text))

    def type(self, line: str) -> None:
        """A line as somebody types it."""
        for key in line:
            self.now += A_KEY_S
            self.put(key)
        self.now += 0.2
        self.put("\r\n")

    def run(self, line: str, folder: str, environ: dict[str, str]) -> int:
        """Run a line in a terminal of its own; its output with the times that it really took."""
        mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        began = time.monotonic()
        start = self.now
        child = subprocess.Popen(
            ["bash", "-c", line], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environ,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        rest = b""
        while True:
            try:
                data = os.read(mine, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not data:
                break
            self.now = start + time.monotonic() - began
            rest = self._put_whole(rest + data)
        os.close(mine)
        code = child.wait()
        self.now = start + time.monotonic() - began
        return code

    def _put_whole(self, data: bytes) -> bytes:
        """Everything but a character that has not come whole yet, which is returned."""
        for cut in range(4):
            try:
                self.put(data[: len(data) - cut].decode())
            except UnicodeDecodeError:
                continue
            return data[len(data) - cut :]
        self.put(data.decode("utf-8", "replace"))
        return b""


def record() -> int:
    """Run the session on a copy of examples/todo-web, with a router of its own, and keep it."""
    recorder = Recorder()
    with tempfile.TemporaryDirectory(prefix="cloudrouter-cast-") as folder:
        shutil.copytree(ROOT / "examples" / "todo-web", f"{folder}/todo-web", ignore=shutil.ignore_patterns("node_*"))
        own = {
            "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
            "TERM": "xterm-256color",
            "CLOUDROUTER_STATE_DIR": f"{folder}/.state",
            "CLOUDROUTER_RUNTIME_DIR": f"{folder}/.run",
        }
        environ = {**os.environ, **own}
        try:
            failed = _play(recorder, folder, environ)
        finally:
            program = f"{ROOT}/.venv/bin/cloudrouter"
            subprocess.run(
                [program, "uninstall", "--machines", "--state", "-y"], env=environ, capture_output=True, check=False
            )
    if failed:
        print(f"this failed, nothing is kept: {failed}", file=sys.stderr)
        print("".join(text for _at, text in recorder.events), file=sys.stderr)
        return 1
    head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "CloudRouter", "timestamp": int(time.time())}
    lines = [json.dumps(head), *(json.dumps([at, "o", text]) for at, text in recorder.events)]
    CAST.write_text("\n".join(lines) + "\n")
    return 0


def _play(recorder: Recorder, folder: str, environ: dict[str, str]) -> str:
    """Type and run every line; the one that failed, or nothing."""
    # The router and the first look at the image belong to the first start of a day, not to the session.
    subprocess.run(["cloudrouter", "ls"], env=environ, cwd=folder, capture_output=True, check=False)
    recorder.put(PROMPT)
    for line in SESSION:
        recorder.now += 0.4
        recorder.type(line)
        code = recorder.run(line, folder, environ)
        if code != 0:
            return f"{line} ended with {code}"
        recorder.now += READING_S / 3
        recorder.put(PROMPT)
        recorder.now += READING_S
    return ""


# -- drawing --------------------------------------------------------------------------------------------------------

Run = tuple[int, str, str]
"""(column, style, text) of neighbouring characters that look alike."""
Row = tuple[Run, ...]


class Frame(NamedTuple):
    """What the terminal shows from a moment on."""

    at: float
    rows: tuple[Row, ...]


PALETTE = {
    "red": "#ff7b72", "green": "#7ee787", "brown": "#e3b341", "blue": "#79c0ff", "magenta": "#d2a8ff",
    "cyan": "#76e3ea", "white": "#f0f6fc", "black": "#8b949e", "brightblack": "#8b949e", "brightred": "#ffa198",
    "brightgreen": "#7ee787", "brightblue": "#79c0ff", "brightcyan": "#b3f0ff", "brightmagenta": "#d2a8ff",
    "brightbrown": "#f2cc60", "brightyellow": "#f2cc60",
}  # fmt: skip


def frames_of(cast: str) -> list[Frame]:
    """The pictures of a recording, at most one every FRAME_S, pauses shortened."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    found: list[Frame] = []
    shown_at, before = 0.0, 0.0
    for line in cast.splitlines()[1:]:
        at, _kind, text = json.loads(line)
        shown_at += min(at - before, LONGEST_PAUSE)
        before = at
        stream.feed(text)
        frame = Frame(round(shown_at, 2), tuple(_row(screen, y) for y in range(ROWS)))
        if found and frame.at - found[-1].at < FRAME_S:
            found[-1] = Frame(found[-1].at, frame.rows)
        elif not found or frame.rows != found[-1].rows:
            found.append(frame)
    return found


def _row(screen: pyte.Screen, y: int) -> Row:
    runs: list[Run] = []
    cells = screen.buffer[y]
    for x in range(COLUMNS):
        cell = cells[x]
        style = _style(cell)
        if runs and runs[-1][1] == style and runs[-1][0] + len(runs[-1][2]) == x:
            runs[-1] = (runs[-1][0], style, runs[-1][2] + cell.data)
        elif cell.data.strip():
            runs.append((x, style, cell.data))
    return tuple((x, style, text.rstrip()) for x, style, text in runs)


def _style(cell: pyte.screens.Char) -> str:
    colour = PALETTE.get(cell.fg, f"#{cell.fg}" if len(cell.fg) == 6 else "")
    return " ".join(filter(None, (colour, "bold" if cell.bold else "")))


WIDE, HIGH, EDGE, TOP = 8.4, 19, 16, 40
HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">
<style>
text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#e6edf3;white-space:pre}}
.b{{font-weight:700}}{colours}
{motion}
</style>
<rect width="100%" height="100%" rx="10" fill="#0d1117" stroke="#30363d"/>
<circle cx="20" cy="19" r="6" fill="#ff5f57"/><circle cx="40" cy="19" r="6" fill="#febc2e"/>
<circle cx="60" cy="19" r="6" fill="#28c840"/>
<text x="50%" y="24" text-anchor="middle" style="fill:#8b949e">{title}</text>
<clipPath id="c"><rect x="0" y="{top}" width="100%" height="{inside:g}"/></clipPath>
"""
LABEL = (
    "A terminal: a folder becomes a machine, its tests run there, a dev server starts in the background and is waited "
    "for, its page is opened in the machine's browser, read, filled and pictured, the build is fetched, the machine is "
    "deleted."
)


def draw(frames: list[Frame], *, moving: bool) -> str:
    """The pictures as one SVG: a strip that moves up by steps, or the last picture alone."""
    if not moving:
        frames = frames[-1:]
    rows = list(dict.fromkeys(row for frame in frames for row in frame.rows if row))
    names = {row: f"r{number:x}" for number, row in enumerate(rows)}
    styles = sorted({style for row in rows for _x, style, _text in row if style})
    classes = {style: f"s{number}" for number, style in enumerate(styles)}
    inside = ROWS * HIGH + 8
    parts = [
        HEAD.format(
            width=COLUMNS * WIDE + 2 * EDGE, height=TOP + inside + 10, top=TOP - 4, inside=inside + 4, label=LABEL,
            title="cloudrouter, recorded on one host" + ("" if moving else " (last picture)"),
            colours="".join(_rule(style, name) for style, name in classes.items()),
            motion=_motion(frames, inside) if moving else "",
        ),
        "<defs>", *(_drawn_row(row, names[row], classes) for row in rows), "</defs>",
        '<g clip-path="url(#c)"><g class="strip">',
    ]  # fmt: skip
    for number, frame in enumerate(frames):
        used = [f'<use href="#{names[row]}" y="{y * HIGH}"/>' for y, row in enumerate(frame.rows) if row]
        parts.append(f'<g transform="translate({EDGE} {TOP + 14 + number * inside:g})">{"".join(used)}</g>')
    return "\n".join([*parts, "</g></g>", "</svg>"]) + "\n"


def _rule(style: str, name: str) -> str:
    colour = style.removesuffix("bold").strip()
    return f".{name}{{{f'fill:{colour}' if colour else ''}{';font-weight:700' if style.endswith('bold') else ''}}}"


def _drawn_row(row: Row, name: str, classes: dict[str, str]) -> str:
    drawn = [
        f'<text x="{x * WIDE:g}"{f" class={chr(34)}{classes[style]}{chr(34)}" if style else ""}>{escape(text)}</text>'
        for x, style, text in row
    ]
    return f'<g id="{name}">{"".join(drawn)}</g>'


def _motion(frames: list[Frame], inside: float) -> str:
    """Keyframes without movement between them; the last picture stays, and alone where motion is not wanted."""
    whole = frames[-1].at + END_S
    steps = "".join(
        f"{100 * frame.at / whole:.2f}%{{transform:translateY({-number * inside:g}px)}}"
        for number, frame in enumerate(frames)
    )
    last = f"transform:translateY({-(len(frames) - 1) * inside:g}px)"
    return (
        f"@keyframes m{{{steps}100%{{{last}}}}}.strip{{animation:m {whole:.1f}s step-end infinite}}"
        f"@media(prefers-reduced-motion:reduce){{.strip{{animation:none;{last}}}}}"
    )


def pictures() -> dict[Path, str]:
    """path -> what the recording is drawn as."""
    frames = frames_of(CAST.read_text())
    return {MOVING: draw(frames, moving=True), STILL: draw(frames, moving=False)}


def main(argv: list[str]) -> int:
    """`record` and draw, or only draw again (`render`)."""
    if argv == ["record"]:
        failed = record()
        if failed:
            return failed
    elif argv != ["render"]:
        print(__doc__, file=sys.stderr)
        return 2
    for path, text in pictures().items():
        path.write_text(text)
        print(f"{path.relative_to(ROOT)}  {len(text) / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
