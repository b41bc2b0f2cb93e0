"""What OpenSSH is given on the person's side."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.client.sshfiles import SshFiles
from cloudrouter.wire import routes
from cloudrouter.wire.errors import Internal, NotConfigured, NotFound, UsageError

AUTHORITY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHbGCc7U3v6Wb6RoTXW1Aa7yrWfPXCqIMiVHqyQGHiCe"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
ID = "cr_7k2m9xqd"


class Router:
    """Answers as one whose authority is this."""

    def __init__(self) -> None:
        self.authority: Any = AUTHORITY
        self.certificate: Any = "ssh-ed25519-cert-v01@openssh.com AAAA"
        self.asked: list[tuple[str, str, Any]] = []

    def call(self, method: str, path: str, body: Any = None) -> Any:
        self.asked.append((method, path, body))
        if path == routes.SSH_AUTHORITY:
            return {"public_key": self.authority}
        if isinstance(self.certificate, Exception):
            raise self.certificate
        return {"certificate": self.certificate, "ca": self.authority}


@pytest.fixture
def router() -> Router:
    return Router()


@pytest.fixture
def files(tmp_path: Path) -> SshFiles:
    return SshFiles(str(tmp_path / "state"))


def prepare(files: SshFiles, router: Any, **environ: str) -> str:
    return files.prepare(router, environ)


def options(files: SshFiles, host: str) -> dict[str, str]:
    """What ssh itself makes of the configuration for a host; nothing where it takes no such host at all."""
    words = ["ssh", "-F", files.config, "-G", "--", host]
    told = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert told.returncode == 0 or "invalid characters" in told.stderr
    return dict(reversed([line.partition(" ")[::2] for line in told.stdout.splitlines()]))


def test_everything_is_private_and_made_once(files: SshFiles, router: Router) -> None:
    text = prepare(files, router)
    assert sorted(os.listdir(files.folder)) == ["certs", "config", "key", "key.pub", "known_hosts", "proxy"]
    assert os.stat(files.folder).st_mode & 0o777 == 0o700
    for name in ("config", "key", "known_hosts", "proxy"):
        assert os.stat(f"{files.folder}/{name}").st_mode & 0o777 == 0o600
    key, inode = Path(files.key).read_bytes(), os.stat(files.config).st_ino
    assert prepare(files, router) == text == Path(files.config).read_text()
    assert (Path(files.key).read_bytes(), os.stat(files.config).st_ino) == (key, inode)


def test_ssh_reads_it_for_our_hosts_and_no_others(files: SshFiles, router: Router) -> None:
    prepare(files, router)
    Path(f"{files.folder}/certs").chmod(0o700)
    for host in (ID, ID.replace("_", "-"), f"{ID}.cr", "my-project.cr"):
        found = options(files, host)
        expected = {
            "user": "user", "port": "22", "stricthostkeychecking": "true", "batchmode": "yes", "identitiesonly": "yes",
            "proxyusefdpass": "yes", "passwordauthentication": "no", "kbdinteractiveauthentication": "no",
            "forwardagent": "no", "forwardx11": "no", "updatehostkeys": "false", "identityagent": "none",
            "userknownhostsfile": files.known_hosts, "globalknownhostsfile": "/dev/null",
            "certificatefile": f"{files.folder}/certs/%n-cert.pub", "identityfile": files.key,
            "hostkeyalgorithms": "ssh-ed25519-cert-v01@openssh.com", "casignaturealgorithms": "ssh-ed25519",
        }  # fmt: skip
        assert {name: found.get(name) for name in expected} == expected
        assert found["proxycommand"].endswith("'%n'")
    for host in ("example.com", "www.example.cr", "cr-prod", "cr_a'b.cr", "cr_/x", "cr_x\\", "-o.cr"):
        found = options(files, host)
        assert "proxycommand" not in found
        assert found.get("stricthostkeychecking", "ask") == "ask"


def test_known_hosts_name_the_authority_for_our_hosts_alone(files: SshFiles, router: Router) -> None:
    prepare(files, router)
    text = Path(files.known_hosts).read_text()
    assert text == f"@cert-authority cr_*,cr-????????,*.cr,!*.*.cr {AUTHORITY} cloudrouter\n"


def test_the_program_is_run_without_a_shell_word_from_outside(files: SshFiles, router: Router) -> None:
    text = prepare(files, router)
    assert f"ProxyCommand '{sys.executable}' -I -S '{files.folder}/proxy' '%n'\n" in text
    proxy = Path(files.folder, "proxy").read_text()
    assert "os.environ.update({})" in proxy


def test_chosen_folders_go_with_it(files: SshFiles, router: Router) -> None:
    prepare(files, router, CLOUDROUTER_STATE_DIR="/s", CLOUDROUTER_RUNTIME_DIR="/r", HOME="/h", SECRET="x")
    proxy = Path(files.folder, "proxy").read_text()
    assert "{'CLOUDROUTER_STATE_DIR': '/s', 'CLOUDROUTER_RUNTIME_DIR': '/r'}" in proxy


def test_the_program_says_what_is_wrong_when_the_package_is_gone(files: SshFiles, router: Router) -> None:
    prepare(files, router)
    path = Path(files.folder, "proxy")
    path.write_text(
        path.read_text().replace(os.path.dirname(os.path.dirname(sys.modules["cloudrouter"].__file__ or "")), "/gone")
    )
    done = subprocess.run([sys.executable, "-I", "-S", str(path), ID], capture_output=True, text=True, check=False)
    assert done.returncode == 255
    assert done.stderr.splitlines() == [
        "cloudrouter: the program is not in /gone any more.", "Fix:  Install it.", "Next: cloudrouter ssh-config",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ['a"b', "a\nb", "a\\b", "a*b", "a[b", "${HOME}", "a'b"])
def test_a_folder_that_openssh_cannot_be_told_is_refused(tmp_path: Path, router: Router, name: str) -> None:
    files = SshFiles(str(tmp_path / name))
    with pytest.raises(NotConfigured, match="OpenSSH cannot be given the path"):
        prepare(files, router)
    assert not (tmp_path / name).exists()


def test_a_folder_with_spaces_and_percents_is_fine(tmp_path: Path, router: Router) -> None:
    files = SshFiles(str(tmp_path / "100% mine"))
    prepare(files, router)
    assert options(files, ID)["userknownhostsfile"] == files.known_hosts


def test_a_certificate_of_an_id_is_good_for_minutes_and_one_of_a_name_once(files: SshFiles, router: Any) -> None:
    prepare(files, router)
    now = time.time()
    for host, good_s in ((ID, 300), (f"{ID.replace('_', '-')}.cr", 300), ("my-project.cr", 0), (ID[:7], 0)):
        files.certify(router, host)
        path = f"{files.folder}/certs/{host}-cert.pub"
        assert Path(path).read_text() == "ssh-ed25519-cert-v01@openssh.com AAAA\n"
        assert now + good_s <= os.stat(path).st_mtime <= time.time() + good_s
        # What ssh runs to see whether it has to ask.
        fresh = subprocess.run(["/bin/sh", "-c", f"test '{path}' -nt /proc/self/stat"], check=False).returncode == 0
        assert fresh is (good_s > 0)
    public_key = Path(f"{files.key}.pub").read_text().strip()
    assert router.asked[-4:] == [
        ("POST", f"/v1/machines/{ref}/ssh/certificate", {"public_key": public_key})
        for ref in (ID, ID.replace("_", "-"), "my-project", ID[:7])
    ]


def test_another_authority_is_followed_and_its_certificates_go(files: SshFiles, router: Any) -> None:
    prepare(files, router)
    files.certify(router, ID)
    files.know(AUTHORITY)
    assert os.listdir(f"{files.folder}/certs") == [f"{ID}-cert.pub"]
    files.know(OTHER)
    assert OTHER in Path(files.known_hosts).read_text()
    assert AUTHORITY not in Path(files.known_hosts).read_text()
    assert os.listdir(f"{files.folder}/certs") == []


@pytest.mark.parametrize("text", ["", "None", "ssh-rsa AAAA", "ssh-ed25519 AAAA\n@cert-authority * ssh-rsa AAAA"])
def test_an_authority_that_is_none_changes_nothing(files: SshFiles, router: Any, text: str) -> None:
    prepare(files, router)
    before = Path(files.known_hosts).read_bytes()
    with pytest.raises(Internal):
        files.know(text)
    assert Path(files.known_hosts).read_bytes() == before


@pytest.mark.parametrize("answer", [None, 7, "two\nlines"])
def test_a_certificate_that_is_none_is_not_kept(files: SshFiles, router: Any, answer: Any) -> None:
    prepare(files, router)
    router.certificate = answer
    with pytest.raises(Internal):
        files.certify(router, ID)
    assert os.listdir(f"{files.folder}/certs") == []


def test_failures_are_the_routers(files: SshFiles, router: Any) -> None:
    router.certificate = NotFound("There is no machine 'x'.")
    with pytest.raises(NotFound):
        files.certify(router, "x.cr")
    with pytest.raises(UsageError, match="no machine's host name"):
        files.certify(router, "../x")


def test_many_who_come_first_make_one_key(files: SshFiles, router: Any) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from cloudrouter.client.sshfiles import SshFiles\n"
        "files = SshFiles(sys.argv[2]); files._make_folders(); files._make_key()"
    )
    library, state = str(Path(sys.modules["cloudrouter"].__file__ or "").parents[1]), os.path.dirname(files.folder)
    processes = [subprocess.Popen([sys.executable, "-S", "-c", program, library, state]) for _ in range(8)]
    assert [process.wait(60) for process in processes] == [0] * 8
    assert sorted(os.listdir(files.folder)) == ["certs", "key", "key.pub"]
    told = subprocess.run(["ssh-keygen", "-y", "-f", files.key], capture_output=True, text=True, check=True).stdout
    assert told.split()[:2] == Path(f"{files.key}.pub").read_text().split()[:2]


def test_old_certificates_are_swept_away(files: SshFiles, router: Any) -> None:
    prepare(files, router)
    old, young = Path(files.folder, "certs", "cr_old-cert.pub"), Path(files.folder, "certs", "cr_young-cert.pub")
    for path, age in ((old, 4000), (young, 3000)):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    files.certify(router, ID)
    assert not old.exists()
    assert young.exists()


def test_without_ssh_keygen_the_remedy_is_told(files: SshFiles, router: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotConfigured, match="ssh-keygen"):
        prepare(files, router)
