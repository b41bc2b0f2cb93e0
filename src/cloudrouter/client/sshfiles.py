"""What OpenSSH needs on the person's side: a key that stays there, certificates, known hosts, configuration."""

from __future__ import annotations

import os
import sys
import time

import cloudrouter
from cloudrouter.wire import ids, routes
from cloudrouter.wire.errors import Internal, NotConfigured, UsageError
from cloudrouter.wire.ssh import RENEW_S
from cloudrouter.wire.sshdoor import ref_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cloudrouter.client.transport import Transport

FOLDER = "ssh-client"
HOSTS = ("cr_*", "cr-????????", "*.cr", "!*.*.cr")
"""Hosts that are ours: ids in both spellings, names with our suffix, and none of a real domain below .cr."""
_NEVER = ("!*'*", "!*\\\\*", "!*/*", "!-*")
"""Whoever chooses a host name, a repository's address say, chooses no words of a shell or paths with it."""
_KEYGEN_S = 30.0
_KEPT_S = 3600.0
"""Certificates dated so long ago are swept away; they have been worthless for long."""
_ODD = frozenset("\"\\\n\r*?[]'")
"""Characters of a path for which OpenSSH's configuration has no certain spelling."""

_CONFIG = """\
# Made by `cloudrouter ssh-config`, which makes it anew; ~/.ssh/config includes it.
# Machines show certificates of this user's router. Nothing here concerns other hosts.
Host {hosts}
    User user
    Port 22
    ProxyCommand {program} '%n'
    ProxyUseFdpass yes
    IdentityFile "{folder}/key"
    CertificateFile "{folder}/certs/%n-cert.pub"
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile "{folder}/known_hosts"
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com
    CASignatureAlgorithms ssh-ed25519
    CheckHostIP no
    VerifyHostKeyDNS no
    UpdateHostKeys no
    PreferredAuthentications publickey
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    GSSAPIAuthentication no
    CanonicalizeHostname no
    BatchMode yes
    ForwardAgent no
    ForwardX11 no
# While a certificate is good this is one `test`: its file is dated until when.
Match originalhost "{matched}" exec "test '{folder}/certs/%n-cert.pub' -nt /proc/self/stat || {program} --certify '%n'"
    User user
"""
_PROXY = """\
# Made by `cloudrouter ssh-config`, which makes it anew; ssh runs it to reach a machine.
import os, sys
os.environ.update({environment!r})
sys.path.insert(0, {library!r})
try:
    from cloudrouter.cli.sshproxy import main
except ImportError as error:
    sys.stderr.write("cloudrouter: the program is not in " + {library!r} + " any more.\\nFix:  Install it.\\n"
                     "Next: cloudrouter ssh-config\\n")
    sys.exit(255)
main(sys.argv[1:])
"""


class SshFiles:
    """A folder of the person's own below the state folder; all of it can be made again."""

    def __init__(self, state_dir: str) -> None:
        self.folder = f"{os.path.abspath(state_dir)}/{FOLDER}"
        self.config = f"{self.folder}/config"
        self.known_hosts = f"{self.folder}/known_hosts"
        self.key = f"{self.folder}/key"

    def prepare(self, transport: Transport, environ: Mapping[str, str]) -> str:
        """Make everything that is missing or out of date; the configuration's text. Raises NotConfigured."""
        _check_path(self.folder)
        _check_path(sys.executable)
        self._make_folders()
        self._make_key()
        self.know(str(transport.call("GET", routes.SSH_AUTHORITY)["public_key"]))
        self._put("proxy", _PROXY.format(environment=_chosen(environ), library=_library()))
        text = self._config_text()
        self._put("config", text)
        return text

    def certify(self, transport: Transport, host: str) -> None:
        """Have the key certified for the machine behind a host name; raises the router's error."""
        ref = ref_of(host)
        if not ref:
            raise UsageError(f"{host[:60]!r} is no machine's host name.", next="cloudrouter ls")
        self._make_folders()
        self._make_key()
        with open(f"{self.key}.pub", encoding="ascii") as file:
            public_key = file.read().strip()
        answer = transport.call("POST", routes.machine(ref, "ssh", "certificate"), {"public_key": public_key})
        line = answer.get("certificate") if isinstance(answer, dict) else None
        if not isinstance(line, str) or not line.isprintable():
            raise Internal("The router's certificate cannot be read.", next="cloudrouter server logs")
        self.know(str(answer.get("ca")))
        # An id is one machine's for ever, a name may be another machine's the next time, so ssh has to ask again.
        good_s = RENEW_S if ids.is_machine_id(ids.from_dns_label(ref)) else 0.0
        self._put(f"certs/{host}-cert.pub", line.strip() + "\n", good_until=time.time() + good_s)
        self._sweep()

    def know(self, authority: str) -> None:
        """Trust this authority for our hosts and no other; certificates of another one go.

        Where it comes from is what makes it true: the router's own Unix socket, whose owner the kernel tells.
        """
        if not authority.startswith("ssh-ed25519 ") or not authority.isprintable():
            raise Internal("The router's SSH authority cannot be read.", next="cloudrouter server logs")
        text = f"@cert-authority {','.join(HOSTS)} {authority} cloudrouter\n"
        if self._put("known_hosts", text):
            self.forget_certificates()

    def forget_certificates(self) -> None:
        """Remove every certificate: the next connection asks for another."""
        self._sweep(older_than_s=float("-inf"))

    def _make_folders(self) -> None:
        try:
            for folder in (self.folder, f"{self.folder}/certs"):
                os.makedirs(folder, mode=0o700, exist_ok=True)
            os.chmod(self.folder, 0o700)
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def _make_key(self) -> None:
        """An Ed25519 key for these machines alone; it never leaves this folder. One is made, whoever asks at once."""
        if self._has_key():
            return
        import fcntl

        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._has_key():
                self._generate_key()
        finally:
            os.close(lock)

    def _has_key(self) -> bool:
        return os.path.exists(self.key) and os.path.exists(f"{self.key}.pub")

    def _generate_key(self) -> None:
        import subprocess

        part = f"{self.folder}/key.{os.getpid()}"
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "cloudrouter", "-f", part]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_KEYGEN_S)
        except (OSError, subprocess.SubprocessError) as error:
            why = getattr(error, "strerror", None) or "it did not end"
            raise NotConfigured(
                f"No SSH key can be made: ssh-keygen: {why}.", fix="Install OpenSSH's client on this host."
            ) from None
        if done.returncode != 0:
            raise NotConfigured(f"No SSH key can be made: ssh-keygen ended with {done.returncode}.")
        # The public half first: who finds the key finds both.
        os.replace(f"{part}.pub", f"{self.key}.pub")
        os.replace(part, self.key)

    def _config_text(self) -> str:
        folder, python = (path.replace("%", "%%") for path in (self.folder, sys.executable))
        return _CONFIG.format(
            hosts=" ".join([*HOSTS, *(f'"{one}"' for one in _NEVER)]),
            matched=",".join((*HOSTS, *_NEVER)),
            folder=folder,
            program=f"'{python}' -I -S '{folder}/proxy'",
        )

    def _put(self, name: str, text: str, *, good_until: float | None = None) -> bool:
        """Put a file in place whole, 0600; False when it holds exactly that already. good_until: its date."""
        path = f"{self.folder}/{name}"
        try:
            with open(path, encoding="utf-8") as file:
                if file.read() == text:
                    return False
        except (FileNotFoundError, UnicodeDecodeError):
            pass
        part = f"{path}.{os.getpid()}"
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
                file.write(text)
            if good_until is not None:
                os.utime(part, (good_until, good_until))
            os.replace(part, path)
        except OSError as error:
            raise _unwritable(path, error) from None
        return True

    def _sweep(self, older_than_s: float = _KEPT_S) -> None:
        folder, now = f"{self.folder}/certs", time.time()
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            try:
                if now - os.stat(f"{folder}/{name}").st_mtime > older_than_s:
                    os.unlink(f"{folder}/{name}")
            except FileNotFoundError:
                pass  # somebody else sweeps, too


def _check_path(path: str) -> None:
    if not path or not path.isprintable() or _ODD & set(path) or "${" in path:
        raise NotConfigured(
            f"OpenSSH cannot be given the path {path!r}: it holds characters that its configuration cannot.",
            fix="Set CLOUDROUTER_STATE_DIR to a folder with a plain name.",
        )


def _chosen(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that say which router is meant: ssh may run where they are not set, in an editor say."""
    names = ("CLOUDROUTER_STATE_DIR", "CLOUDROUTER_RUNTIME_DIR", "CLOUDROUTER_CONFIG")
    return {name: os.path.abspath(environ[name]) for name in names if environ.get(name)}


def _library() -> str:
    """The folder that our package lies in."""
    return os.path.dirname(os.path.dirname(os.path.abspath(str(cloudrouter.__file__))))


def _unwritable(path: str, error: OSError) -> Any:
    why = (error.strerror or "unknown error").lower()
    return NotConfigured(f"{path} cannot be written: {why}.", fix="Make room for it, or correct its permissions.")
