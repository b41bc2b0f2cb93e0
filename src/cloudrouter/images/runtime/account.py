"""Makes a foreign image one that machines can boot from: the account `user`, its folders, sudo and the PATH.

Run as root by the runtime's own Python while an image is layered; it uses no program of the image but its shell.
What it refuses is written as one line `cloudrouter refuses: REASON`, and then nothing was changed.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys

NAME = "user"
HOME = "/home/user"
FOLDERS = ("workspace", ".cache", ".config", ".local", ".local/bin")
FIRST_ID = 1000
LAST_ID = 59999
REFUSES = "cloudrouter refuses: "
PROFILE = "/etc/profile.d/cloudrouter.sh"


class Refused(Exception):
    """This image cannot become a machine."""


def main(here: str) -> None:
    """All of it, in an order in which a refusal comes before the first change."""
    check_shell()
    users, groups = read_table("/etc/passwd"), read_table("/etc/group")
    known = next((line for line in users if line[0] == NAME), None)
    if known is not None and (len(known) < 7 or known[2] == "0"):
        raise Refused("its account `user` is root or broken, and commands would run with its rights")
    if known is None:
        known = add_account(users, groups)
    known[5], known[6] = HOME, usable_shell(known[6])
    for name, first in (("passwd", users), ("group", groups)):
        write_table(f"/etc/{name}", first)
    uid, gid = int(known[2]), int(known[3])
    make_home(uid, gid)
    make_folders()
    allow_sudo(here)
    keep_path(here)


def check_shell() -> None:
    """The supervisor, and every command line, is run by a shell."""
    try:
        done = subprocess.run(["/bin/sh", "-c", "exit $((40 + 2))"], stdin=subprocess.DEVNULL, timeout=60)
    except OSError as error:
        raise Refused(f"its shell /bin/sh cannot be run ({(error.strerror or 'unknown error').lower()})") from None
    if done.returncode != 42:
        raise Refused(f"its shell /bin/sh does not work (`exit $((40 + 2))` ended with {done.returncode})")


def read_table(path: str) -> list[list[str]]:
    """The lines of passwd, group or shadow, split; a file that is not there has none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return [line.rstrip("\n").split(":") for line in file]
    except FileNotFoundError:
        return []


def write_table(path: str, lines: list[list[str]]) -> None:
    """The whole file anew in one step, with the mode and owner it had; links are followed to where it lies."""
    path = os.path.realpath(path)
    try:
        found = os.stat(path)
        mode, owner = stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        mode, owner = 0o644, (0, 0)
    with open(f"{path}.cloudrouter", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("".join(":".join(line) + "\n" for line in lines))
        os.fchmod(file.fileno(), mode)
        os.fchown(file.fileno(), *owner)
    os.replace(f"{path}.cloudrouter", path)


def add_account(users: list[list[str]], groups: list[list[str]]) -> list[str]:
    """Lines for `user` with the first free numbers; a root without any accounts gets one for root, too."""
    if not users:
        users.append(["root", "x", "0", "0", "root", "/root", "/bin/sh"])
    if not groups:
        groups.append(["root", "x", "0", ""])
    uid = free_id(users)
    own = next((line for line in groups if line[0] == NAME and len(line) > 2), None)
    if own is None:
        taken = {line[2] for line in groups if len(line) > 2}
        own = [NAME, "x", uid if uid not in taken else free_id(groups), ""]
        groups.append(own)
        add_line("/etc/gshadow", [NAME, "!", "", ""])
    line = [NAME, "x", uid, own[2], "", HOME, ""]
    users.append(line)
    # Locked: nobody logs in with a password, and sudo asks for none.
    add_line("/etc/shadow", [NAME, "!", "19700", "0", "99999", "7", "", "", ""])
    return line


def add_line(path: str, line: list[str]) -> None:
    """One more line in a table, if this image has it."""
    lines = read_table(path)
    if lines and all(one[0] != line[0] for one in lines):
        write_table(path, [*lines, line])


def free_id(lines: list[list[str]]) -> str:
    """The first number of people that no line has."""
    taken = {line[2] for line in lines if len(line) > 2}
    return next(str(number) for number in range(FIRST_ID, LAST_ID) if str(number) not in taken)


def usable_shell(shell: str) -> str:
    """The account's own shell where it is one, else bash, else sh."""
    for path in (shell, "/bin/bash", "/usr/bin/bash"):
        if path and os.path.basename(path) not in ("nologin", "false", "sh") and os.access(path, os.X_OK):
            return path
    return "/bin/sh"


def make_home(uid: int, gid: int) -> None:
    """The home with the image's usual dotfiles and our folders; what is there already stays as it is."""
    os.makedirs(os.path.dirname(HOME), exist_ok=True)
    if not os.path.isdir(HOME):
        if os.path.isdir("/etc/skel"):
            shutil.copytree("/etc/skel", HOME, symlinks=True)
        else:
            os.mkdir(HOME)
        os.chmod(HOME, 0o755)  # noqa: S103 - as useradd does
        own(HOME, uid, gid)
    os.chown(HOME, uid, gid)
    for name in FOLDERS:
        if not os.path.isdir(f"{HOME}/{name}"):
            os.mkdir(f"{HOME}/{name}", 0o755)
            os.chown(f"{HOME}/{name}", uid, gid)


def own(folder: str, uid: int, gid: int) -> None:
    """Everything below a folder belongs to the account; links themselves, not what they lead to."""
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(f"{base}/{name}", uid, gid, follow_symlinks=False)


def make_folders() -> None:
    """What programs expect of any system, and a root made by hand may lack."""
    for path, mode in (("/tmp", 0o1777), ("/var/tmp", 0o1777), ("/var/lib", 0o755), ("/root", 0o700)):  # noqa: S108
        if not os.path.isdir(path):
            os.makedirs(path)
            os.chmod(path, mode)


def allow_sudo(here: str) -> None:
    """Where the image has sudo, the user may use it without a password."""
    if not any(os.access(f"{folder}/sudo", os.X_OK) for folder in ("/usr/bin", "/bin", "/usr/local/bin")):
        return
    os.makedirs("/etc/sudoers.d", mode=0o750, exist_ok=True)
    shutil.copyfile(f"{here}/sudoers", "/etc/sudoers.d/cloudrouter")
    os.chmod("/etc/sudoers.d/cloudrouter", 0o440)
    append_unless("/etc/sudoers", "sudoers.d", "#includedir /etc/sudoers.d\n")
    os.chmod("/etc/sudoers", 0o440)


def keep_path(here: str) -> None:
    """Login shells read /etc/profile, which sets a PATH of its own: the image's own one is put before it again."""
    os.makedirs(os.path.dirname(PROFILE), exist_ok=True)
    shutil.copyfile(f"{here}/profile.sh", PROFILE)
    os.chmod(PROFILE, 0o644)
    append_unless("/etc/profile", "/etc/profile.d", f"\n. {PROFILE}\n")


def append_unless(path: str, mark: str, text: str) -> None:
    """Add text to a file that does not hold the mark; made where it is not there."""
    with open(path, "a+", encoding="utf-8", errors="surrogateescape") as file:
        file.seek(0)
        if mark not in file.read():
            file.write(text)


if __name__ == "__main__":
    try:
        main(os.path.dirname(os.path.abspath(__file__)))
    except Refused as refusal:
        sys.stderr.write(f"{REFUSES}{refusal}\n")
        sys.exit(3)
