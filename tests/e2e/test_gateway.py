"""The gateway in front of real machines: what passes, what survives, and what nobody gets through."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.e2e.browsing import chromium
from tests.e2e.conftest import User, until
from tests.unit.server.tls import make_certificate

pytestmark = pytest.mark.engine

SERVER = Path(__file__).parent / "inner_server.py"
PORT, PORT6, FLASK, DJANGO, VITE, NOBODY = 3000, 3006, 5000, 8000, 5173, 4999
GIB = 2**30
FLAT = 80 * 2**20
"""How much more memory the router may ever have held while a gigabyte passed."""
NAVIGATION = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
OWN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


def serve(user: User, machine: str, host: str = "127.0.0.1", port: int = PORT) -> None:
    """The test's web server in a machine, in the background."""
    user.ok("ssh", machine, "cat > /tmp/inner_server.py", input=SERVER.read_bytes())
    user.ok("ssh", "--bg", machine, f"python3 /tmp/inner_server.py {host} {port}")
    user.ok("wait", machine, "--port", port)


def curl(url: str, headers: dict[str, str], *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """curl, which finds the gateway under any of its names."""
    flags = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    here = ["--connect-to", f"::127.0.0.1:{urlsplit(url).port}", "--max-time", "100"]
    return subprocess.run(["curl", "-sS", *here, *flags, *words, url], capture_output=True, check=False, **options)


class Visitor:
    """A browser that was let in at a port or an app of a machine."""

    def __init__(self, user: User, machine: str, target: str | int) -> None:
        opened = user.ok("open", machine, target).out_text.strip()
        answer = curl(opened, {**NAVIGATION, "Accept": "text/html"}, "-i").stdout.decode()
        assert " 303 " in answer.splitlines()[0]
        cookie = re.search(r"(?im)^set-cookie: ([^;\r\n]+)", answer)
        assert cookie is not None
        self.origin = opened.partition("/?")[0]
        self.headers = {**OWN, "Cookie": cookie[1]}

    def get(self, path: str = "/", *words: str, **options: Any) -> bytes:
        """The body of an answer."""
        return bytes(curl(self.origin + path, self.headers, *words, **options).stdout)

    def status(self, path: str = "/headers") -> int:
        """The answer's status."""
        return int(self.get(path, "-o", "/dev/null", "-w", "%{http_code}"))


@pytest.fixture(scope="module")
def box(resident: User) -> str:
    """A machine with the web server on 127.0.0.1."""
    machine = resident.start("--image", "core")
    serve(resident, machine)
    return machine


@pytest.fixture(scope="module")
def here(resident: User, box: str) -> Visitor:
    return Visitor(resident, box, PORT)


def held(user: User) -> int:
    """The most memory that the router ever held, in bytes."""
    status = Path(f"/proc/{user.json('server', 'status')['pid']}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


# -- what passes ------------------------------------------------------------------------------------------------------


def test_a_server_on_loopback_is_reached(here: Visitor) -> None:
    told = json.loads(here.get("/headers"))
    assert told["Host"] == here.origin.partition("://")[2]
    assert "cloudrouter-session" not in str(told)


def test_a_server_on_the_other_loopback_is_reached(resident: User, box: str) -> None:
    if resident.ok("ssh", box, "cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 || echo 1").out_text.strip() != "0":
        pytest.skip("machines on this engine have no IPv6 loopback")
    serve(resident, box, "::1", PORT6)
    assert Visitor(resident, box, PORT6).status() == 200


def test_flask_on_its_loopback_is_reached(resident: User, box: str) -> None:
    app = "from flask import Flask, request\napp = Flask(__name__)\n@app.route('/')\ndef home(): return request.url\n"
    install = "python3 -m venv /tmp/flask && /tmp/flask/bin/pip install -q flask 2>&1 && cat > /tmp/app.py"
    resident.ok("ssh", box, install, input=app.encode(), timeout=200)
    resident.ok("ssh", "--bg", box, f"cd /tmp && /tmp/flask/bin/flask run --host 127.0.0.1 --port {FLASK}")
    resident.ok("wait", box, "--port", FLASK)
    visitor = Visitor(resident, box, FLASK)
    assert visitor.get().decode() == visitor.origin + "/"


def test_django_checks_the_host_and_is_content(resident: User, box: str) -> None:
    install = "python3 -m venv /tmp/django && /tmp/django/bin/pip install -q django 2>&1"
    resident.ok("ssh", box, f"{install} && cd /tmp && /tmp/django/bin/django-admin startproject site_", timeout=200)
    run = f"cd /tmp/site_ && /tmp/django/bin/python manage.py runserver --noreload 127.0.0.1:{DJANGO}"
    resident.ok("ssh", "--bg", box, run)
    resident.ok("wait", box, "--port", DJANGO)
    visitor = Visitor(resident, box, DJANGO)
    assert visitor.status("/") == 200


def test_vite_changes_an_open_page_without_loading_it_again(resident: User, box: str) -> None:
    files = {
        "index.html": "<!doctype html><h1 id=word></h1><script type=module src=/main.js></script>",
        "main.js": (
            "import {word} from './word.js';\n"
            "const show = (word) => { document.getElementById('word').textContent = word; };\n"
            "show(word);\n"
            "if (import.meta.hot) import.meta.hot.accept('./word.js', (made) => show(made.word));\n"
        ),
        "word.js": "export const word = 'before';\n",
    }
    resident.ok("ssh", box, "mkdir -p /tmp/vite && cd /tmp/vite && npm init -y && npm install vite 2>&1", timeout=200)
    for name, text in files.items():
        resident.ok("ssh", box, f"cat > /tmp/vite/{name}", input=text.encode())
    resident.ok("ssh", "--bg", box, f"cd /tmp/vite && npx vite --port {VITE} --strictPort")
    resident.ok("wait", box, "--port", VITE)
    with chromium() as browser:
        page = browser.new_page()
        page.goto(resident.ok("open", box, VITE).out_text.strip())
        page.wait_for_selector("#word:text-is('before')")
        page.evaluate("window.mark = 'kept'")
        resident.ok("ssh", box, "cat > /tmp/vite/word.js", input=b"export const word = 'after';\n")
        page.wait_for_selector("#word:text-is('after')")
        assert page.evaluate("window.mark") == "kept"


def test_a_gigabyte_down_leaves_the_routers_memory_flat(resident: User, here: Visitor) -> None:
    before = held(resident)
    size = here.get(f"/down?{GIB}", "-o", "/dev/null", "-w", "%{size_download}")
    assert int(size) == GIB
    assert held(resident) - before < FLAT


@pytest.mark.parametrize("chunked", [False, True])
def test_a_gigabyte_up_leaves_the_routers_memory_flat(
    resident: User, here: Visitor, tmp_path: Path, chunked: bool
) -> None:
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(GIB)
    before = held(resident)
    words = ["-T", str(path), "-H", "Expect:"]
    if chunked:
        # The little server knows no chunks, and answers at once: what was sent until then must not pile up.
        words += ["-H", "Transfer-Encoding: chunked"]
        here.get("/up", *words)
    else:
        assert here.get("/up", *words) == str(GIB).encode()
    assert held(resident) - before < FLAT


def test_events_arrive_one_by_one(here: Visitor) -> None:
    flags = [word for name, value in here.headers.items() for word in ("-H", f"{name}: {value}")]
    words = [
        "curl",
        "-sSN",
        "--connect-to",
        f"::127.0.0.1:{urlsplit(here.origin).port}",
        *flags,
        here.origin + "/events",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        at = [time.monotonic() for line in process.stdout if line.startswith(b"data:")]
    assert len(at) == 5
    assert at[-1] - at[0] > 0.5


# -- people -----------------------------------------------------------------------------------------------------------


def test_a_person_opens_a_page_and_its_websocket(resident: User, box: str) -> None:
    opened = resident.ok("open", box, PORT, "/page").out_text.strip()
    with chromium() as browser:
        page = browser.new_page()
        assert page.goto(opened).status == 200  # type: ignore[union-attr]
        assert page.title() == "inside"
        assert page.url == opened.partition("?")[0]
        page.wait_for_function("document.getElementById('said').textContent.includes('echo hello')")
        assert page.evaluate("document.cookie") == ""
        page.reload()
        assert page.title() == "inside"
        stranger = browser.new_context().new_page()
        answer = stranger.goto(opened)
        assert answer is not None
        assert answer.status == 401
        assert f"cloudrouter open {box} {PORT}" in stranger.content()


def test_a_page_waits_for_its_server(resident: User, box: str) -> None:
    opened = resident.ok("open", box, NOBODY).out_text.strip()
    with chromium() as browser:
        page = browser.new_page()
        assert page.goto(opened).status == 502  # type: ignore[union-attr]
        serve(resident, box, port=NOBODY)
        page.wait_for_selector("h1:text-is('inside')")


@pytest.fixture
def team(user: User, tmp_path: Path) -> User:
    """A router with a domain of its own."""
    cert, key = make_certificate(tmp_path, "cr.example.com")
    user.env |= {"CLOUDROUTER_DOMAIN": "cr.example.com", "CLOUDROUTER_TLS_CERT": cert, "CLOUDROUTER_TLS_KEY": key}
    return user


def test_a_sibling_page_under_a_teams_domain_gets_nowhere(team: User) -> None:
    victim, evil = team.start("--image", "core"), team.start("--image", "core")
    for machine in (victim, evil):
        serve(team, machine)
    with chromium("--host-resolver-rules=MAP *.cr.example.com 127.0.0.1") as browser:
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        mine = team.ok("open", victim, PORT).out_text.strip()
        assert page.goto(mine).status == 200  # type: ignore[union-attr]
        page.wait_for_function("document.getElementById('said').textContent.includes('echo hello')")
        origin = mine.partition("/?")[0]
        hits = page.evaluate("fetch('/hits').then((answer) => answer.json())")
        theirs = context.new_page()
        theirs.goto(team.ok("open", evil, PORT, f"/?attack={quote(origin, safe='')}").out_text.strip())
        theirs.wait_for_function(
            "Object.keys(JSON.parse(document.getElementById('said').textContent || '{}')).length === 5"
        )
        said = json.loads(theirs.inner_text("#said"))
        assert {name: said[name] for name in ("fetch", "image", "socket")} == dict.fromkeys(
            ("fetch", "image", "socket"), "refused"
        )
        assert page.evaluate("fetch('/hits').then((answer) => answer.json())") == hits
        # The cookie that it tossed to its siblings is none of ours, and who was in stays in.
        assert page.reload().status == 200  # type: ignore[union-attr]


# -- the end ----------------------------------------------------------------------------------------------------------


def test_who_is_in_stays_in_when_the_router_starts_again(resident: User, box: str) -> None:
    visitor = Visitor(resident, box, PORT)
    before = resident.json("server", "status")
    resident.ok("server", "stop")
    after = resident.json("server", "start")
    assert after["pid"] != before["pid"]
    until(lambda: resident.json("server", "status")["gateway_url"] == before["gateway_url"], "the gateway's port")
    assert visitor.status() == 200


def test_close_ends_what_was_let_in(resident: User, box: str) -> None:
    visitor = Visitor(resident, box, PORT)
    assert visitor.status() == 200
    resident.ok("open", box, "--revoke")
    assert visitor.status() == 401


def test_after_stop_and_delete_everything_is_refused(user: User) -> None:
    machine = user.start("--image", "core")
    serve(user, machine)
    visitor = Visitor(user, machine, PORT)
    spare = user.ok("open", machine, PORT).out_text.strip()
    user.ok("stop", machine)
    assert visitor.status() == 503
    user.ok("resume", machine)
    assert visitor.status() == 401
    assert b" 401 " in curl(spare, NAVIGATION, "-i").stdout.splitlines()[0]
    last = Visitor(user, machine, PORT)
    user.ok("delete", machine)
    assert last.status() == 410


# -- who else might ---------------------------------------------------------------------------------------------------


def listening(pid: int) -> set[tuple[str, int]]:
    """(address, port) of every TCP socket that a process listens on."""
    links = [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {str(link)[8:-1] for link in links if str(link).startswith("socket:[")}
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                address, _, port = words[1].partition(":")
                found.add((address, int(port, 16)))
    return found


def test_the_router_listens_on_loopback_alone_and_says_401(resident: User, box: str) -> None:
    facts = resident.json("server", "status")
    port = urlsplit(facts["gateway_url"]).port
    loopbacks = {("0100007F", port), ("00000000000000000000000001000000", port)}
    assert {("0100007F", port)} <= listening(facts["pid"]) <= loopbacks
    for host in ("localhost", "127.0.0.1", f"{PORT}--{box.replace('_', '-')}.localhost", "evil.example"):
        for path in ("/", "/v1/machines", "/schema", "/websock"):
            words = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}:{port}"]
            done = subprocess.run([*words, f"http://127.0.0.1:{port}{path}"], capture_output=True, check=True)
            assert done.stdout == b"401"


def test_a_machine_does_not_reach_the_gateway(resident: User, box: str) -> None:
    port = urlsplit(resident.json("server", "status")["gateway_url"]).port
    route = "ip -4 route 2>/dev/null | awk '/default/ {print $3}' || true; hostname -I"
    addresses = set(resident.ok("ssh", box, route).out_text.split()) | {"127.0.0.1", "172.17.0.1"}
    for address in addresses:
        done = resident.run("ssh", box, f"curl -s -m 3 -o /dev/null -w %{{http_code}} http://{address}:{port}/")
        assert done.out_text.strip() == "000"


def test_nothing_secret_is_in_the_routers_log(resident: User, box: str) -> None:
    opened = resident.ok("open", box, PORT).out_text.strip()
    ticket = opened.partition("cloudrouter-ticket=")[2]
    visitor = Visitor(resident, box, PORT)
    curl(opened, NAVIGATION)
    curl(opened, NAVIGATION)
    visitor.get("/headers?token=app-secret")
    log = (resident.base / "state" / "logs" / "router.log").read_text()
    for word in (ticket, visitor.headers["Cookie"].partition("=")[2], "app-secret"):
        assert word not in log
