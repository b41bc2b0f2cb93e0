"""Measures the gateway against nginx, both in front of the same nginx inside a machine, in the same run, alternating.

    bench/gateway.py               five rounds
    bench/gateway.py --rounds 1 --seconds 2

Needs a container engine with the `docker` client, and nginx, wrk and curl here (apt-get install nginx-light wrk curl).
The page has 2 KB; the file has 256 MB. Both proxies have one worker, and keep their connections to the machine.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from run import CLI, Table, alternate, call, container_of, start

INNER_PORT = 8088
PAGE_BYTES = 2048
FILE_BYTES = 256 * 2**20
INNER = """
daemon on; worker_processes 1; pid /tmp/inner/nginx.pid; error_log /tmp/inner/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000000;
  client_body_temp_path /tmp/inner/a; proxy_temp_path /tmp/inner/b; fastcgi_temp_path /tmp/inner/c;
  uwsgi_temp_path /tmp/inner/d; scgi_temp_path /tmp/inner/e;
  server {{ listen {port}; root /tmp/inner/www; }}
}}
"""
OUTER = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream inner {{ server {inner}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://inner; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_max_temp_file_size 0;
    }}
  }}
}}
"""
NAVIGATION = ("Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html")


class Way:
    """One way to the server inside: where it is, and what it wants to be told."""

    def __init__(self, url: str, headers: tuple[str, ...] = ()) -> None:
        self.url = url
        self.flags = [word for header in headers for word in ("-H", header)]

    def load(self, connections: int, seconds: int) -> tuple[float, float]:
        """Requests a second, and the median in ms."""
        words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *self.flags, f"{self.url}/page.html"]
        text = call(words).stdout.decode()
        if "Non-2xx" in text or "Socket errors" in text:
            raise SystemExit(f"not all requests were answered:\n{text}")
        rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
        median = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
        if rate is None or median is None:
            raise SystemExit(f"wrk said something else:\n{text}")
        return float(rate[1]), float(median[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[median[2]]

    def download(self) -> float:
        """MB/s."""
        began = time.perf_counter()
        words = ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{size_download}", *self.flags]
        size = int(call([*words, f"{self.url}/file.bin"]).stdout)
        if size != FILE_BYTES:
            raise SystemExit(f"{size} bytes of {FILE_BYTES} came")
        return size / 1e6 / (time.perf_counter() - began)


def serve_inside(machine: str) -> None:
    """nginx with a page and a file inside the machine."""
    script = (
        "set -e; sudo apt-get update -qq; sudo apt-get install -y -qq nginx-light >/dev/null; "
        "mkdir -p /tmp/inner/www; cat > /tmp/inner/nginx.conf; "
        f"head -c {PAGE_BYTES} /dev/zero | tr '\\0' x > /tmp/inner/www/page.html; "
        f"head -c {FILE_BYTES} /dev/zero > /tmp/inner/www/file.bin; /usr/sbin/nginx -c /tmp/inner/nginx.conf"
    )
    call([CLI, "ssh", machine, script], input=INNER.format(port=INNER_PORT).encode(), stderr=subprocess.DEVNULL)


def through_gateway(machine: str) -> Way:
    """The way of somebody who was let in."""
    opened = call([CLI, "open", machine, str(INNER_PORT)], stderr=subprocess.DEVNULL).stdout.decode().strip()
    place = urlsplit(opened)
    here = ["--connect-to", f"::127.0.0.1:{place.port}"]
    flags = [word for header in NAVIGATION for word in ("-H", header)]
    answer = call(["curl", "-sS", "-i", *here, *flags, opened]).stdout.decode()
    cookie = re.search(r"(?im)^set-cookie: ([^;\r\n]+)", answer)
    if cookie is None:
        raise SystemExit(f"the ticket was not taken:\n{answer}")
    headers = (f"Host: {place.netloc}", f"Cookie: {cookie[1]}", "Sec-Fetch-Site: same-origin")
    return Way(f"http://127.0.0.1:{place.port}", headers)


@contextmanager
def through_nginx(machine: str) -> Iterator[Way]:
    """nginx on this host, straight to the container's address."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = call(["docker", "inspect", "-f", form, container_of(machine)]).stdout.decode().strip()
    port = 18088
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder, "nginx.conf")
        conf.write_text(OUTER.format(folder=folder, inner=f"{address}:{INNER_PORT}", port=port))
        with subprocess.Popen(["nginx", "-c", str(conf)]) as server:
            try:
                call(["curl", "-sS", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "-o", "/dev/null",
                      f"http://127.0.0.1:{port}/page.html"])  # fmt: skip
                yield Way(f"http://127.0.0.1:{port}")
            finally:
                server.terminate()


def compare(table: Table, ours: Way, peer: Way, rounds: int, seconds: int) -> None:
    """Every figure that has a budget."""
    firsts: list[tuple[float, float]] = []
    peers: list[tuple[float, float]] = []

    def one(way: Way, found: list[tuple[float, float]], connections: int) -> float:
        found.append(way.load(connections, seconds))
        return found[-1][0]

    alternate(rounds, lambda: one(ours, firsts, 1), lambda: one(peer, peers, 1))
    p50, peer_p50 = (statistics.median(median for _, median in found[1:]) for found in (firsts, peers))
    name, more = "1 connection, p50", p50 - peer_p50
    table.add(name, f"{p50:.2f} ms", f"nginx {peer_p50:.2f} ms", f"+ {more:.2f} ms", "+ 1 ms", more <= 1.0)
    rates = alternate(rounds, lambda: ours.load(16, seconds)[0], lambda: peer.load(16, seconds)[0])
    rate, peer_rate = (statistics.median(column) for column in rates)
    name, ratio = "16 connections, requests/s", rate / peer_rate
    table.add(name, f"{rate:.0f}", f"nginx {peer_rate:.0f}", f"{ratio:.2f}x", "0.15x", ratio >= 0.15)
    speeds = alternate(rounds, ours.download, peer.download)
    speed, peer_speed = (statistics.median(column) for column in speeds)
    name, ratio = "256 MB down", speed / peer_speed
    table.add(name, f"{speed:.0f} MB/s", f"nginx {peer_speed:.0f} MB/s", f"{ratio:.2f}x", "0.5x", ratio >= 0.5)


def main() -> int:
    """Measure and print; the status is 1 when a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each load")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cr-bench-") as base:
        os.environ |= {"CLOUDROUTER_STATE_DIR": f"{base}/state", "CLOUDROUTER_RUNTIME_DIR": f"{base}/run"}
        machine = start("--image", "core")
        table = Table()
        try:
            serve_inside(machine)
            with through_nginx(machine) as peer:
                compare(table, through_gateway(machine), peer, args.rounds, args.seconds)
        finally:
            call([CLI, "delete", machine], stderr=subprocess.DEVNULL)
            call([CLI, "server", "stop"], stderr=subprocess.DEVNULL)
    return 0 if all(row["ok"] for row in table.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
