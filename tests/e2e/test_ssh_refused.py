"""Whatever is not this very machine, or not who may come in, is refused, without a question."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from cloudrouter.server.ssh.authority import Authority
from tests.e2e.conftest import Done, User
from tests.e2e.sshing import Ssh

pytestmark = pytest.mark.engine

DENIED = "Permission denied (publickey)"
NOT_KNOWN = "Host key verification failed"


@pytest.fixture(scope="module")
def ssh(resident: User) -> Ssh:
    """ssh as the resident has it."""
    return Ssh(resident)


@pytest.fixture(scope="module")
def other(resident: User) -> str:
    """A second machine of the same person."""
    return resident.start()


def refused(done: Done, *reasons: str) -> None:
    """It ended without a command having run, and said why."""
    assert (done.code, done.out) == (255, b""), (done.code, done.out_text, done.err_text)
    for reason in reasons:
        assert reason in done.err_text, done.err_text


def with_certificate(ssh: Ssh, path: Path | str, host: str) -> Done:
    """ssh with another certificate for its key; the rest of its configuration is the usual one."""
    text = ssh.config.read_text()
    lines = [f'    CertificateFile "{path}"' if "CertificateFile" in line else line for line in text.splitlines()]
    config = ssh.user.base / "other-config"
    config.write_text("\n".join(lines) + "\n")
    return ssh.run(["ssh", "-F", str(config), host, "echo ran"])


def signed(ssh: Ssh, machine: str, *, at: float = 0.0, authority: Path | None = None) -> Path:
    """A certificate as the router would have signed it at another time, or another router."""
    folder = authority or ssh.user.base / "state" / "ssh"
    made = Authority(str(folder), lambda: time.time() + at)
    line, _ = made.certify_user((ssh.folder / "key.pub").read_text(), machine, "local")
    path = ssh.user.base / "made-cert.pub"
    path.write_text(line + "\n")
    return path


# -- who comes ------------------------------------------------------------------------------------------------------


def test_a_certificate_made_here_is_let_in(ssh: Ssh, home: str) -> None:
    """What the refusals below are measured against."""
    assert with_certificate(ssh, signed(ssh, home), home).out == b"ran\n"


def test_another_machines_user_certificate_is_refused(ssh: Ssh, home: str, other: str) -> None:
    ssh.ok(other, "true")
    refused(with_certificate(ssh, ssh.certificate(other), home), DENIED)


def test_an_expired_certificate_is_refused(ssh: Ssh, home: str) -> None:
    refused(with_certificate(ssh, signed(ssh, home, at=-601), home), DENIED)
    refused(with_certificate(ssh, signed(ssh, home, at=3600), home), DENIED)


def test_another_authoritys_certificate_is_refused(ssh: Ssh, home: str, tmp_path: Path) -> None:
    refused(with_certificate(ssh, signed(ssh, home, authority=tmp_path), home), DENIED)


def test_a_key_without_a_certificate_is_refused_also_when_the_machine_names_it(ssh: Ssh, home: str) -> None:
    public_key = (ssh.folder / "key.pub").read_bytes()
    ssh.ok(home, "mkdir -pm 700 ~/.ssh; cat > ~/.ssh/authorized_keys", input=public_key)
    refused(with_certificate(ssh, "none", home), DENIED)
    ssh.ok(home, "rm -r ~/.ssh")


def test_a_password_is_refused(ssh: Ssh, home: str) -> None:
    ssh.ok(home, "echo user:known | sudo chpasswd")
    words = ("-o", "BatchMode=no", "-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1")
    methods = ("-o", "PasswordAuthentication=yes", "-o", "KbdInteractiveAuthentication=yes")
    order = ("-o", "PreferredAuthentications=password,keyboard-interactive")
    asks = ssh.user.base / "asks"
    asks.write_text("#!/bin/sh\necho asked >&2\necho known\n")
    asks.chmod(0o755)
    env = {**ssh.environment(), "SSH_ASKPASS": str(asks), "SSH_ASKPASS_REQUIRE": "force"}
    done = ssh.ssh(*words, *methods, *order, home, "echo ran", env=env)
    refused(done, DENIED)
    assert "asked" not in done.err_text


def test_another_account_is_refused(ssh: Ssh, home: str) -> None:
    refused(ssh.ssh("-l", "root", home, "echo ran"), DENIED)


def test_an_agent_is_not_taken_along(ssh: Ssh, home: str) -> None:
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", f"{ssh.user.base}/agent"], stdout=subprocess.DEVNULL)
    try:
        env = {**ssh.environment(), "SSH_AUTH_SOCK": f"{ssh.user.base}/agent"}
        assert ssh.ok("-A", home, "echo [$SSH_AUTH_SOCK]", env=env).out == b"[]\n"
        assert ssh.ok("-X", home, "echo [$DISPLAY]", env={**env, "DISPLAY": ":9"}).out == b"[]\n"
    finally:
        agent.terminate()
        agent.wait()


# -- whom one meets -------------------------------------------------------------------------------------------------


def test_another_machine_at_the_end_is_refused(ssh: Ssh, home: str, other: str) -> None:
    ssh.ok(other, "true")
    proxy = next(line for line in ssh.config.read_text().splitlines() if "ProxyCommand" in line)
    command = proxy.partition("ProxyCommand ")[2].replace("%n", other)
    done = ssh.ssh("-o", f"ProxyCommand={command}", home, "echo ran")
    refused(done, NOT_KNOWN, "name is not a listed principal")


def test_a_host_of_another_authority_is_refused(ssh: Ssh, home: str, tmp_path: Path) -> None:
    made = Authority(str(tmp_path), time.time).held()
    known = tmp_path / "known"
    known.write_text(f"@cert-authority * {made.public_key}\n")
    ssh.ok(home, "true")
    refused(ssh.ssh("-o", f"UserKnownHostsFile={known}", home, "echo ran"), NOT_KNOWN)


def test_somebody_in_between_is_refused(ssh: Ssh, home: str, other: str) -> None:
    """The bytes end at a server that has the router's word for nothing: another key, with the right certificate."""
    inside = "/tmp/false"
    ssh.ok(other, f"mkdir {inside}; ssh-keygen -q -t ed25519 -N '' -f {inside}/key")
    certificate = ssh.ok(home, "cat /var/lib/cloudrouter/ssh/host-certificate.pub").out
    ssh.ok(other, f"cat > {inside}/key-cert.pub", input=certificate)
    sshd = f"/usr/sbin/sshd -i -f /dev/null -o HostKey={inside}/key -o HostCertificate={inside}/key-cert.pub"
    command = f"{shutil.which('ssh')} -F {ssh.config} {other} {sshd}"
    options = ("-o", "ProxyUseFdpass=no", "-o", f"ProxyCommand={command}")
    done = ssh.ssh(*options, home, "echo ran")
    refused(done, "no matching host key type found")
    done = ssh.ssh(*options, "-o", "HostKeyAlgorithms=ssh-ed25519", home, "echo ran")
    refused(done, NOT_KNOWN)


def test_a_host_key_that_changes_is_refused_until_the_person_says_so(user: User) -> None:
    ssh, machine = Ssh(user), user.start()
    ssh.ok(machine, "true")
    folder, key = "/var/lib/cloudrouter/ssh", f"host-key-{machine}"
    ssh.ok(machine, "ssh-keygen -q -t ed25519 -N '' -f /tmp/new")
    ssh.ok(machine, f"sudo cp /tmp/new {folder}/{key}; sudo cp /tmp/new.pub {folder}/{key}.pub")
    refused(
        ssh.ssh(machine, "echo ran"), f"The SSH host key of {machine} is not the one it had", f"ssh-ca forget {machine}"
    )
    user.ok("server", "stop")
    refused(ssh.ssh(machine, "echo ran"), "is not the one it had")
    assert user.json("ssh-ca", "forget", machine) == {"forgotten": True}
    assert ssh.ok(machine, "echo ran").out == b"ran\n"


def test_a_key_that_the_machine_made_for_another_id_is_not_used(user: User) -> None:
    """A copy of a machine's disk brings the key of its origin along; the copy makes one of its own."""
    ssh, parent, child = Ssh(user), user.start(), user.start()
    folder = "/var/lib/cloudrouter/ssh"
    ssh.ok(parent, "true")
    parents_key = ssh.ok(parent, f"cat {folder}/host-key-{parent}").out
    put = f"sudo mkdir -p {folder}; sudo tee {folder}/host-key-{parent} >/dev/null"
    user.ok("ssh", child, put, input=parents_key)
    ssh.ok(child, "true")
    assert ssh.ok(child, f"sudo ls {folder} | grep host-key").out_text.split() == [
        f"host-key-{child}",
        f"host-key-{child}.pub",
    ]
    assert ssh.ok(child, f"cat {folder}/host-key-{child}").out != parents_key


# -- what has ended -------------------------------------------------------------------------------------------------


def test_a_deleted_machine_is_told_as_such(user: User) -> None:
    ssh, machine = Ssh(user), user.start("--name", "short-lived")
    ssh.ok(machine, "true")
    ssh.ok("short-lived.cr", "true")
    user.ok("delete", machine)
    for host in (machine, "short-lived.cr"):
        refused(ssh.ssh(host, "echo ran"), "cloudrouter: There is no machine", "Next: cloudrouter ls")


def test_an_authority_that_was_replaced_is_worth_nothing(user: User) -> None:
    ssh, machine = Ssh(user), user.start()
    ssh.ok(machine, "true")
    old_certificate, old_known = user.base / "old-cert.pub", user.base / "old-known"
    shutil.copy(ssh.certificate(machine), old_certificate)
    shutil.copy(ssh.folder / "known_hosts", old_known)
    with ssh.popen(ssh.words("ssh", machine, "cat"), stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"before\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"before\n"
        before = user.json("ssh-ca", "show")
        after = user.json("ssh-ca", "rotate")
        assert before["fingerprint"] != after["fingerprint"]
        # At once, and without a word: the known hosts and certificates of this host have followed.
        done = ssh.ok(machine, "echo ran")
        assert (done.out, done.err) == (b"ran\n", b"")
        refused(with_certificate(ssh, old_certificate, machine), DENIED)
        refused(ssh.ssh("-o", f"UserKnownHostsFile={old_known}", machine, "echo ran"), NOT_KNOWN)
        out, _ = process.communicate(b"open connections go on\n", timeout=20)
        assert out == b"open connections go on\n"


def test_an_authority_that_somebody_else_replaced_is_followed_by_the_next_connection_but_one(user: User) -> None:
    ssh, machine = Ssh(user), user.start()
    ssh.ok(machine, "true")
    user.ok("server", "stop")
    (user.base / "state" / "ssh" / "authority").unlink()
    refused(ssh.ssh(machine, "echo ran"), "authority is another one now", DENIED)
    assert ssh.ok(machine, "echo ran").out == b"ran\n"


# -- what is not ours -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["cr_'touch x'", "cr_x\\", "../cr_x.cr", "www.example.cr", "cr-prod", "-x.cr"])
def test_other_hosts_are_left_alone(ssh: Ssh, host: str) -> None:
    done = ssh.run(["ssh", "-F", str(ssh.config), "-G", "--", host])
    assert "ProxyCommand" not in done.out_text.replace("proxycommand", "ProxyCommand")
    assert "ssh-client" not in done.out_text


def test_nothing_listens_for_ssh(ssh: Ssh, home: str) -> None:
    assert b":22 " not in ssh.ok(home, "ss -ltn").out
    sockets = [path for path in (ssh.user.base / "run").iterdir() if path.is_socket()]
    assert {path.name for path in sockets} == {"router.sock", "ssh.sock"}
    for path in sockets:
        assert os.stat(path).st_mode & 0o077 == 0
