"""The package cache with real machines, tools and registries: it saves downloads, and nobody harms another by it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.e2e.conftest import ROOT, User, until, users
from tests.unit.cache.fake_registry import Registry

pytestmark = pytest.mark.engine

WEB = ROOT / "examples" / "todo-web"
LEFT_PAD = "https://registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz"
LEFT_PAD_SHA1 = "5b8a3a7765dfe001261dde915589e782f8c94d1e"
"""As the registry published it."""
HOSTILE = (Path(__file__).parent / "hostile_tool.py").read_bytes()


def cache(user: User) -> dict[str, Any]:
    return dict(user.json("cache", "status"))


def sha1_of_left_pad(user: User, machine: str) -> str:
    done = user.ok("ssh", machine, f"curl -fsS --max-time 60 {LEFT_PAD} | sha1sum", timeout=120)
    return done.out_text.split()[0]


def fetches(user: User) -> int:
    return int(cache(user)["artifact_fetches"])


@pytest.fixture(scope="module")
def packer() -> Iterator[User]:
    """A user with a router and a cache of their own, for the tests that leave them as they were."""
    with users() as make:
        yield make()


@pytest.mark.flag("start --no-package-cache")
def test_the_second_machine_downloads_nothing_again_and_its_lockfile_stays(packer: User) -> None:
    lock = (WEB / "package-lock.json").read_bytes()
    for number in range(2):
        machine = packer.start(WEB)
        packer.ok("ssh", machine, "npm ci", timeout=300)
        assert packer.ok("ssh", machine, "cat package-lock.json").out == lock
        assert packer.json("status", machine)["package_cache"] is True
        if not number:
            first = cache(packer)
            assert first["artifact_fetches"] == first["misses"] > 10
    second = cache(packer)
    assert second["artifact_fetches"] == first["artifact_fetches"]
    assert second["hits"] >= first["misses"]
    without = packer.start("--no-package-cache")
    assert packer.json("status", without)["package_cache"] is False
    hosts = packer.ok("ssh", without, "cat /etc/hosts; ls /run/cloudrouter 2>&1 || true").out_text
    assert "registry.npmjs.org" not in hosts
    assert "packages" not in hosts
    before = cache(packer)
    assert sha1_of_left_pad(packer, without) == LEFT_PAD_SHA1
    assert cache(packer)["hits"] + cache(packer)["misses"] == before["hits"] + before["misses"]


def test_pip_and_uv_in_the_second_machine_download_nothing_again(packer: User) -> None:
    install = (
        "python3 -m venv .v && .v/bin/pip install -q --disable-pip-version-check uv==0.9.5 flask==3.1.2 && "
        ".v/bin/uv pip install -q --python .v/bin/python numpy==2.3.4 && .v/bin/python -c 'import flask, numpy'"
    )
    packer.ok("ssh", packer.start(), install, timeout=300)
    first = cache(packer)
    packer.ok("ssh", packer.start(), install, timeout=300)
    second = cache(packer)
    assert second["artifact_fetches"] == first["artifact_fetches"]
    assert second["saved_bytes"] > first["saved_bytes"] + 10_000_000


@pytest.mark.parametrize(
    "command",
    [
        "sudo npm view left-pad version",
        "env -i /usr/local/bin/node /usr/local/bin/npm view left-pad version",
        "sudo -i npm view left-pad version",
        "bash -lc 'npm view left-pad version'",
        "env -i /usr/bin/curl -fsS -o /dev/null https://pypi.org/simple/six/",
        "env -i /usr/bin/python3 -c 'from urllib.request import urlopen; urlopen(\"https://pypi.org/simple/six/\")'",
        "git -c http.sslVerify=true ls-remote https://registry.npmjs.org/left-pad 2>&1 | grep 'not found'",
        "sudo update-ca-certificates >/dev/null && env -i /usr/bin/curl -fsS -o /dev/null https://pypi.org/simple/six/",
        "node -e 'fetch(\"https://registry.npmjs.org/left-pad\").then(r => process.exit(r.ok ? 0 : 1))'",
    ],
)
def test_a_tool_when_run_in_another_way_still_trusts_the_cache(packer: User, command: str) -> None:
    machines = packer.machines()
    machine = machines[0]["id"] if machines else packer.start()
    before = cache(packer)
    packer.ok("ssh", machine, command, timeout=120)
    after = cache(packer)
    assert sum(after[key] - before[key] for key in ("hits", "misses", "passed", "revalidated")) >= 1


def test_a_hostile_machine_changes_nothing_of_what_another_gets(packer: User) -> None:
    hostile, good = packer.start(), packer.start()
    with packer.popen(
        "ssh", hostile, "sudo python3 -c " + shell_quote(HOSTILE.decode()), stdin=subprocess.PIPE
    ) as tool:
        assert tool.stdout is not None and tool.stdin is not None  # noqa: PT018
        told = tool.stdout.readline().decode()
        assert told.startswith("could []"), told
        held = int(told.rpartition(" ")[2])
        assert 50 < held < 300, "one machine has a part of the connections, and no more"
        # While it holds all it can get: another machine is served, by the cache, and rightly.
        before = cache(packer)
        assert sha1_of_left_pad(packer, good) == LEFT_PAD_SHA1
        after = cache(packer)
        assert after["hits"] + after["misses"] == before["hits"] + before["misses"] + 1
        # Its own tools go out to the registry themselves.
        assert sha1_of_left_pad(packer, hostile) == LEFT_PAD_SHA1
        tool.stdin.close()
        tool.wait(60)
    assert packer.json("cache", "verify")["damaged"] == 0
    direct = subprocess.run(["curl", "-fsS", LEFT_PAD], check=True, stdout=subprocess.PIPE).stdout
    assert hashlib.sha1(direct).hexdigest() == LEFT_PAD_SHA1


def shell_quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def test_the_cache_killed_or_stopped_then_tools_go_on_and_it_comes_back(user: User) -> None:
    machine = user.start()
    assert sha1_of_left_pad(user, machine) == LEFT_PAD_SHA1
    pid = cache(user)["pid"]
    os.kill(pid, signal.SIGSTOP)  # it neither answers nor is it gone
    assert sha1_of_left_pad(user, machine) == LEFT_PAD_SHA1
    os.kill(pid, signal.SIGKILL)
    assert sha1_of_left_pad(user, machine) == LEFT_PAD_SHA1
    until(lambda: cache(user)["pid"] != pid, "the new process")
    user.ok("ssh", machine, "npm view left-pad version")
    until(lambda: served(user, machine), "the way through the cache")


def served(user: User, machine: str) -> bool:
    before = cache(user)["hits"]
    assert sha1_of_left_pad(user, machine) == LEFT_PAD_SHA1
    return bool(cache(user)["hits"] > before)


def test_the_router_killed_then_tools_go_on_and_the_next_one_serves_the_same_machine(user: User) -> None:
    machine = user.start()
    assert sha1_of_left_pad(user, machine) == LEFT_PAD_SHA1
    pid = cache(user)["pid"]
    router = int(user.json("server", "status")["pid"])
    # A connection through the cache is cut with it; like npm, pip, uv and cargo, this tool asks again then.
    curl = f"curl -fsS --max-time 60 --retry 3 --retry-all-errors -o /tmp/pad.tgz {LEFT_PAD}"
    job = user.ok(
        "ssh", "--bg", machine, f"for i in 1 2 3 4 5 6 7 8; do {curl}; sha1sum < /tmp/pad.tgz; done"
    ).out_text.strip()
    os.kill(router, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{pid}") or zombie(pid), "the end of the cache's process")
    assert served(user, machine)
    assert cache(user)["pid"] != pid
    words = user.ok("logs", "-f", machine, job, timeout=120).out_text.split()
    assert words[::2] == [LEFT_PAD_SHA1] * 8


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_machine_stopped_and_resumed_and_a_guest_killed_then_the_cache_is_there_again(user: User) -> None:
    machine = user.start()
    user.ok("stop", machine)
    user.ok("resume", machine)
    assert user.ok("ssh", machine, "grep -c registry.npmjs.org /etc/hosts").out == b"1\n"
    assert sha1_of_left_pad(user, machine) == LEFT_PAD_SHA1
    assert served(user, machine)
    user.run("ssh", machine, "sudo pkill -KILL -f /opt/cloudrouter/lib")
    until(lambda: user.run("ssh", machine, "true").code == 0, "the guest")
    assert user.ok("ssh", machine, "grep -c registry.npmjs.org /etc/hosts").out == b"1\n"
    assert served(user, machine)


class Crates:
    """A registry of crates on this host, in a thread; its one crate has a checksum as crates.io tells it."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry(folder)
        crate = io.BytesIO()
        with tarfile.open(fileobj=crate, mode="w:gz") as tar:
            for name, text in (("Cargo.toml", '[package]\nname = "tiny"\nversion = "1.0.0"\n'), ("src/lib.rs", "")):
                entry = tarfile.TarInfo(f"tiny-1.0.0/{name}")
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text.encode()))
        checksum = hashlib.sha256(crate.getvalue()).hexdigest()
        line = {"name": "tiny", "vers": "1.0.0", "deps": [], "cksum": checksum, "features": {}, "yanked": False}
        config = {"dl": "https://static.crates.io/crates", "api": "https://crates.io"}
        self.registry.serve("/config.json", json.dumps(config).encode(), Cache_Control="max-age=600")
        self.registry.serve("/ti/ny/tiny", json.dumps(line).encode() + b"\n", ETag='"1"', Cache_Control="max-age=600")
        self.registry.serve("/crates/tiny/1.0.0/download", crate.getvalue())

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._ready = threading.Event()
        self._thread.start()
        assert self._ready.wait(20)
        return self

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        await self.registry.start()
        self._ready.set()
        await self._ended.wait()
        async with asyncio.timeout(20):
            while self.registry.connections:  # whoever asked closes them when it ends
                await asyncio.sleep(0.01)
        await self.registry.stop()

    def __exit__(self, *_exception: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()


def find_cargo() -> str:
    """A cargo of this host that can be carried into a machine."""
    if shutil.which("rustup"):
        found = subprocess.run(["rustup", "which", "cargo"], stdout=subprocess.PIPE, check=False)
        if found.returncode == 0:
            return found.stdout.decode().strip()
    return shutil.which("cargo") or pytest.skip("no cargo on this host")


def test_cargo_in_the_second_machine_downloads_nothing_again(user: User, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / "Cargo.toml").write_text(
        '[package]\nname = "mine"\nversion = "1.0.0"\nedition = "2021"\n[dependencies]\ntiny = "1"\n'
    )
    (project / "src" / "lib.rs").write_text("")
    shutil.copy(find_cargo(), project / "cargo")
    with Crates(tmp_path) as crates:
        system = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
        trusted = tmp_path / "trusted.pem"
        trusted.write_bytes(Path(system).read_bytes() + crates.registry.authority.read_bytes())
        hosts = ("index.crates.io", "static.crates.io")
        user.env |= {
            "SSL_CERT_FILE": str(trusted),
            "CLOUDROUTER_PACKAGE_MIRRORS": ",".join(f"{host}={crates.registry.url}" for host in hosts),
        }
        for _ in range(2):
            machine = user.start(project)
            user.ok("ssh", machine, "./cargo vendor && grep -q checksum Cargo.lock", timeout=120)
            assert user.ok("ssh", machine, "ls vendor").out == b"tiny\n"
        assert crates.registry.count("/crates/tiny/1.0.0/download") == 1
        assert crates.registry.count("/ti/ny/tiny") == 1
        # A registry that tells another content later changes nothing of what is there.
        crates.registry.serve("/crates/tiny/1.0.0/download", b"evil")
        user.ok("ssh", user.start(project), "./cargo vendor", timeout=120)
        user.ok("server", "stop")


def test_a_port_443_of_its_own_when_a_machine_has_no_cache_can_be_had(packer: User) -> None:
    serve = "sudo timeout 1 python3 -m http.server 443; [ $? = 124 ]"
    machine = packer.start("--no-package-cache")
    packer.ok("ssh", machine, serve)
