"""Somebody who drives a machine's browser with the command line, on the site below site/; and what pictures show."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Done, User

SITE = Path(__file__).parent / "site"
PORT = 8000
HOME = f"http://localhost:{PORT}"
BUILD_S = 900
CHANNELS = {2: 3, 6: 4}


class Surfer:
    """One session of the browser of one machine."""

    def __init__(self, user: User, machine: str, session: str = "") -> None:
        self.user = user
        self.machine = machine
        self.flags = ("--session", session) if session else ()

    def run(self, verb: str, *words: str | Path, **options: Any) -> Done:
        """`cloudrouter browser VERB ID WORDS`, however it ends."""
        return self.user.run("browser", verb, *self.flags, self.machine, *words, **options)

    def say(self, verb: str, *words: str | Path, **options: Any) -> str:
        """What a verb that succeeds prints, without the end of its last line."""
        done = self.run(verb, *words, **options)
        assert done.code == 0, f"browser {verb} {words} ended with {done.code}\n{done.out_text}\n{done.err_text}"
        return done.out_text.removesuffix("\n")

    def data(self, verb: str, *words: str | Path, **options: Any) -> Any:
        """What a verb that succeeds found, with `--json`."""
        answer = json.loads(self.say(verb, "--json", *words, **options))
        assert answer["verb"] == verb
        return answer["data"]

    def fault(self, verb: str, *words: str | Path, **options: Any) -> dict[str, Any]:
        """The error of a verb that fails."""
        done = self.run(verb, "--json", *words, **options)
        assert done.code != 0, done.out_text
        return dict(json.loads(done.out)["error"])

    def visit(self, page: str) -> None:
        """Open a page of the site."""
        self.say("open", f"{HOME}/{page}")

    def eval(self, script: str) -> Any:
        """What a script gives in the page."""
        return self.data("eval", script)["result"]

    def ref(self, role: str, name: str) -> str:
        """The @ref of an element in a new snapshot."""
        refs = self.data("snapshot", "-i")["refs"]
        (found,) = [ref for ref, one in refs.items() if (one["role"], one["name"]) == (role, name)]
        return f"@{found}"

    def sh(self, line: str) -> str:
        """Run a line in the machine."""
        return self.user.ok("ssh", self.machine, line).out_text

    def other(self, session: str) -> Surfer:
        """Somebody beside, on a session of their own."""
        return Surfer(self.user, self.machine, session)


def on_the_site(user: User) -> Surfer:
    """A new machine with a browser that was never started, and the site running in it."""
    machine = user.json("start", SITE, "--image", "desktop", timeout=BUILD_S)["id"]
    job = user.ok("ssh", machine, "--bg", f"exec python3 serve.py {PORT}").out_text.strip()
    user.ok("wait", machine, job, "--port", str(PORT))
    return Surfer(user, machine)


class Picture:
    """A PNG, decoded."""

    def __init__(self, file: Path) -> None:
        data = file.read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        self.width, self.height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        assert (data[24], data[28]) == (8, 0)
        self.channels = CHANNELS[data[25]]
        packed, at = b"", 8
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            if data[at + 4 : at + 8] == b"IDAT":
                packed += data[at + 8 : at + 8 + length]
            at += length + 12
        self.rows = self.unfilter(zlib.decompress(packed))

    def unfilter(self, plain: bytes) -> list[bytes]:
        """The rows, without what PNG does to make them smaller."""
        size, step = self.width * self.channels, self.channels
        rows, above = [], bytes(size)
        for start in range(0, len(plain), size + 1):
            above = unfilter_row(plain[start], plain[start + 1 : start + 1 + size], above, step)
            rows.append(above)
        return rows

    def colour(self, x: int, y: int) -> tuple[int, ...]:
        """Red, green and blue at a place."""
        return tuple(self.rows[y][x * self.channels : x * self.channels + 3])


def unfilter_row(kind: int, row: bytes, above: bytes, step: int) -> bytes:
    """One row, from what was written of it and the row above it; the kinds that plain areas have are the fast ones."""
    if kind == 0:
        return row
    if kind == 2:
        return bytes((mine + up) & 255 for mine, up in zip(row, above, strict=True))
    done = bytearray(row)
    for at in range(len(row)):
        left, up, corner = (done[at - step], above[at], above[at - step]) if at >= step else (0, above[at], 0)
        done[at] = (done[at] + guess(kind, left, up, corner)) & 255
    return bytes(done)


def guess(kind: int, left: int, up: int, corner: int) -> int:
    """What a filter of PNG takes a byte to be."""
    if kind < 4:
        return (0, left, up, (left + up) // 2)[kind]
    line = left + up - corner
    return min((left, up, corner), key=lambda one: abs(line - one))
