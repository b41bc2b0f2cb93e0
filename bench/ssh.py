"""Measures ssh into a machine against ssh to a plain sshd on a loopback port, in the same run, alternating.

    bench/ssh.py                   fifteen connections, three copies of 1 GB
    bench/ssh.py --rounds 5 --copies 1 --megabytes 100

Needs a container engine with the `docker` client, and OpenSSH's client. The plain sshd is the image's own, in a
container on this host's network: same program, same files below it, nothing of ours.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from run import CLI, Table, alternate, call, image_reference, start, wall_ms

PORT = 40022
AT_ONCE = 50
READY_S = 20.0
PLAIN = """
Host plain
    HostName 127.0.0.1
    Port {port}
    User user
    IdentityFile {folder}/key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {folder}/known
    GlobalKnownHostsFile /dev/null
    GSSAPIAuthentication no
    BatchMode yes
"""
SETUP = (
    "mkdir -p /run/sshd; usermod -p '*' user; cp /bench/host /host; chmod 600 /host; mkdir -pm 700 /home/user/.ssh; "
    "cp /bench/key.pub /home/user/.ssh/authorized_keys; chown -R user:user /home/user/.ssh; "
    "exec /usr/sbin/sshd -D -e -p {port} -h /host -o ListenAddress=127.0.0.1 -o UsePAM=no"
)


class Way:
    """One way in: a configuration and a host."""

    def __init__(self, config: Path, host: str) -> None:
        self.config = str(config)
        self.host = host

    def words(self, *options: str) -> list[str]:
        """`ssh ... true`."""
        return ["ssh", "-F", self.config, *options, self.host, "true"]

    def copy(self, file: Path) -> float:
        """MB/s of one scp into it."""
        began = time.perf_counter()
        call(["scp", "-q", "-F", self.config, str(file), f"{self.host}:/tmp/bench"])
        return file.stat().st_size / 1e6 / (time.perf_counter() - began)

    def at_once(self) -> float:
        """Seconds that fifty connections take together."""
        began = time.perf_counter()
        running = [subprocess.Popen(self.words()) for _ in range(AT_ONCE)]
        if any(process.wait() for process in running):
            raise SystemExit("a connection failed")
        return time.perf_counter() - began


def until(true: Sequence[str]) -> None:
    """Run it until it succeeds."""
    deadline = time.monotonic() + READY_S
    while subprocess.run(true, check=False, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode:
        if time.monotonic() > deadline:
            raise SystemExit(f"{true} did not succeed")
        time.sleep(0.1)


@contextmanager
def plain_sshd(base: Path) -> Iterator[Way]:
    """A plain sshd on a port of this host's loopback."""
    folder = base / "plain"
    folder.mkdir()
    for name in ("key", "host"):
        call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)])
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known").write_text(f"[127.0.0.1]:{PORT} {host_key}\n")
    (folder / "config").write_text(PLAIN.format(port=PORT, folder=folder))
    mount = f"{folder}:/bench:ro"
    words = ["docker", "run", "-d", "--network", "host", "-v", mount, image_reference(), "sh", "-c"]
    container = call([*words, SETUP.format(port=PORT)]).stdout.decode().strip()
    try:
        way = Way(folder / "config", "plain")
        until(way.words())
        yield way
    finally:
        call(["docker", "rm", "-f", container])


@contextmanager
def master(way: Way, base: Path) -> Iterator[list[str]]:
    """A connection that further commands share; their words."""
    path = base / f"{way.host}.control"
    option = ("-o", f"ControlPath={path}")
    with subprocess.Popen(["ssh", "-F", way.config, *option, "-M", "-N", way.host]) as process:
        until(["ssh", "-F", way.config, *option, "-O", "check", way.host])
        try:
            yield way.words(*option)
        finally:
            process.terminate()


def compare(table: Table, ours: Way, plain: Way, base: Path, args: argparse.Namespace) -> None:
    """Every figure that has a budget."""
    mine, theirs = (
        statistics.median(column)
        for column in alternate(args.rounds, lambda: wall_ms(ours.words()), lambda: wall_ms(plain.words()))
    )
    more = mine - theirs
    table.add("ssh ID true", f"{mine:.0f} ms", f"plain {theirs:.0f} ms", f"{more:+.0f} ms", "+ 80 ms", more <= 80)
    with master(ours, base) as first, master(plain, base) as second:
        columns = alternate(args.rounds * 2, lambda: wall_ms(first), lambda: wall_ms(second))
    mine, theirs = (statistics.median(column) for column in columns)
    more = mine - theirs
    name = "second command, ControlMaster"
    table.add(name, f"{mine:.1f} ms", f"plain {theirs:.1f} ms", f"{more:+.1f} ms", "+ 5 ms", more <= 5)
    file = base / "file"
    with file.open("wb") as out:
        for _ in range(args.megabytes):
            out.write(os.urandom(1_000_000))
    columns = alternate(args.copies, lambda: ours.copy(file), lambda: plain.copy(file))
    mine, theirs = (statistics.median(column) for column in columns)
    ratio = mine / theirs
    name = f"scp of {args.megabytes} MB"
    table.add(name, f"{mine:.0f} MB/s", f"plain {theirs:.0f} MB/s", f"{ratio:.2f}x", "0.6x", ratio >= 0.6)


def tell_more(ours: Way, rounds: int) -> None:
    """Figures without a budget: by name, where each connection has its certificate made, and fifty at once."""
    named = statistics.median(wall_ms(Way(Path(ours.config), "bench.cr").words()) for _ in range(rounds))
    print(f"  by name, certificate made each time  {named:.0f} ms")
    print(f"  {AT_ONCE} connections at once  {ours.at_once():.1f} s")


def main() -> int:
    """Measure and print; the status is 1 when a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--copies", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cr-bench-") as folder:
        base = Path(folder)
        os.environ |= {"CLOUDROUTER_STATE_DIR": f"{base}/state", "CLOUDROUTER_RUNTIME_DIR": f"{base}/run"}
        machine = start("--image", "core", "--name", "bench")
        table = Table()
        try:
            call([CLI, "ssh-config"], stderr=subprocess.DEVNULL)
            ours = Way(base / "state" / "ssh-client" / "config", machine)
            with plain_sshd(base) as plain:
                compare(table, ours, plain, base, args)
            tell_more(ours, args.rounds)
        finally:
            call([CLI, "delete", machine], stderr=subprocess.DEVNULL)
            call([CLI, "server", "stop"], stderr=subprocess.DEVNULL)
    return 0 if all(row["ok"] for row in table.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
