"""Measures `npm ci` and `pip install` in a machine, with and without the package cache, against the same on this host.

    bench/cache.py                 two projects of npm, one of pip, three rounds each, alternating
    bench/cache.py --rounds 1 --rtt-ms 40 --mbit 100

The host has the machine's own Node and npm, copied out of the image, and begins each round without any cache. It
installs twice: from the registries as they are here, and over a longer and narrower line, which the bench makes.
Needs a container engine with the `docker` client. Times are the best of the rounds: what else runs here only adds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from run import CLI, ROOT, call, image_reference

BIG = {
    "name": "big",
    "version": "1.0.0",
    "private": True,
    "dependencies": {"express": "4.21.2", "react": "18.3.1", "react-dom": "18.3.1"},
    "devDependencies": {
        "@babel/core": "7.28.0",
        "@babel/preset-env": "7.28.0",
        "@babel/preset-react": "7.27.1",
        "babel-loader": "10.0.0",
        "eslint": "8.57.1",
        "jest": "29.7.0",
        "typescript": "5.8.3",
        "webpack": "5.99.9",
        "webpack-cli": "6.0.1",
        "webpack-dev-server": "5.2.2",
    },
}
PIP = ("flask==3.1.2", "sqlalchemy==2.0.43", "pandas==2.3.2")


class Line:
    """A proxy that makes the way to the registries as long and narrow as a person's own line."""

    def __init__(self, *, rtt_s: float, bytes_per_s: float) -> None:
        self.port = 0
        self._rtt_s = rtt_s
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        self._ready.wait()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0, limit=2**20)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode().rpartition(":")
        await asyncio.sleep(self._rtt_s)  # TCP's own greeting
        far_reader, far_writer = await asyncio.open_connection(host, int(port), limit=2**20)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each piece arrives half a round trip and its own length on the line later."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def deliver() -> None:
            while True:
                at, data = await waiting.get()
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            writer.close()

        delivering = asyncio.create_task(deliver())
        try:
            data = b"-"
            while data:
                data = await reader.read(65536)
                now = time.monotonic()
                self._free_at = max(now, self._free_at) + len(data) / self._bytes_per_s
                await waiting.put((self._free_at + self._rtt_s / 2, data))
            await delivering
        except ConnectionError:
            delivering.cancel()


def seconds(work: Callable[[], object]) -> float:
    """Wall time."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def copy_node(folder: Path) -> None:
    """The image's own Node and npm, for the host."""
    container = call(["docker", "create", image_reference()]).stdout.decode().strip()
    try:
        (folder / "lib").mkdir(parents=True)
        call(["docker", "cp", f"{container}:/usr/local/bin/node", str(folder / "node")])
        call(["docker", "cp", f"{container}:/usr/local/lib/node_modules/npm", str(folder / "lib" / "npm")])
    finally:
        call(["docker", "rm", container])


@contextmanager
def machine(*words: str) -> Iterator[str]:
    """A machine that is deleted at the end."""
    made = json.loads(call([CLI, "start", "--json", *words], stderr=subprocess.DEVNULL).stdout)["id"]
    try:
        yield made
    finally:
        call([CLI, "delete", made], stderr=subprocess.DEVNULL)


class Host:
    """The same work on this host, each time without any cache."""

    def __init__(self, base: Path, line: Line) -> None:
        self.base = base
        self.line = line
        copy_node(base / "node")

    def npm_ci(self, project: Path, *, slow: bool = False) -> float:
        """Seconds of `npm ci`."""
        work, cache = self.base / "work", self.base / "npm-cache"
        shutil.copytree(project, work, ignore=shutil.ignore_patterns("node_modules"))
        words = [str(self.base / "node" / "node"), str(self.base / "node" / "lib" / "npm" / "bin" / "npm-cli.js"), "ci"]
        try:
            env = self.environment(slow=slow)
            return seconds(lambda: call([*words, "--cache", str(cache)], cwd=work, env=env, **QUIET))
        finally:
            shutil.rmtree(work)
            shutil.rmtree(cache, ignore_errors=True)

    def pip(self, *, slow: bool = False) -> float:
        """Seconds of `pip install` into a new environment, which is made before."""
        place = self.base / "venv"
        python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else "python3"
        call([python, "-m", "venv", str(place)])
        words = [str(place / "bin" / "pip"), "install", "-q", "--no-cache-dir", *PIP]
        try:
            return seconds(lambda: call(words, env=self.environment(slow=slow), **QUIET))
        finally:
            shutil.rmtree(place)

    def environment(self, *, slow: bool) -> dict[str, str]:
        """The variables of the host's tools; slow: through the line."""
        kept = ("PATH", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "HTTPS_PROXY", "NO_PROXY")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        env |= {"HOME": str(self.base), "PATH": f"{self.base / 'node'}:{env['PATH']}"}
        if slow:
            env |= {"HTTPS_PROXY": f"http://127.0.0.1:{self.line.port}", "NO_PROXY": ""}
        return env


QUIET = {"stderr": subprocess.DEVNULL}


def in_machine(command: str, prepare: str, *words: str) -> float:
    """Seconds of a command in a new machine, as somebody outside sees them."""
    with machine(*words) as made:
        call([CLI, "ssh", made, prepare], **QUIET)
        return seconds(lambda: call([CLI, "ssh", made, command], **QUIET))


def measures(host: Host, kind: str, project: Path | None) -> dict[str, Callable[[], float]]:
    """What is measured of one kind of work."""
    if project is not None:
        there, words, command, prepare = project, (str(project),), "npm ci", "true"
        on_host: Callable[..., float] = lambda **more: host.npm_ci(there, **more)  # noqa: E731
    else:
        words, prepare = (), "python3 -m venv v"
        command, on_host = f"v/bin/pip install -q {' '.join(PIP)}", host.pip
    return {
        "host": on_host,
        "host behind a line": lambda: on_host(slow=True),
        "machine, no cache": lambda: in_machine(command, prepare, "--no-package-cache", *words),
        "machine, warm cache": lambda: in_machine(command, prepare, *words),
    }


def show(kind: str, best: Mapping[str, float]) -> None:
    """One block of figures."""
    host, slow = best["host"], best["host behind a line"]
    print(f"{kind}")
    for name, value in best.items():
        print(f"  {name:<22} {value:6.2f} s   {value / host:5.2f}x host   {value / slow:5.2f}x host behind the line")


def main() -> None:
    """Everything, in a router of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rtt-ms", type=float, default=40, help="of the line")
    parser.add_argument("--mbit", type=float, default=20, help="a second, of the line")
    args = parser.parse_args()
    line = Line(rtt_s=args.rtt_ms / 1000, bytes_per_s=args.mbit * 125_000)
    base = Path(tempfile.mkdtemp(prefix="cr-bench-"))
    os.environ |= {"CLOUDROUTER_STATE_DIR": f"{base}/state", "CLOUDROUTER_RUNTIME_DIR": f"{base}/run"}
    try:
        host = Host(base, line)
        big = base / "big"
        big.mkdir()
        (big / "package.json").write_text(json.dumps(BIG))
        lock = ["install", "--package-lock-only", "--ignore-scripts", "--cache", str(base / "lock-cache")]
        npm = [str(base / "node" / "node"), str(base / "node" / "lib" / "npm" / "bin" / "npm-cli.js")]
        call([*npm, *lock], cwd=big, env=host.environment(slow=False), **QUIET)
        for kind, project in (
            ("npm ci, todo-web", ROOT / "examples" / "todo-web"),
            ("npm ci, webpack + jest + eslint + babel", big),
            (f"pip install {' '.join(PIP)}", None),
        ):
            found = measures(host, kind, project)
            found["machine, warm cache"]()  # fills the cache
            taken = [{name: measure() for name, measure in found.items()} for _ in range(args.rounds)]
            show(kind, {name: min(one[name] for one in taken) for name in found})
        print(call([CLI, "cache", "status", "--json"]).stdout.decode())
    finally:
        call([CLI, "uninstall", "--machines", "--yes"], **QUIET)
        call([CLI, "server", "stop"], **QUIET)
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
