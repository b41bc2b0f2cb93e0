"""What sshd reads in a machine: its host key, which never leaves it, its configuration, and how a login begins."""

from __future__ import annotations

import os
import re

from cloudrouter.guest.config import write_file
from cloudrouter.wire.errors import NotConfigured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudrouter.guest.environment import Account
    from cloudrouter.guest.settings import Settings

SBIN = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin", "/usr/local/bin", "/bin")
SFTP_SERVERS = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/lib/ssh/sftp-server",
)
POSIX_SHELLS = frozenset({"ash", "bash", "dash", "ksh", "sh", "zsh"})
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_SHELLS_OWN = frozenset(
    {"BASHOPTS", "BASH_VERSINFO", "EUID", "IFS", "OPTARG", "OPTIND", "PPID", "SHELLOPTS", "SSH_ORIGINAL_COMMAND", "UID"}
)
"""Variables that mean something to a shell itself: it would take no others' values for them, or break."""

_CONFIG = """\
HostKey "{folder}/{key}"
HostCertificate "{folder}/host-certificate.pub"
TrustedUserCAKeys "{folder}/authority.pub"
AuthorizedPrincipalsFile "{folder}/principals"
AuthorizedKeysFile none
AuthenticationMethods publickey
PubkeyAuthentication yes
PubkeyAcceptedAlgorithms ssh-ed25519-cert-v01@openssh.com
HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com
CASignatureAlgorithms ssh-ed25519
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
AllowUsers {user}
AllowAgentForwarding no
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
GatewayPorts no
PermitTunnel no
PermitUserEnvironment no
PermitUserRC no
X11Forwarding no
AcceptEnv COLORTERM GIT_PROTOCOL
ForceCommand {login}
Subsystem sftp internal-sftp
LogLevel INFO
LoginGraceTime 30
MaxSessions 1000
PidFile none
PrintMotd no
UseDNS no
"""
_LOGIN = """\
# What sshd runs for every session: the machine's variables and workspace first, then what was asked for.
. {folder}/environment
cd {workspace} 2>/dev/null || cd /
unset MAIL OLDPWD
if [ -z "${{SSH_ORIGINAL_COMMAND+x}}" ]; then exec {program} -l; fi
set -- "$SSH_ORIGINAL_COMMAND"
unset SSH_ORIGINAL_COMMAND
if [ "$1" = internal-sftp ]; then {sftp}; fi
exec {program} -c "$1"
"""


def find_program(name: str, search: str = "") -> str:
    """The path of sshd or ssh-keygen; NotConfigured where the machine does not have it.

    search: a PATH for what is in none of the usual folders; only for what runs with the account's rights.
    """
    for folder in (*SBIN, *(folder for folder in search.split(":") if folder.startswith("/"))):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise NotConfigured(
        f"This machine has no {name}, which ssh, scp, sftp and rsync need.",
        fix="Install OpenSSH's server in it, or start one of an image that has it.",
    )


class SshFiles:
    """The folder that holds them: only the guest changes it, and the private key is for the account alone."""

    def __init__(self, settings: Settings) -> None:
        self.folder = f"{settings.state}/ssh"
        self.key = f"host-key-{settings.machine_id}"
        """Named after the machine: on the disk of another one it is not this machine's."""
        self.config = f"{self.folder}/config"
        self._settings = settings

    def public_key(self) -> str:
        """The host key's public half, as one line; empty while there is no key."""
        path = f"{self.folder}/{self.key}"
        try:
            with open(f"{path}.pub", encoding="ascii") as file:
                words = file.read(4096).split()
            os.stat(path)
        except (FileNotFoundError, UnicodeDecodeError):
            return ""
        return " ".join(words[:2])

    def place_for_key(self) -> str:
        """Where ssh-keygen is to put a new key; what a former try or a former machine left is taken away."""
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(self.folder, 0o711)  # noqa: S103 - sshd and logins pass through it with the account's rights
        for name in os.listdir(self.folder):
            if name.startswith("host-key-"):
                os.unlink(f"{self.folder}/{name}")
        return f"{self.folder}/{self.key}.new"

    def take_key(self, account: Account) -> None:
        """Put the key that ssh-keygen has made in its place."""
        path = f"{self.folder}/{self.key}"
        if account.switch:
            os.chown(f"{path}.new", account.uid, account.gid)
        os.replace(f"{path}.new", path)
        os.replace(f"{path}.new.pub", f"{path}.pub")

    def write(self, certificate: str, authority: str, account: Account, env: Mapping[str, str]) -> None:
        """Everything that sshd reads when it starts; files that are right already are left."""
        folder = self.folder
        # sshd gives the line to the account's shell; most can read the login themselves, which saves a program.
        reads = os.path.basename(account.shell) in POSIX_SHELLS
        login = f"{'.' if reads else '/bin/sh'} {quote(folder)}/login"
        self._put("config", _CONFIG.format(folder=folder, key=self.key, user=account.name, login=login), 0o644)
        self._put("principals", f"{self._settings.machine_id}\n", 0o644)
        self._put("authority.pub", f"{authority}\n", 0o644)
        self._put("host-certificate.pub", f"{certificate}\n", 0o644)
        self._put("login", self._login(account), 0o644)
        # With the machine's secrets in it, so for the account alone.
        self._put("environment", _exports(env), 0o400, owner=account)

    def _login(self, account: Account) -> str:
        workspace = quote(self._settings.workspace)
        server = next((path for path in SFTP_SERVERS if os.access(path, os.X_OK)), "")
        missing = "echo 'cloudrouter: this machine has no sftp-server' >&2; exit 127"
        return _LOGIN.format(
            folder=quote(self.folder),
            workspace=workspace,
            program=quote(account.shell),
            sftp=f"exec {server} -d {workspace}" if server else missing,
        )

    def _put(self, name: str, text: str, mode: int, *, owner: Account | None = None) -> None:
        path = f"{self.folder}/{name}"
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                if file.read() == text:
                    return
        except FileNotFoundError:
            pass  # the first time
        write_file(path, text, mode, owner=(owner.uid, owner.gid) if owner is not None and owner.switch else None)


def quote(text: str) -> str:
    """The text as one word of a POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _exports(env: Mapping[str, str]) -> str:
    """Lines that set the variables in a shell; names that none can hold are left out."""
    fit = {name: text for name, text in env.items() if _NAME.fullmatch(name) and name not in _SHELLS_OWN}
    return "".join(f"export {name}={quote(text)}\n" for name, text in fit.items())
