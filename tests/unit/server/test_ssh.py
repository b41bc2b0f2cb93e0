"""The router's SSH: its authority, certificates over the API, and the door at which ssh gets its connection."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import SSHCertificate, SSHCertificateType
from tests.unit.guest import fake_sshd
from tests.unit.server.conftest import start, wait

from cloudrouter.auth import sshcerts
from cloudrouter.client import sshdoor
from cloudrouter.client.transport import Transport
from cloudrouter.server.settings import Settings
from cloudrouter.server.ssh.authority import Authority
from cloudrouter.server.ssh.hostkeys import HostKeys
from cloudrouter.wire import routes
from cloudrouter.wire.errors import AuthFailed, CloudRouterError, NotConfigured, NotFound, NotRunning, UsageError

KEY = sshcerts.write_public_key(Ed25519PrivateKey.generate().public_key())
NOW = 1_800_000_000.0


def read(line: str) -> SSHCertificate:
    found = serialization.load_ssh_public_identity(line.encode())
    assert isinstance(found, SSHCertificate)
    found.verify_cert_signature()
    return found


# -- the authority --------------------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    made = Authority(str(tmp_path / "ssh"), lambda: NOW).held()
    path = tmp_path / "ssh" / "authority"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["authority"]
    again = Authority(str(tmp_path / "ssh"), lambda: NOW).held()
    assert (again.public_key, again.fingerprint) == (made.public_key, made.fingerprint)


def test_rotating_replaces_it_whole(tmp_path: Path) -> None:
    authority = Authority(str(tmp_path), lambda: NOW)
    before, after = authority.held(), authority.rotate()
    assert before.public_key != after.public_key == authority.held().public_key
    assert Authority(str(tmp_path), lambda: NOW).held().public_key == after.public_key
    assert os.listdir(tmp_path) == ["authority"]


def test_certificates_are_of_the_key_that_is_held(tmp_path: Path) -> None:
    authority = Authority(str(tmp_path), lambda: NOW)
    for _ in range(2):
        line, expires_at = authority.certify_user(KEY, "cr_7k2m9xqd", "local")
        signer = read(line).signature_key()
        assert sshcerts.write_public_key(signer) == authority.held().public_key  # type: ignore[arg-type]
        assert expires_at == read(line).valid_before == NOW + 600
        authority.rotate()
    assert read(authority.certify_host(KEY, ["a.cr"])).type is SSHCertificateType.HOST


def opened(path: Path) -> None:
    path.chmod(0o640)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def exchanged(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [opened, emptied, linked, exchanged, made_a_folder])
def test_a_key_that_is_not_safe_is_not_used(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    Authority(str(tmp_path), lambda: NOW).held()
    harm(tmp_path / "authority")
    with pytest.raises(NotConfigured, match="cannot be used") as caught:
        Authority(str(tmp_path), lambda: NOW).held()
    assert caught.value.next == "cloudrouter ssh-ca rotate"


def test_host_keys_are_remembered_and_forgotten(tmp_path: Path) -> None:
    keys = HostKeys(str(tmp_path / "hosts"))
    assert keys.known("cr_7k2m9xqd") is None
    assert keys.forget("cr_7k2m9xqd") is False
    keys.remember("cr_7k2m9xqd", KEY)
    assert HostKeys(str(tmp_path / "hosts")).known("cr_7k2m9xqd") == KEY
    assert os.listdir(tmp_path / "hosts") == ["cr_7k2m9xqd"]
    assert keys.forget("cr_7k2m9xqd") is True
    for bad in ("", "../authority", "cr_7k2m9xq/"):
        with pytest.raises(ValueError, match="no machine id"):
            keys.known(bad)


# -- the API --------------------------------------------------------------------------------------------------------


def certify(router: Transport, machine: str, **body: Any) -> Any:
    return router.call("POST", routes.machine(machine, "ssh", "certificate"), body or {"public_key": KEY})


@pytest.fixture
def machine(router: Transport) -> str:
    made = start(router, name="my-project")
    wait(router, made["id"])
    return str(made["id"])


def test_a_certificate_over_the_api(router: Transport, machine: str, settings: Settings) -> None:
    answer = certify(router, "my-project")
    assert set(answer) == {"certificate", "expires_at", "host", "user", "ca"}
    assert (answer["host"], answer["user"]) == (machine, "user")
    found = read(answer["certificate"])
    assert found.valid_principals == [machine.encode()]
    assert found.valid_before - time.time() == pytest.approx(600, abs=10)
    authority = router.call("GET", routes.SSH_AUTHORITY)
    assert answer["ca"] == authority["public_key"]
    assert authority["path"] == f"{settings.state_dir}/ssh/authority"
    assert "PRIVATE" not in json.dumps(authority)


def test_a_certificate_is_refused_for_what_cannot_be(router: Transport, machine: str) -> None:
    for body in ({"key": KEY}, {"public_key": 7}, {"public_key": "ssh-rsa AAAA"}, {"public_key": KEY, "extra": 1}):
        with pytest.raises(UsageError):
            certify(router, machine, **body)
    with pytest.raises(NotFound):
        certify(router, "nobody")
    router.call("DELETE", routes.machine(machine))
    with pytest.raises(NotFound):
        certify(router, machine)


def test_rotation_over_the_api_is_an_event(router: Transport) -> None:
    before = router.call("GET", routes.SSH_AUTHORITY)
    after = router.call("POST", f"{routes.SSH_AUTHORITY}/rotate")
    assert before["fingerprint"] != after["fingerprint"]
    assert router.call("GET", routes.SSH_AUTHORITY) == after
    events = router.call("GET", routes.EVENTS)["events"]
    assert [event["message"] for event in events if event["kind"] == "ssh.rotated"] == [
        f"The SSH authority is now {after['fingerprint']}"
    ]


def test_doctor_looks_at_the_keys_mode(router: Transport, settings: Settings) -> None:
    def check() -> dict[str, Any]:
        checks = router.call("GET", routes.DOCTOR)["checks"]
        return next(dict(one) for one in checks if one["name"] == "ssh authority")

    assert check()["ok"]
    router.call("GET", routes.SSH_AUTHORITY)
    assert check() == {"name": "ssh authority", "ok": True, "message": check()["message"], "fix": ""}
    assert check()["message"].endswith("is private")
    os.chmod(f"{settings.state_dir}/ssh/authority", 0o644)
    found = check()
    assert not found["ok"]
    assert "mode 0644" in found["message"]
    assert "chmod 600" in found["fix"]
    assert "ssh-ca rotate" in found["fix"]


# -- the door -------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines of this router have an sshd, of a kind."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("this host has no ssh-keygen")
    monkeypatch.setenv("PATH", f"{fake_sshd.put(tmp_path / 'bin')}:{os.environ['PATH']}")


@pytest.fixture
def reached(with_sshd: None, router: Transport) -> str:
    """A machine with an sshd."""
    made = start(router, name="my-project")
    wait(router, made["id"])
    return str(made["id"])


def ask(settings: Settings, host: str) -> sshdoor.Opened:
    sock = sshdoor.connect(settings.runtime_dir)
    assert sock is not None
    return sshdoor.ask(sock, host)


def talk(opened: sshdoor.Opened) -> bytes:
    with socket.socket(fileno=opened.fd) as sock, sock.makefile("rb") as file:
        sock.settimeout(20)
        first = file.readline()
        sock.sendall(b"and back\n")
        assert file.readline() == b"and back\n"
    return first


@pytest.mark.parametrize("spelling", ["{}", "{}.cr", "my-project.cr", "my-project"])
def test_the_door_gives_a_connection_to_sshd(
    router: Transport, settings: Settings, reached: str, spelling: str
) -> None:
    host = spelling.format(reached)
    opened = ask(settings, host)
    assert opened.authority == router.call("GET", routes.SSH_AUTHORITY)["public_key"]
    first = talk(opened)
    assert first.startswith(b"SSH-2.0-fake -i -e -f ")
    certificate = read(Path(os.fsdecode(first.split()[-1])).with_name("host-certificate.pub").read_text())
    names = {name.decode() for name in certificate.valid_principals}
    label = reached.replace("_", "-")
    assert names == {reached, label, f"{reached}.cr", f"{label}.cr", "my-project.cr", host}
    assert sshcerts.write_public_key(certificate.signature_key()) == opened.authority  # type: ignore[arg-type]


def test_the_name_in_the_certificate_is_the_one_it_has_now(router: Transport, settings: Settings, reached: str) -> None:
    router.call("POST", routes.machine(reached, "rename"), {"name": "other"})
    first = talk(ask(settings, "other.cr"))
    certificate = read(Path(os.fsdecode(first.split()[-1])).with_name("host-certificate.pub").read_text())
    assert b"other.cr" in certificate.valid_principals
    assert b"my-project.cr" not in certificate.valid_principals


def test_many_at_the_door_at_once(settings: Settings, reached: str) -> None:
    first: list[bytes] = []
    threads = [threading.Thread(target=lambda: first.append(talk(ask(settings, reached)))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(first) == 30
    assert all(line.startswith(b"SSH-2.0-fake") for line in first)


def test_a_host_key_that_changes_is_refused_until_it_is_forgotten(
    router: Transport, settings: Settings, reached: str
) -> None:
    first = talk(ask(settings, reached))
    folder = Path(os.fsdecode(first.split()[-1])).parent
    for name in (f"host-key-{reached}", f"host-key-{reached}.pub"):
        (folder / name).unlink()
    for _ in range(2):
        with pytest.raises(AuthFailed, match="is not the one it had") as caught:
            ask(settings, reached)
        assert caught.value.next == f"cloudrouter ssh-ca forget {reached}"
    path = routes.machine(reached, "ssh", "host-key")
    assert router.call("DELETE", path) == {"forgotten": True}
    assert router.call("DELETE", path) == {"forgotten": False}
    talk(ask(settings, reached))


def test_the_keys_of_machines_that_are_gone_are_forgotten(router: Transport, settings: Settings, reached: str) -> None:
    talk(ask(settings, reached))
    assert os.listdir(f"{settings.state_dir}/ssh/hosts") == [reached]
    router.call("DELETE", routes.machine(reached))
    assert os.listdir(f"{settings.state_dir}/ssh/hosts") == []


def test_a_machine_that_cannot_be_reached_says_why(router: Transport, settings: Settings, machine: str) -> None:
    with pytest.raises(NotConfigured, match="has no sshd") as caught:
        ask(settings, machine)
    assert caught.value.fix.startswith("Install OpenSSH's server")
    assert caught.value.next == f"cloudrouter ssh {machine} sudo apt-get install -y openssh-server"
    router.call("POST", routes.machine(machine, "stop"))
    with pytest.raises(NotRunning):
        ask(settings, machine)
    with pytest.raises(NotFound):
        ask(settings, "nobody.cr")


@pytest.mark.parametrize("host", ["", "a b", "../x", "a.b.cr", "é", "x" * 299])
def test_what_is_no_host_is_refused_at_the_door(router: Transport, settings: Settings, host: str) -> None:
    with pytest.raises(UsageError, match="no machine's host name"):
        ask(settings, host)


def test_who_says_nothing_harms_nobody(router: Transport, settings: Settings) -> None:
    path = f"{settings.runtime_dir}/ssh.sock"
    assert os.stat(path).st_mode & 0o777 == 0o600
    for data in (b"", b"half", b"x" * 5000):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(data)
    with pytest.raises(CloudRouterError):
        ask(settings, "nobody")


def test_the_socket_goes_with_the_router_and_a_dead_ones_is_replaced(
    settings: Settings, request: pytest.FixtureRequest
) -> None:
    os.makedirs(settings.runtime_dir, mode=0o700)
    path = f"{settings.runtime_dir}/ssh.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    request.getfixturevalue("router")
    with pytest.raises(NotFound):
        ask(settings, "nobody")


def test_a_connection_outlives_its_router(settings: Settings, with_sshd: None, tmp_path: Path) -> None:
    from cloudrouter.providers.memory import MemoryProvider
    from cloudrouter.testing.live_router import live_router

    def make(router_id: str) -> dict[str, Any]:
        config = {"root": str(tmp_path / "machines")}
        return {"memory": MemoryProvider(router_id=router_id, clock=time.time, config=config)}

    with live_router(settings, make) as router:
        made = start(router)
        wait(router, made["id"])
        opened = ask(settings, made["id"])
    assert not os.path.exists(f"{settings.runtime_dir}/ssh.sock")
    assert talk(opened).startswith(b"SSH-2.0-fake")
    with live_router(settings, make) as router:
        router.call("DELETE", routes.machine(made["id"]))


def test_a_connection_that_was_given_away_stays_open_nowhere(settings: Settings, reached: str) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))  # The router is in this process.

    talk(ask(settings, reached))
    before = open_files()
    for _ in range(20):
        talk(ask(settings, reached))
    deadline = time.monotonic() + 10
    while open_files() > before + 2:  # one more spare stream, perhaps
        assert time.monotonic() < deadline, open_files() - before
