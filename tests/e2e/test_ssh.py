"""ssh, scp, sftp, rsync, git, Ansible and editors reach machines, and nothing ever asks."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pty
import re
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiodocker
import pytest

from tests.e2e.conftest import User, until
from tests.e2e.sshing import Ssh, programs, succeeded, told

pytestmark = pytest.mark.engine

BIG = 256_000_000 if os.environ.get("CI") == "true" else 1_000_000_000
INNER_SERVER = (
    "import http.server as h, sys\n"
    "class Page(h.BaseHTTPRequestHandler):\n"
    "    def do_GET(self): self.send_response(200); self.end_headers(); self.wfile.write(b'inside')\n"
    "    def log_message(self, *words): pass\n"
    "server = h.HTTPServer(('127.0.0.1', int(sys.argv[1])), Page)\n"
    "print('listening', flush=True)\n"
    "server.serve_forever()\n"
)


@pytest.fixture(scope="module")
def ssh(resident: User) -> Ssh:
    """ssh as the resident has it."""
    return Ssh(resident)


@pytest.fixture(scope="module")
def served(ssh: Ssh, home: str) -> Iterator[int]:
    """A port of the machine on which a page is served, on its loopback alone."""
    words = ssh.words("ssh", home, f"exec python3 -u -c {quoted(INNER_SERVER)} 8123")
    with ssh.popen(words) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        yield 8123
        process.terminate()


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def log_of(machine: str) -> str:
    """Everything that a machine's guest has written."""
    docker = aiodocker.Docker()
    try:
        container = await docker.containers.get(machine.replace("_", "-"))
        return "".join(await container.log(stdout=True, stderr=True))
    finally:
        await docker.close()


@contextlib.contextmanager
def running(ssh: Ssh, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """ssh in the background, ended afterwards."""
    with ssh.popen(ssh.words("ssh", *words)) as process:
        try:
            yield process
        finally:
            process.terminate()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def fetch(port: int) -> bytes:
    """A page over plain HTTP."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        found = b""
        while data := sock.recv(65536):
            found += data
    return found.rpartition(b"\r\n\r\n")[2]


# -- commands -------------------------------------------------------------------------------------------------------


def test_a_command_is_as_a_local_one(ssh: Ssh, home: str) -> None:
    done = ssh.ok(home, "cat; echo err >&2", input=b"in\n")
    assert (done.out, done.err) == (b"in\n", b"err\n")
    assert ssh.ssh(home, "exit 7").code == 7
    assert ssh.ok(home, "printf '[%s]' 'a  b' \"$HOME\" '*'").out == b"[a  b][/home/user][*]"


def test_the_surroundings_are_those_of_our_own_verb(ssh: Ssh, resident: User) -> None:
    env = {"PLAIN": "1", "QUOTED": "a'b\"c $HOME `x` \\", "LINES_OF": "one\ntwo", "EMPTY": ""}
    words = [word for name, text in env.items() for word in ("--env", f"{name}={text}")]
    machine = resident.start("--name", "surrounded", *words)
    try:
        tell = "pwd; umask; id; for n in PLAIN QUOTED LINES_OF EMPTY; do printenv $n; done; env -u SSH_CLIENT | sort"
        ours = resident.ok("ssh", machine, tell).out_text
        theirs = ssh.ok(machine, tell).out_text
        only_ssh = {"SSH_CLIENT", "SSH_CONNECTION"}
        assert [line for line in theirs.splitlines() if line.partition("=")[0] not in only_ssh] == ours.splitlines()
        assert ours.startswith("/home/user/workspace\n0022\nuid=1000(user)")
        login = "echo $PATH; echo $SSL_CERT_FILE; pwd"
        words = f"bash -lc {quoted(login)}"
        assert ssh.ok("-tt", machine, words).out_text.split() == resident.ok("ssh", machine, words).out_text.split()
    finally:
        resident.ok("delete", machine)


def test_a_shell_without_a_command_has_a_terminal(ssh: Ssh, home: str) -> None:
    leader, follower = pty.openpty()
    words = ssh.words("ssh", home)
    with ssh.popen(words, stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        os.write(leader, b"echo at-$(pwd) on-$(tty | cut -c1-9) in-$0; exit 4\n")
        seen = b""
        while process.poll() is None or select.select([leader], [], [], 0.2)[0]:
            if select.select([leader], [], [], 0.1)[0]:
                try:
                    seen += os.read(leader, 65536)
                except OSError:
                    break
        assert process.wait(20) == 4
    os.close(leader)
    assert b"at-/home/user/workspace on-/dev/pts/ in-/bin/bash" in seen, seen
    assert b"password" not in seen.lower()


def test_every_way_to_write_a_machine_is_a_host(ssh: Ssh, resident: User) -> None:
    machine = resident.start("--name", "first-name")
    try:
        label = machine.replace("_", "-")
        for host in (machine, label, f"{machine}.cr", f"{label}.cr", "first-name.cr", machine[:8]):
            assert ssh.ok(host, "hostname").out_text.strip() == label
        resident.ok("rename", machine, "second-name")
        assert ssh.ok("second-name.cr", "hostname").out_text.strip() == label
        done = ssh.ssh("first-name.cr", "hostname")
        assert (done.code, done.out) == (255, b"")
        assert "There is no machine 'first-name'" in done.err_text
    finally:
        resident.ok("delete", machine)


def test_a_name_that_another_machine_has_now_leads_to_that_one(ssh: Ssh, resident: User) -> None:
    for _ in range(2):
        machine = resident.start("--name", "reborn")
        assert ssh.ok("reborn.cr", "hostname").out_text.strip() == machine.replace("_", "-")
        resident.ok("delete", machine)


def test_one_connection_serves_many_commands(ssh: Ssh, home: str, tmp_path: Path) -> None:
    path = tmp_path / "control"
    options = ("-o", f"ControlPath={path}")
    with running(ssh, *options, "-M", "-N", home):
        until(path.exists, "the control socket")
        for number in range(20):
            assert ssh.ok(*options, home, f"echo {number}").out_text == f"{number}\n"
        ssh.ok(*options, "-O", "exit", home)


def test_fifty_connections_at_once(ssh: Ssh, home: str) -> None:
    processes = [ssh.popen(ssh.words("ssh", home, f"echo {n}; sleep 3; echo {n}")) for n in range(50)]
    for n, process in enumerate(processes):
        out, err = process.communicate(timeout=200)
        assert (process.returncode, out.split()) == (0, [str(n).encode()] * 2), err


def test_another_program_may_carry_the_bytes(ssh: Ssh, home: str) -> None:
    data = os.urandom(20_000_000)
    done = ssh.ok("-o", "ProxyUseFdpass=no", home, "cat", input=data)
    assert done.out == data
    proxy = f"{Path(sys.executable).parent}/cloudrouter ssh-proxy %n"
    assert ssh.ok("-o", "ProxyUseFdpass=no", "-o", f"ProxyCommand={proxy}", home, "cat", input=data).out == data
    assert ssh.ok("-o", f"ProxyCommand={proxy}", home, "cat", input=data).out == data


# -- files ----------------------------------------------------------------------------------------------------------


def test_scp_carries_much_both_ways(ssh: Ssh, home: str, tmp_path: Path) -> None:
    digest = hashlib.sha256()
    with (tmp_path / "big").open("wb") as file:
        for _ in range(BIG // 1_000_000):
            block = os.urandom(1_000_000)
            digest.update(block)
            file.write(block)
    succeeded(ssh.run(ssh.words("scp", "-q", tmp_path / "big", f"{home}:big")))
    assert ssh.ok(home, "sha256sum ~/workspace/big").out_text.split()[0] == digest.hexdigest()
    succeeded(ssh.run(ssh.words("scp", "-q", f"{home}:big", tmp_path / "back")))
    with (tmp_path / "back").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == digest.hexdigest()
    old_protocol = ssh.words("scp", "-q", "-O", f"{home}:big", tmp_path / "old")
    succeeded(ssh.run(old_protocol))
    assert (tmp_path / "old").stat().st_size == BIG
    ssh.ok(home, "rm big")


def test_sftp_does_a_batch(ssh: Ssh, home: str, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"one")
    batch = tmp_path / "batch"
    batch.write_text(
        f"pwd\nmkdir sub\nput {tmp_path}/one sub/one\nrename sub/one sub/two\nchmod 640 sub/two\n"
        f"get sub/two {tmp_path}/two\nln -s two sub/link\nls -l sub\nrm sub/link\nrm sub/two\nrmdir sub\n"
    )
    done = succeeded(ssh.run(ssh.words("sftp", "-q", "-b", batch, home)))
    assert "/home/user/workspace" in done.out_text
    assert "-rw-r-----" in done.out_text
    assert (tmp_path / "two").read_bytes() == b"one"


@pytest.mark.skipif(not programs("rsync"), reason="this host has no rsync")
def test_rsync_copies_a_tree_both_ways(ssh: Ssh, home: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(300):
        path = tree / f"d{number % 7}" / f"f {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1000))
    (tree / "link").symlink_to("d1/f 1")
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    succeeded(ssh.run(["rsync", "-a", f"{tree}/", f"{home}:tree/"]))
    succeeded(ssh.run(["rsync", "-a", "--delete", f"{home}:tree/", f"{tmp_path}/back/"]))
    assert subprocess.run(["diff", "-r", str(tree), f"{tmp_path}/back"], check=False).returncode == 0
    assert os.readlink(tmp_path / "back" / "link") == "d1/f 1"
    assert (tmp_path / "back" / "run").stat().st_mode & 0o777 == 0o755
    (tree / "d1" / "f 1").unlink()
    done = succeeded(ssh.run(["rsync", "-ai", "--delete", f"{tree}/", f"{home}:tree/"]))
    assert "*deleting   d1/f 1" in done.out_text
    ssh.ok(home, "rm -rf tree")


def test_git_clones_from_and_pushes_to_a_machine(ssh: Ssh, home: str, tmp_path: Path) -> None:
    ssh.ok(home, "git init -q --bare repo.git")
    clone = tmp_path / "clone"
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    succeeded(ssh.run(["git", "clone", "-q", f"{home}:repo.git", str(clone)]))
    (clone / "file").write_text("content\n")
    succeeded(ssh.run(["git", "-C", str(clone), "add", "file"]))
    succeeded(ssh.run(["git", "-C", str(clone), *identity, "commit", "-q", "-m", "first"]))
    succeeded(ssh.run(["git", "-C", str(clone), "push", "-q", "origin", "HEAD:main"]))
    assert ssh.ok(home, "git --git-dir repo.git show main:file").out == b"content\n"
    url = f"ssh://{home}/home/user/workspace/repo.git"
    traced = {**ssh.environment(), "GIT_TRACE_PACKET": "1"}
    done = succeeded(ssh.run(["git", "ls-remote", url], env=traced))
    assert "refs/heads/main" in done.out_text
    assert "version 2" in done.err_text  # GIT_PROTOCOL came through
    ssh.ok(home, "rm -rf repo.git")


def fuse_works() -> bool:
    """Whether this process may mount something: containers have the device, and often not the right."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    return programs("sshfs", "fusermount3")


@pytest.mark.skipif(not fuse_works(), reason="no sshfs here, or no FUSE")
def test_sshfs_mounts_a_workspace(ssh: Ssh, home: str, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    succeeded(ssh.run(["sshfs", "-F", str(ssh.config), f"{home}:", str(mount)]))
    try:
        (mount / "from-here").write_text("here")
        assert ssh.ok(home, "cat from-here").out == b"here"
        ssh.ok(home, "echo there > from-there; rm from-here")
        assert (mount / "from-there").read_text() == "there\n"
    finally:
        succeeded(ssh.run(["fusermount3", "-u", str(mount)]))


# -- ports ----------------------------------------------------------------------------------------------------------


def test_a_local_port_leads_into_the_machine(ssh: Ssh, home: str, served: int) -> None:
    port = free_port()
    with running(ssh, "-N", "-L", f"127.0.0.1:{port}:127.0.0.1:{served}", home):
        until(lambda: answers(port), "the forwarded port")
        assert fetch(port) == b"inside"


def test_a_port_of_the_machine_leads_here(ssh: Ssh, home: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"127.0.0.1:{server.getsockname()[1]}"
        with running(ssh, "-o", "ExitOnForwardFailure=yes", "-N", "-R", f"8124:{there}", home):
            asking = "exec 3<>/dev/tcp/127.0.0.1/8124 && cat <&3"
            until(lambda: b":8124" in ssh.ok(home, "ss -ltn").out, "the port inside")
            # GatewayPorts no: on the machine's loopback alone.
            assert set(re.findall(r"(\S+):8124", ssh.ok(home, "ss -ltn").out_text)) <= {"127.0.0.1", "[::1]"}
            with ssh.popen(ssh.words("ssh", home, f"bash -c {quoted(asking)}")) as inside:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"from here\n")
                assert inside.communicate(timeout=20)[0] == b"from here\n"


def test_a_socks_port_leads_into_the_machine(ssh: Ssh, home: str, served: int) -> None:
    port = free_port()
    with running(ssh, "-N", "-D", f"127.0.0.1:{port}", home):
        until(lambda: answers(port), "the SOCKS port")
        assert fetch_by_socks(port, served) == b"inside"


def fetch_by_socks(port: int, inner: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"\x05\x01\x00")
        assert sock.recv(2) == b"\x05\x00"
        sock.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + inner.to_bytes(2, "big"))
        assert sock.recv(10)[:2] == b"\x05\x00"
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        found = b""
        while data := sock.recv(65536):
            found += data
    return found.rpartition(b"\r\n\r\n")[2]


def test_a_jump_through_a_machine_reaches_what_it_reaches(ssh: Ssh, home: str, tmp_path: Path) -> None:
    for name in ("key", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    succeeded(ssh.run(ssh.words("scp", "-q", tmp_path / "host", tmp_path / "key.pub", f"{home}:/tmp/")))
    host_key = " ".join((tmp_path / "host.pub").read_text().split()[:2])
    (tmp_path / "known").write_text(f"[127.0.0.1]:2222 {host_key}\n")
    config = tmp_path / "config"
    config.write_text(
        f'Include "{ssh.config}"\nHost behind\n HostName 127.0.0.1\n Port 2222\n User user\n'
        f" IdentityFile {tmp_path}/key\n IdentityAgent none\n UserKnownHostsFile {tmp_path}/known\n BatchMode yes\n"
    )
    sshd = "/usr/sbin/sshd -D -e -p 2222 -h /tmp/host -o ListenAddress=127.0.0.1 -o AuthorizedKeysFile=/tmp/key.pub"
    inner = f"{sshd} -o PidFile=/tmp/inner.pid -o StrictModes=no -f /dev/null"
    with running(ssh, home, inner):
        until(lambda: b":2222" in ssh.ok(home, "ss -ltn").out, "the sshd behind")
        done = succeeded(ssh.run(["ssh", "-F", str(config), "-J", home, "behind", "echo $SSH_CONNECTION"]))
        assert done.out_text.split()[3] == "2222"
    ssh.ok(home, "kill $(cat /tmp/inner.pid); rm /tmp/host /tmp/key.pub")


# -- tools ----------------------------------------------------------------------------------------------------------


def test_ansible_pings_and_plays(ssh: Ssh, home: str, tmp_path: Path) -> None:
    bin_folder = Path(sys.executable).parent
    if not (bin_folder / "ansible-playbook").exists():
        pytest.skip("ansible-core is not installed")
    env = {
        **ssh.environment(),
        "ANSIBLE_SSH_ARGS": f"-F {ssh.config} -o ControlMaster=auto -o ControlPersist=20s",
        "ANSIBLE_HOME": str(tmp_path),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    done = succeeded(ssh.run([str(bin_folder / "ansible"), "-i", f"{home},", "all", "-m", "ping"], env=env))
    assert '"ping": "pong"' in done.out_text
    play = tmp_path / "play.yml"
    play.write_text(
        "- hosts: all\n  tasks:\n"
        "    - copy: {content: 'played', dest: /home/user/workspace/played}\n"
        "    - file: {path: /opt/by-ansible, state: directory}\n      become: true\n"
        "    - command: cat played\n      register: found\n      args: {chdir: /home/user/workspace}\n"
        "    - assert: {that: found.stdout == 'played'}\n"
    )
    words = [str(bin_folder / "ansible-playbook"), "-i", f"{home},", str(play)]
    done = succeeded(ssh.run(words, env=env))
    assert "changed=3" in done.out_text
    assert "failed=0" in done.out_text
    assert ssh.ok(home, "cat played; test -d /opt/by-ansible").out == b"played"


def test_an_editor_installs_its_server_and_stays(ssh: Ssh, home: str) -> None:
    """What VS Code's Remote-SSH does: a script for a bare shell on stdin, then its server through a SOCKS port."""
    port = free_port()
    script = (
        "echo begin-mark; uname -sm; mkdir -p ~/.vscode-server/bin && cd ~/.vscode-server/bin && umask 077\n"
        f"cat > server.py <<'EOF'\n{INNER_SERVER}EOF\n"
        "nohup python3 -u server.py 8125 > log 2>&1 < /dev/null &\n"
        "echo $! > pid; until grep -q listening log; do sleep 0.1; done\n"
        "echo listeningOn==8125==; echo end-mark\n"
    )
    with ssh.popen(ssh.words("ssh", "-T", "-D", str(port), home, "bash"), stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(script.encode())
        process.stdin.flush()
        said = b""
        while b"end-mark" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        assert b"Linux x86_64" in said or b"Linux aarch64" in said
        inner = int(re.search(rb"listeningOn==(\d+)==", said).group(1))  # type: ignore[union-attr]
        for _ in range(20):
            assert fetch_by_socks(port, inner) == b"inside"
        process.stdin.write(b"echo still $((6 * 7))\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"still 42\n"
        process.stdin.write(b"kill $(cat ~/.vscode-server/bin/pid); rm -rf ~/.vscode-server; exit 0\n")
        process.stdin.close()
        assert process.wait(20) == 0


# -- life -----------------------------------------------------------------------------------------------------------


def test_a_connection_outlives_the_router(user: User) -> None:
    ssh, machine = Ssh(user), user.start()
    with ssh.popen(ssh.words("ssh", machine, "cat"), stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, change in enumerate((None, ("server", "stop"), ("ls",))):
            if change:
                user.ok(*change)
            process.stdin.write(b"%d\n" % number)
            process.stdin.flush()
            assert process.stdout.readline() == b"%d\n" % number
        process.stdin.close()
        assert process.wait(20) == 0
    user.ok("server", "stop")
    assert ssh.ok(machine, "echo the router was started").out == b"the router was started\n"


def test_a_connection_ends_when_its_machine_does(user: User) -> None:
    ssh, machine = Ssh(user), user.start()
    for verb in ("stop", "delete"):
        with ssh.popen(ssh.words("ssh", machine, "echo in; sleep 600")) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"in\n"
            user.ok(verb, machine)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 255
        assert b"closed" in err
        if verb == "stop":
            done = ssh.ssh(machine, "true")
            assert done.code == 255
            assert f"cloudrouter: {machine} is stopped" in done.err_text
            assert f"Next: cloudrouter resume {machine}" in done.err_text
            user.ok("resume", machine)


def test_the_host_key_stays_when_the_machine_stops_and_goes_on(user: User) -> None:
    ssh, machine = Ssh(user), user.start()
    key = f"cat /var/lib/cloudrouter/ssh/host-key-{machine}.pub"
    before = ssh.ok(machine, key).out
    user.ok("stop", machine)
    user.ok("resume", machine)
    assert ssh.ok(machine, key).out == before


def test_nobody_sees_a_private_key(user: User) -> None:
    ssh, machine = Ssh(user), user.start()
    look = "ps axww -o args; sudo cat /proc/[0-9]*/environ | tr '\\0' '\\n'; sudo ls -lR /var/lib/cloudrouter/ssh"
    with running(ssh, machine, "sleep 60"):
        until(lambda: b"ssh (a connection" in user.ok("ps", "--all", machine).out, "the connection in `ps`")
        seen = ssh.ok(machine, look).out_text + told("ps", "axww", "-o", "args")
    seen += asyncio.run(log_of(machine))
    assert "guest: sshd: Accepted publickey for user" in seen
    for path in (user.base / "state" / "logs").iterdir():
        seen += path.read_text(errors="replace")
    secrets = [ssh.folder / "key", user.base / "state" / "ssh" / "authority"]
    for path in secrets:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text().split("\n")[1] not in seen
    assert "PRIVATE KEY" not in seen
    assert re.search(r"-rw------- 1 user +user +\d+ .* host-key-cr_\w+\n", seen)
    # The machine has the public halves of both, and the router has never had the machine's private one.
    found = told("grep", "-rl", "OPENSSH PRIVATE KEY", f"{user.base}/state")
    assert set(found.split()) == {str(path) for path in secrets}


def test_a_machine_without_sshd_says_so(user: User) -> None:
    ssh, machine = Ssh(user), user.start()
    user.ok("ssh", machine, "sudo mv /usr/sbin/sshd /usr/sbin/sshd.away")
    done = ssh.ssh(machine, "true")
    assert done.code == 255
    assert "This machine has no sshd" in done.err_text
    assert "Fix:  Install OpenSSH's server in it" in done.err_text
    assert f"Next: cloudrouter ssh {machine} sudo apt-get install -y openssh-server" in done.err_text
    user.ok("ssh", machine, "sudo mv /usr/sbin/sshd.away /usr/sbin/sshd")
    ssh.ok(machine, "true")
