"""Images that run beside machines in tests: built here from Debian, kept on the engine under their recipe's digest."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from pathlib import Path

import aiodocker

from cloudrouter.images import base
from cloudrouter.providers.docker.images import DockerEngine

HERE = Path(__file__).parent


async def base_image() -> str:
    """The Debian that our own images are made from."""
    async with aiodocker.Docker() as docker:
        return await base.ensure(DockerEngine(docker), env=os.environ, note=lambda _line: None)


def built(name: str) -> str:
    """The reference of `postgres` or `redis`; the first call on a host builds it."""
    folder = HERE / name
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir()))).hexdigest()[:12]
    reference = f"cloudrouter-test/{name}:{digest}"
    if subprocess.run(["docker", "image", "inspect", reference], capture_output=True, check=False).returncode:
        root = asyncio.run(base_image())
        words = ["docker", "build", "-q", "--network", "host", "--build-arg", f"BASE={root}", "-t", reference]
        subprocess.run(
            [*words, str(folder)], check=True, capture_output=True, env={**os.environ, "DOCKER_BUILDKIT": "0"}
        )
    return reference
