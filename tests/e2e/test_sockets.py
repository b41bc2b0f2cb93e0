"""Everything that listens, asked without any right to it: from the host, from machines, from a page in one."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Response, sync_playwright

from cloudrouter.wire.boot import GUEST_PORT
from cloudrouter.wire.packages import HOSTS
from tests.e2e.conftest import User
from tests.e2e.probing import PROBE, listening_tcp, listening_unix, processes_below

pytestmark = [pytest.mark.engine, pytest.mark.slow]

INNER = Path(__file__).parent / "inner_server.py"
PROBER = Path(__file__).parent / "probing.py"
OPEN, OTHER, HOME = 3000, 3001, 3002
"""Servers of the machine's user: on all addresses, and twice on its loopback."""
CDP = 9222
CACHE = {f"127.0.0.{number}" for number in range(77, 77 + len(HOSTS))}
"""Where a machine's package cache listens, inside the machine."""
BUILD_S = 1800


class Pair:
    """Two machines of one router, one of them with a desktop and Chromium on it."""

    def __init__(self, user: User) -> None:
        self.user = user
        done = user.json("start", "--apps", "desktop,browser", timeout=BUILD_S)
        self.machine, self.neighbour = str(done["id"]), user.start()
        for machine in (self.machine, self.neighbour):
            user.ok("ssh", machine, "cat > /tmp/inner.py", input=INNER.read_bytes())
            user.ok("ssh", machine, "cat > /tmp/probing.py", input=PROBER.read_bytes())
            user.ok("ssh", "--bg", machine, f"python3 /tmp/inner.py 0.0.0.0 {OPEN}")
            user.ok("wait", machine, "--port", str(OPEN))
        for port in (OTHER, HOME):
            user.ok("ssh", "--bg", self.machine, f"python3 /tmp/inner.py 127.0.0.1 {port}")
            user.ok("wait", self.machine, "--port", str(port))
        user.ok("apps", self.machine, "start", "browser")

    @property
    def router(self) -> int:
        """The router's process."""
        return int(self.user.json("server", "status")["pid"])

    @property
    def gateway(self) -> int:
        """The gateway's port."""
        port = urlsplit(self.user.json("server", "status")["gateway_url"]).port
        assert port is not None
        return port

    def address(self, machine: str) -> str:
        """The machine's in its network."""
        return self.user.ok("ssh", machine, "hostname -I").out_text.split()[0]

    def probe(self, machine: str, targets: list[tuple[str, int]], rights: str = "") -> dict[str, Any]:
        """What each target answers to somebody in the machine."""
        given = json.dumps(targets).encode()
        return dict(json.loads(self.user.ok("ssh", machine, f"{rights} python3 /tmp/probing.py", input=given).out))

    def hits(self, machine: str, port: int) -> list[str]:
        """What a server of the machine's user was asked for."""
        line = f"curl -s http://127.0.0.1:{port}/hits"
        return list(json.loads(self.user.ok("ssh", machine, line).out))


@pytest.fixture(scope="module")
def pair(resident: User) -> Pair:
    return Pair(resident)


def probe(targets: list[tuple[str, int]]) -> dict[str, Any]:
    """What each target answers to somebody on this host."""
    done = subprocess.run(PROBE, input=json.dumps(targets).encode(), capture_output=True, check=True, timeout=120)
    return dict(json.loads(done.stdout))


def host_addresses() -> list[str]:
    """All of this host, version 4."""
    found = subprocess.run(["hostname", "-I"], capture_output=True, check=True, text=True).stdout.split()
    return ["127.0.0.1", *(one for one in found if ":" not in one)]


# -- the host ---------------------------------------------------------------------------------------------------------


def test_on_the_host_only_the_gateway_answers_and_says_401(pair: Pair) -> None:
    processes = processes_below(pair.router)
    assert len(processes) >= 2, "the package cache is a process of its own"
    found = {place for pid in processes for place in listening_tcp(pid)}
    loopbacks = {("127.0.0.1", pair.gateway), ("::1", pair.gateway)}
    assert {("127.0.0.1", pair.gateway)} <= found <= loopbacks
    answers = probe(sorted(found))
    assert {word for answer in answers.values() for word in answer["statuses"]} == {401}
    assert not any(pair.machine in answer["body"] for answer in answers.values())


def test_containers_listen_nowhere_on_the_host(pair: Pair) -> None:
    label = f"label=cloudrouter.dev/router={pair.user.router_id()}"
    listed = subprocess.run(["docker", "ps", "-q", "--filter", label], capture_output=True, check=True, text=True)
    containers = listed.stdout.split()
    assert len(containers) >= 2
    ask = "{{.State.Pid}} {{json .NetworkSettings.Ports}} {{.HostConfig.NetworkMode}}"
    for container in containers:
        told = subprocess.run(
            ["docker", "inspect", "-f", ask, container], capture_output=True, check=True, text=True
        ).stdout.split(" ", 2)
        assert os.readlink(f"/proc/{told[0]}/ns/net") != os.readlink("/proc/self/ns/net")
        assert json.loads(told[1]) in ({}, None), "no port of a machine is published"
        assert not told[2].startswith("host")


def test_unix_sockets_of_the_router_are_its_users_alone(pair: Pair) -> None:
    paths = {path for pid in processes_below(pair.router) for path in listening_unix(pid)}
    socket_path = pair.user.json("server", "status")["socket"]
    ssh_path = f"{os.path.dirname(socket_path)}/ssh.sock"
    door = f"{pair.user.base}/state/packages/door/socket"
    assert socket_path in paths
    found = {path.removesuffix(".new") if "/fd/" not in path else door for path in paths}
    assert found == {socket_path, ssh_path, door}
    for path in (socket_path, ssh_path):
        assert mode(path) & 0o077 == 0
        assert mode(path) & 0o600 == 0o600
    assert mode(os.path.dirname(socket_path)) == 0o700
    # The cache's door is for any user of a machine that has it mounted; on the host nobody else comes near it.
    assert mode(door) == 0o666
    assert mode(f"{pair.user.base}/state/packages") == 0o700
    assert mode(f"{pair.user.base}/state") == 0o700
    for path in (socket_path, ssh_path, door, f"{pair.user.base}/state/packages"):
        assert os.lstat(path).st_uid == os.getuid()


def mode(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_another_user_of_the_host_reaches_no_unix_socket(pair: Pair) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else here")
    socket_path = pair.user.json("server", "status")["socket"]
    ssh_path = f"{os.path.dirname(socket_path)}/ssh.sock"
    paths = [socket_path, ssh_path, f"{pair.user.base}/state/packages/door/socket"]
    script = (
        "import json, os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "found = []\n"
        "for path in json.loads(sys.argv[1]):\n"
        "    try: socket.socket(socket.AF_UNIX).connect(path); found.append(path)\n"
        "    except PermissionError: pass\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run(["/usr/bin/python3", "-c", script, json.dumps(paths)], capture_output=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_caches_door_is_tls_for_the_registries_and_nothing_else(pair: Pair) -> None:
    door = f"{pair.user.base}/state/packages/door/socket"
    assert unix_says(door, b"GET /v1/machines HTTP/1.1\r\nHost: localhost\r\n\r\n")[:5] != b"HTTP/"
    curl = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-m", "20", "--unix-socket", door]
    other = subprocess.run([*curl, "https://localhost/v1/machines"], capture_output=True, check=False)
    assert other.stdout == b"000", "a name that is no registry's gets no answer at all"
    asked = [*curl, "-H", "Host: localhost", f"https://{HOSTS[0]}/v1/machines"]
    assert subprocess.run(asked, capture_output=True, check=False).stdout == b"421"


def unix_says(path: str, words: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)
        sock.sendall(words)
        try:
            return sock.recv(4096)
        except ConnectionError:
            return b""


# -- machines' addresses ----------------------------------------------------------------------------------------------


def test_from_the_host_a_machine_answers_only_by_its_guest_with_401_and_what_its_user_serves(pair: Pair) -> None:
    for machine in (pair.machine, pair.neighbour):
        address = pair.address(machine)
        answers = probe([(address, port) for port in range(1, 65536)])
        assert set(answers) == {f"{address}:{GUEST_PORT}", f"{address}:{OPEN}"}
        guest = answers[f"{address}:{GUEST_PORT}"]
        assert guest["statuses"] == [401, 401, 401, 403]
        assert guest["body"] == ""


def test_from_a_machine_nothing_of_its_neighbour_or_the_host_answers(pair: Pair) -> None:
    ports = {GUEST_PORT, OPEN, OTHER, CDP, pair.gateway, 22, 80, 443, 2375, 2376, 5901, 6080, 8080}
    hosts = {*host_addresses(), gateway_of(pair)} - {"127.0.0.1"}
    here = {port for _, port in listening_tcp(os.getpid(), all_processes=True)}
    targets = [(pair.address(pair.neighbour), port) for port in sorted(ports)]
    targets += [(address, port) for address in sorted(hosts) for port in sorted(ports | here)]
    assert pair.probe(pair.machine, targets) == {}
    assert pair.probe(pair.machine, targets, "sudo") == {}
    # The probe does see what is there.
    own = (pair.address(pair.machine), OPEN)
    assert pair.probe(pair.machine, [own])[f"{own[0]}:{own[1]}"]["statuses"][0] == 200


def gateway_of(pair: Pair) -> str:
    """The host's address on the machines' bridge."""
    words = pair.user.ok("ssh", pair.machine, "ip -4 route show default").out_text.split()
    return words[words.index("via") + 1]


def test_inside_the_machine_only_known_sockets_listen_and_the_guest_wants_its_token(pair: Pair) -> None:
    listed = pair.user.ok("ssh", pair.machine, "sudo python3 /tmp/probing.py --list").out
    found = {(str(host), int(port)) for host, port in json.loads(listed)}
    resolver = {(host, port) for host, port in found if host == "127.0.0.11"}  # the engine's own, for names
    cache = {(host, 443) for host in CACHE}
    users = {("0.0.0.0", OPEN), ("127.0.0.1", OTHER), ("127.0.0.1", HOME)}
    assert found - resolver == {("0.0.0.0", GUEST_PORT), ("127.0.0.1", CDP), *cache, *users}
    own = pair.address(pair.machine)
    for rights in ("", "sudo", "sudo -u nobody"):
        for address in ("127.0.0.1", own):
            guest = pair.probe(pair.machine, [(address, GUEST_PORT)], rights)[f"{address}:{GUEST_PORT}"]
            assert guest["statuses"] == [401, 401, 401, 403]


def test_inside_the_machine_apps_sockets_are_the_users_alone(pair: Pair) -> None:
    pair.user.ok("apps", pair.machine, "start", "desktop")
    line = "sudo find /run/cloudrouter/apps -mindepth 1 -printf '%p %y %m %u\\n'"
    told = dict(row.split(" ", 1) for row in pair.user.ok("ssh", pair.machine, line).out_text.splitlines())
    assert told["/run/cloudrouter/apps/desktop/socket"] == "s 600 user"
    for path, word in told.items():
        assert word.startswith(("d 700 user", "s 600 user", "f 600 user")), (path, word)
    connect = "import socket; socket.socket(socket.AF_UNIX).connect('/run/cloudrouter/apps/desktop/socket')"
    assert pair.user.run("ssh", pair.machine, f'python3 -c "{connect}"').code == 0
    refused = pair.user.run("ssh", pair.machine, f'sudo -u nobody python3 -c "{connect}"')
    assert refused.code == 1
    assert "PermissionError" in refused.err_text


# -- a page in the machine --------------------------------------------------------------------------------------------

ATTACK = """
async (origin) => {
  const told = {};
  const patient = (work) => Promise.race([
    work.then((answer) => answer, () => "refused"), new Promise((done) => setTimeout(done, 6000, "silence"))]);
  const path = (what) => `${origin}/${what}?from=page`;
  const fetched = patient(fetch(path("fetched")).then((answer) => answer.status));
  const sent = patient(fetch(path("sent"), {method: "POST", mode: "no-cors", body: "{}"}).then((one) => one.type));
  const seen = patient(new Promise((done, fail) => {
    const image = new Image();
    image.onload = () => done("read");
    image.onerror = fail;
    image.src = path("seen.svg");
  }));
  const spoken = patient(new Promise((done, fail) => {
    const socket = new WebSocket(`${origin.replace("http", "ws")}/socket`);
    socket.onopen = () => done("open");
    socket.onerror = fail;
  }));
  const posted = patient(new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.name = `frame${Math.random()}`;
    document.body.append(frame);
    const form = document.createElement("form");
    Object.assign(form, {method: "POST", action: path("posted"), target: frame.name});
    document.body.append(form);
    frame.onload = () => done("answered");
    form.submit();
  }));
  return {fetch: await fetched, post: await sent, image: await seen, socket: await spoken, form: await posted};
}
"""
NOTHING = {"fetch": ("refused", "silence"), "image": ("refused", "silence"), "socket": ("refused", "silence")}
"""What a page learns of whom it must not reach; of a POST it is not told what became of it, so that is asked there."""


@contextmanager
def inner_chromium(pair: Pair) -> Iterator[Page]:
    """A page of the machine's own Chromium, driven from outside as the manual says."""
    with pair.user.popen("forward", pair.machine, "browser:9222", "--json") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.connect_over_cdp(url)
                page = browser.contexts[0].new_page()
                page.goto(f"http://127.0.0.1:{HOME}/")
                yield page
                page.close()
                browser.close()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def attack(page: Page, origin: str) -> tuple[dict[str, Any], set[int]]:
    """What a page learnt of an origin, and every status that the origin answered with."""
    statuses: set[int] = set()

    def note(answer: Response) -> None:
        if answer.url.startswith(origin):
            statuses.add(answer.status)

    page.on("response", note)
    told = dict(page.evaluate(ATTACK, origin))
    page.remove_listener("response", note)
    return told, statuses


def test_a_page_in_the_machines_browser_gets_nothing_from_guest_host_and_neighbour(pair: Pair) -> None:
    own, neighbour = pair.address(pair.machine), pair.address(pair.neighbour)
    host = sorted({gateway_of(pair), *host_addresses()} - {"127.0.0.1"})
    with inner_chromium(pair) as page:
        # The attack works where nothing is in the way: on the user's own servers.
        for origin in (f"http://127.0.0.1:{OTHER}", f"http://{own}:{OPEN}"):
            told, statuses = attack(page, origin)
            assert told == {"fetch": 200, "post": "opaque", "image": "read", "socket": "open", "form": "answered"}
            assert 200 in statuses
        # The guest hears it and lets nobody in.
        for origin in (f"http://127.0.0.1:{GUEST_PORT}", f"http://{own}:{GUEST_PORT}"):
            told, statuses = attack(page, origin)
            assert all(told[way] in words for way, words in NOTHING.items()), told
            assert statuses <= {401, 403}
        # The rest hears nothing.
        silent = [f"http://{neighbour}:{GUEST_PORT}", f"http://{neighbour}:{OPEN}"]
        silent += [f"http://{address}:{pair.gateway}" for address in (host[0], "127.0.0.1", gateway_of(pair))]
        silent += [f"http://desktop--{pair.machine.replace('_', '-')}.localhost:{pair.gateway}"]
        for origin in silent:
            told, statuses = attack(page, origin)
            assert all(told[way] in words for way, words in NOTHING.items()), (origin, told)
            assert told["post"] != "opaque"
            assert statuses == set()
    assert {"GET /fetched", "GET /seen.svg", "GET /socket"} <= set(pair.hits(pair.machine, OPEN))
    assert {"POST /sent?from=page", "POST /posted?from=page"} <= set(pair.hits(pair.machine, OTHER))
    # What came there was from the probes of this file; a page's attack has its own words.
    asked = " ".join(pair.hits(pair.neighbour, OPEN))
    assert not any(word in asked for word in ("fetched", "sent", "seen.svg", "posted", "socket")), asked
