#!/usr/bin/env python3
"""Fetches what the desktop page shows pictures with (noVNC's core, from npm): pinned, checked, unpacked safely.

Does nothing when it is there already. `--check` only looks. Standard library only: it runs before all else.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import io
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

NAME = "@novnc/novnc"
VERSION = "1.7.0"
SHA512 = "ucEJOx4T2avIRCleodk7YobZj5O2Ga2AeLfQ69A/yjG9HHba2+PDgwSkN3FttrmG+70ZGx21sElNFouK13RzyA=="
"""The integrity that the registry tells, so that another registry or a proxy cannot give another file."""

TARGET = Path(__file__).resolve().parents[1] / "src/cloudrouter/server/gateway/desktop/static/novnc"
STAMP = "VERSION"
TARBALL_BYTES = 4 * 1024 * 1024
UNPACKED_BYTES = 16 * 1024 * 1024
TIMEOUT_S = 60
ROOT = "package/"
CODE = ("core/", "vendor/pako/")
WORDS = {"LICENSE.txt", "AUTHORS", "docs/LICENSE.MPL-2.0", "vendor/pako/LICENSE"}


class Failed(Exception):
    """It could not be fetched; the lines say what happened and what to do."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}\nFix:  {fix}")


def main(arguments: list[str]) -> int:
    """0: it is there; 1: it is not, and stderr says why."""
    parser = argparse.ArgumentParser(prog="vendor.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether it is there")
    asked = parser.parse_args(arguments)
    if present(TARGET):
        return 0
    if asked.check:
        print(f"vendor: noVNC {VERSION} is not there; scripts/vendor.py fetches it", file=sys.stderr)
        return 1
    try:
        ensure(TARGET)
    except Failed as failure:
        print(f"vendor: {failure}", file=sys.stderr)
        return 1
    return 0


def ensure(target: Path) -> bool:
    """Have noVNC in a folder; True when it had to be fetched. Failed says why it could not be."""
    if present(target):
        return False
    address = tarball_address(os.environ)
    print(f"vendor: fetching noVNC {VERSION} from {urllib.parse.urlsplit(address).hostname}", file=sys.stderr)
    install(unpacked(checked(fetch(address))), target)
    return True


def present(target: Path) -> bool:
    """Whether the folder holds this version, whole: the stamp is written last."""
    try:
        return (target / STAMP).read_text().strip() == stamp()
    except OSError:
        return False


def stamp() -> str:
    """What the stamp file says."""
    return f"{VERSION} {SHA512}"


def tarball_address(env: os._Environ[str] | dict[str, str]) -> str:
    """Where the registry keeps the file; npm's own variable chooses another registry."""
    registry = env.get("NPM_CONFIG_REGISTRY") or env.get("npm_config_registry") or "https://registry.npmjs.org"
    parts = urllib.parse.urlsplit(registry)
    if parts.scheme not in ("https", "http") or "@" in parts.netloc:
        raise Failed(
            "NPM_CONFIG_REGISTRY is not an address of the web, or has a password in it",
            "set it to an https address without one, or unset it",
        )
    return f"{registry.rstrip('/')}/{NAME}/-/{NAME.split('/')[1]}-{VERSION}.tgz"


def fetch(address: str) -> bytes:
    """The file behind an address; proxies and SSL_CERT_FILE count, as urllib does it."""
    request = urllib.request.Request(address, headers={"User-Agent": "cloudrouter-vendor"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            data = answer.read(TARBALL_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise Failed(
            f"noVNC cannot be fetched from {urllib.parse.urlsplit(address).hostname}: {reason}",
            "look at the network, proxies and SSL_CERT_FILE; NPM_CONFIG_REGISTRY chooses another registry",
        ) from None
    if len(data) > TARBALL_BYTES:
        raise Failed(f"what came for {NAME} is larger than {TARBALL_BYTES} bytes", "ask another registry")
    return data


def checked(tarball: bytes) -> bytes:
    """The same bytes, which are exactly those that were chosen."""
    if base64.b64encode(hashlib.sha512(tarball).digest()).decode() != SHA512:
        raise Failed(f"what came is not {NAME} {VERSION}: its SHA-512 is another", "ask another registry")
    return tarball


def unpacked(tarball: bytes) -> dict[str, bytes]:
    """Path -> content of what is needed of a package; only plain files, only below the folders that are wanted."""
    files: dict[str, bytes] = {}
    size = 0
    with tarfile.open(fileobj=io.BytesIO(tarball), mode="r:gz") as tar:
        for member in tar:
            path = member.name.removeprefix(ROOT)
            if path == member.name or not member.isfile() or not wanted(path):
                continue
            size += member.size
            if size > UNPACKED_BYTES:
                raise Failed(f"{NAME} unpacks to more than {UNPACKED_BYTES} bytes", "ask another registry")
            content = tar.extractfile(member)
            assert content is not None
            files[path] = content.read()
    if "core/rfb.js" not in files or not set(files) >= WORDS:
        raise Failed(f"{NAME} {VERSION} has no core/rfb.js or no licence in it", "ask another registry")
    return files


def wanted(path: str) -> bool:
    """Whether a path of the package is kept: modules and licences, and nothing that leads elsewhere."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in path or "\0" in path:
        return False
    return path in WORDS or (path.startswith(CODE) and path.endswith(".js"))


def install(files: dict[str, bytes], target: Path) -> None:
    """Put the files in their folder at once: whoever looks sees all of them or none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".novnc-", dir=target.parent))
    try:
        new.chmod(0o755)
        for path, content in {**files, STAMP: f"{stamp()}\n".encode()}.items():
            file = new / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        replace(new, target)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def replace(new: Path, target: Path) -> None:
    """The new folder in the place of an old one; when somebody else was faster with the same, theirs stays."""
    if target.exists() and not present(target):
        old = Path(tempfile.mkdtemp(prefix=".novnc-", dir=target.parent))
        target.rename(old / "old")
        shutil.rmtree(old)
    try:
        new.rename(target)
    except OSError:
        if not present(target):
            raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
