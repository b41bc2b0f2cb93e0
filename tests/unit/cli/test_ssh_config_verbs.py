"""`ssh-config`, `ssh-ca` and `ssh-proxy` on the command line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.client import sshdoor, sshinclude
from cloudrouter.client.sshfiles import SshFiles
from cloudrouter.wire import routes
from cloudrouter.wire.errors import NotFound, NotRunning

from .conftest import Cli, FakeTransport
from .test_cold_start import heavy, imported

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHbGCc7U3v6Wb6RoTXW1Aa7yrWfPXCqIMiVHqyQGHiCe"
FACTS = {
    "public_key": KEY,
    "fingerprint": "SHA256:abc",
    "created_at": "2026-07-31T12:00:00.000Z",
    "path": "/s/ssh/authority",
}


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for ~/.ssh/config."""
    path = tmp_path / "dot-ssh" / "config"
    monkeypatch.setattr(sshinclude, "default_file", lambda: str(path))
    return path


@pytest.fixture
def ready(transport: FakeTransport, own_file: Path) -> FakeTransport:
    transport.answers["GET", routes.SSH_AUTHORITY] = FACTS
    return transport


@pytest.fixture
def files(tmp_path: Path) -> SshFiles:
    return SshFiles(str(tmp_path / "state"))


# -- ssh-config -----------------------------------------------------------------------------------------------------


def test_the_configuration_is_printed_and_nothing_installed(
    cli: Cli, ready: Any, files: SshFiles, own_file: Path
) -> None:
    found = cli("ssh-config")
    assert found.code == 0
    assert found.out == Path(files.config).read_text()
    assert "ssh-config --install" in found.err
    assert not own_file.exists()


@pytest.mark.flag("ssh-config --json")
def test_facts_are_told_as_json(cli: Cli, ready: Any, files: SshFiles, own_file: Path) -> None:
    found = cli("ssh-config", "--json").json
    assert found == {
        "file": str(own_file),
        "config_file": files.config,
        "config": Path(files.config).read_text(),
        "changed": False,
        "included": False,
    }


@pytest.mark.flag("ssh-config --install")
def test_installing_is_told_and_done_once(cli: Cli, ready: Any, files: SshFiles, own_file: Path) -> None:
    assert "includes the machines now" in cli("ssh-config", "--install").out
    assert own_file.read_bytes() == sshinclude.with_include(b"", files.config)
    assert "includes the machines already" in cli("ssh-config", "--install").out
    assert "--install" not in cli("ssh-config").err


@pytest.mark.flag("ssh-config --uninstall")
def test_uninstalling_needs_no_router(cli: Cli, ready: Any, own_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("ssh-config", "--install")
    ready.asked.clear()
    assert "without our lines again" in cli("ssh-config", "--uninstall").out
    assert own_file.read_bytes() == b""
    assert "has no lines of ours" in cli("ssh-config", "--uninstall").out
    assert ready.asked == []


@pytest.mark.flag("ssh-config --file")
def test_another_file_may_be_meant(cli: Cli, ready: Any, files: SshFiles, own_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "work" / "other"
    other.write_bytes(b"Host a\n")
    other.chmod(0o600)
    found = cli("ssh-config", "--install", "--file", "other", "--json").json
    assert (found["file"], found["changed"], found["included"]) == (str(other), True, True)
    assert other.read_bytes() == sshinclude.with_include(b"Host a\n", files.config)
    assert cli("ssh-config", "--uninstall", "--file", "other", "--json").json["included"] is False
    assert other.read_bytes() == b"Host a\n"
    assert not own_file.exists()


def test_words_that_contradict_each_other_are_refused(cli: Cli, unreachable: None, own_file: Path) -> None:
    assert "exclude each other" in cli("ssh-config", "--install", "--uninstall").err
    found = cli("ssh-config", "--file", "x")
    assert found.code == 2
    assert "--install --file x" in found.err


def test_an_odd_file_is_told_and_left(cli: Cli, ready: Any, own_file: Path) -> None:
    own_file.parent.mkdir()
    own_file.mkdir()
    found = cli("ssh-config", "--install")
    assert found.code == 1
    assert "is left as it is: it is not a file." in found.err


# -- ssh-ca ---------------------------------------------------------------------------------------------------------


def test_the_authority_is_shown(cli: Cli, ready: Any) -> None:
    for words in (("ssh-ca",), ("ssh-ca", "show")):
        found = cli(*words)
        assert found.out == KEY + "\n"
        assert "SHA256:abc" in found.err
        assert "/s/ssh/authority" in found.err


@pytest.mark.flag("ssh-ca show --json")
@pytest.mark.flag("ssh-ca rotate --json")
@pytest.mark.flag("ssh-ca forget --json")
def test_each_tells_json(cli: Cli, ready: Any) -> None:
    ready.answers["POST", f"{routes.SSH_AUTHORITY}/rotate"] = FACTS
    ready.answers["DELETE", "/v1/machines/x/ssh/host-key"] = {"forgotten": True}
    assert cli("ssh-ca", "show", "--json").json == FACTS
    assert cli("ssh-ca", "rotate", "--json").json == FACTS
    assert cli("ssh-ca", "forget", "x", "--json").json == {"forgotten": True}


def test_after_a_rotation_the_known_hosts_of_this_host_follow(cli: Cli, ready: Any, files: SshFiles) -> None:
    other = KEY[:-3] + "abc"
    ready.answers["POST", f"{routes.SSH_AUTHORITY}/rotate"] = {**FACTS, "public_key": other}
    assert cli("ssh-ca", "rotate").out == other + "\n"
    assert not Path(files.folder).exists()  # who never used ssh is given nothing for it
    cli("ssh-config")
    Path(files.folder, "certs", "cr_7k2m9xqd-cert.pub").touch()
    cli("ssh-ca", "rotate")
    assert f" {other} " in Path(files.known_hosts).read_text()
    assert os.listdir(f"{files.folder}/certs") == []


def test_forgetting_tells_whether_there_was_one(cli: Cli, ready: Any) -> None:
    for known, said in ((True, "is forgotten"), (False, "No host key of x is known")):
        ready.answers["DELETE", "/v1/machines/x/ssh/host-key"] = {"forgotten": known}
        assert said in cli("ssh-ca", "forget", "x").out


# -- ssh-proxy ------------------------------------------------------------------------------------------------------


class Door:
    """What the proxy meets in place of the router's door."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.given: list[int] = []
        self.answer: Any = KEY
        self.there: list[bool] = [True]
        monkeypatch.setattr(sshdoor, "connect", self.connect)
        monkeypatch.setattr(sshdoor, "ask", self.ask)
        monkeypatch.setattr(sshdoor, "wants_descriptor", lambda: True)
        monkeypatch.setattr(sshdoor, "pass_on", self.given.append)

    def connect(self, _folder: str) -> Any:
        return "door" if self.there.pop(0) else None

    def ask(self, _sock: Any, host: str) -> sshdoor.Opened:
        self.asked.append(host)
        self.there.append(True)
        if isinstance(self.answer, Exception):
            raise self.answer
        return sshdoor.Opened(7, self.answer)


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(monkeypatch)


def test_the_connection_is_given_to_ssh(cli: Cli, door: Door, unreachable: None) -> None:
    assert cli("ssh-proxy", "my-project.cr").code == 0
    assert (door.asked, door.given) == (["my-project.cr"], [7])


@pytest.mark.flag("ssh-proxy --json")
def test_a_failure_is_told_with_sshs_own_status(cli: Cli, door: Door, unreachable: None) -> None:
    door.answer = NotRunning("cr_x is stopped.", next="cloudrouter resume cr_x")
    found = cli("ssh-proxy", "cr_x")
    assert (found.code, found.out) == (255, "")
    assert "cloudrouter: cr_x is stopped.\nNext: cloudrouter resume cr_x" in found.err
    assert cli("ssh-proxy", "cr_x", "--json").json["error"]["code"] == "not_running"


def test_a_router_without_a_door_is_started_or_replaced(cli: Cli, door: Door, transport: FakeTransport) -> None:
    door.there = [False, True]
    assert cli("ssh-proxy", "cr_x").code == 0
    assert transport.versions_checked == 0
    door.there = [False, False, True]
    assert cli("ssh-proxy", "cr_x").code == 0
    assert transport.versions_checked == 1
    door.there = [False, False, False]
    found = cli("ssh-proxy", "cr_x")
    assert found.code == 255
    assert "has no SSH door" in found.err


def test_a_router_elsewhere_is_refused_as_by_every_verb(cli: Cli, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDROUTER_URL", "https://router.example.com")
    found = cli("ssh-proxy", "cr_x")
    assert (found.code, door.asked) == (255, [])
    assert "CLOUDROUTER_URL asks for a remote router" in found.err


def test_known_hosts_follow_before_ssh_reads_them(
    cli: Cli, door: Door, ready: Any, files: SshFiles, capfd: Any
) -> None:
    cli("ssh-config")
    Path(files.folder, "certs", "cr_x-cert.pub").touch()
    assert cli("ssh-proxy", "cr_x").err == ""
    door.answer = KEY[:-3] + "abc"
    found = cli("ssh-proxy", "cr_x")
    assert "authority is another one now" in found.err
    assert f" {door.answer} " in Path(files.known_hosts).read_text()
    assert not Path(files.folder, "certs", "cr_x-cert.pub").exists()


def test_a_certificate_that_could_not_be_made_is_explained(cli: Cli, door: Door, ready: Any) -> None:
    cli("ssh-config")
    ready.answers["POST", "/v1/machines/cr_x/ssh/certificate"] = NotFound("There is no machine 'cr_x'.")
    found = cli("ssh-proxy", "cr_x")
    assert found.code == 255
    assert "There is no machine 'cr_x'." in found.err
    assert door.given == []


def run_main(*words: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from cloudrouter.cli.sshproxy import main; main(sys.argv[1:])"
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)


def test_what_ssh_runs_tells_every_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDROUTER_URL", "https://router.example.com")
    done = run_main("cr_x")
    assert done.returncode == 255
    assert done.stderr.startswith("cloudrouter: CLOUDROUTER_URL asks for a remote router")
    done = run_main("--certify", "cr_x")
    assert (done.returncode, done.stderr) == (1, "")  # the connection behind it tells the same
    assert "unforeseen" in run_main().stderr


def test_what_ssh_runs_loads_next_to_nothing(tmp_path: Path) -> None:
    """A whole connection, up to giving its descriptor away."""
    folder = tmp_path / "run"
    folder.mkdir(0o700)
    bare = imported(tmp_path, "-c", "pass")
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as listening, ours, theirs:
        listening.bind(str(folder / "ssh.sock"))
        listening.listen()
        program = (
            "import os; os.dup2(os.open('/dev/null', 2), 9)\n"
            "from cloudrouter.client import sshdoor; sshdoor.wants_descriptor = lambda: True\n"
            "sshdoor.pass_on = lambda fd: None\n"
            "from cloudrouter.cli.sshproxy import main; main(['cr_x'])"
        )
        import threading

        def serve() -> None:
            with listening.accept()[0] as caller:
                caller.recv(100)
                socket.send_fds(caller, [b"opened ssh-ed25519 AAAA\n"], [theirs.fileno()])

        thread = threading.Thread(target=serve)
        thread.start()
        modules = imported(tmp_path, "-c", program) - bare
        thread.join(10)
    assert "cloudrouter.cli.sshproxy" in modules
    assert heavy(modules) == set()
    # Beside the constants of the wire: no transport, no JSON, no argparse.
    assert {name for name in modules if name.startswith("cloudrouter")} == {
        "cloudrouter", "cloudrouter.cli", "cloudrouter.cli.sshproxy", "cloudrouter.client",
        "cloudrouter.client.sshdoor", "cloudrouter.wire", "cloudrouter.wire.places", "cloudrouter.wire.sshdoor",
    }  # fmt: skip
    assert not {"json", "argparse", "re", "socket", "select"} & modules
