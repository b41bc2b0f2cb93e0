#!/usr/bin/python3 -IS
"""Lets Chromium trust the certificates that this machine's commands trust, and Debian does not.

The person's bundle is where SSL_CERT_FILE says; Chromium asks its own database alone.
"""

from __future__ import annotations

import hashlib
import os
import subprocess

SYSTEM = "/etc/ssl/certs/ca-certificates.crt"
DEBIANS = "/usr/share/ca-certificates"
"""What Debian ships, each in a file of its own; Chromium knows these or has its reasons."""
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
MARK = "CloudRouter "


def main() -> None:
    """Bring the database up to date; quick where nothing changed."""
    folder = os.path.expanduser("~/.pki/nssdb")
    wanted = certificates(os.environ.get("SSL_CERT_FILE") or SYSTEM)
    for base, _folders, names in os.walk(DEBIANS):
        for name in names:
            for known in certificates(f"{base}/{name}"):
                wanted.pop(known, None)
    state = hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest()
    stamp = f"{folder}/.cloudrouter"
    if not wanted and not os.path.exists(stamp):
        return
    if os.path.exists(stamp) and read(stamp) == state:
        return
    if not os.path.exists(f"{folder}/cert9.db"):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        certutil(folder, "-N", "--empty-password")
    for line in certutil(folder, "-L").splitlines():
        name = line.rpartition(" ")[0].strip()
        if name.startswith(MARK):
            certutil(folder, "-D", "-n", name)
    for key, text in wanted.items():
        name = MARK + hashlib.sha256(key.encode()).hexdigest()[:16]
        certutil(folder, "-A", "-n", name, "-t", "C,,", "-a", given=text)
    with open(stamp, "w", encoding="ascii") as file:
        file.write(state)


def certutil(folder: str, *words: str, given: str = "") -> str:
    """Run the tool on the database; one certificate that it does not take is told and left out."""
    command = ["certutil", *words, "-d", f"sql:{folder}"]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"trust: certutil {words[0]}: {done.stderr.strip()[:300]}", flush=True)
    return done.stdout


def certificates(path: str) -> dict[str, str]:
    """Content without white space -> PEM block; none where there is no such file."""
    found = {}
    for part in read(path).split(BEGIN)[1:]:
        body, end, _ = part.partition(END)
        lines = body.split()
        if end and lines:
            found["".join(lines)] = "\n".join((BEGIN, *lines, END, ""))
    return found


def read(path: str) -> str:
    """A file's text; empty where there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
