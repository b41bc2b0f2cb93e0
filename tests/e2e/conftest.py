"""A user's side of the product: the real CLI, a router of its own, the real engine; nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiodocker
import pytest

ROOT = Path(__file__).parents[2]
CLI = str(Path(sys.executable).parent / "cloudrouter")
IMAGE_DEADLINE_S = 1800


def until(true: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Ask again until the answer is true."""
    deadline = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.05)
    return answer


class User:
    """Somebody at a shell, with folders and a router of their own."""

    def __init__(self, base: str) -> None:
        self.base = Path(base)
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("CLOUDROUTER_")}
        self.env |= {
            "CLOUDROUTER_STATE_DIR": f"{base}/state",
            "CLOUDROUTER_RUNTIME_DIR": f"{base}/run",
            "CLOUDROUTER_CONFIG": f"{base}/config.toml",
            "CLOUDROUTER_IMAGE": "core",  # what every start has; no build behind the tests' backs
            "NO_COLOR": "1",
        }

    def popen(self, *words: str | Path, under: Sequence[str] = (), **options: Any) -> subprocess.Popen[bytes]:
        """Begin a command of the CLI."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*under, CLI, *map(str, words)], env=self.env, **{**streams, **options})

    def run(self, *words: str | Path, input: bytes | None = None, timeout: float = 120, **options: Any) -> Done:  # noqa: A002
        """Run a command of the CLI to its end."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
        with self.popen(*words, **options) as process:
            try:
                out, err = process.communicate(input, timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Done(process.returncode, out or b"", err or b"")

    def ok(self, *words: str | Path, **options: Any) -> Done:
        """Run a command that has to end with 0."""
        done = self.run(*words, **options)
        assert done.code == 0, f"{words} ended with {done.code}\n{done.out_text}\n{done.err_text}"
        return done

    def json(self, *words: str | Path, **options: Any) -> Any:
        """The JSON that a successful command prints."""
        return json.loads(self.ok(*words, "--json", **options).out)

    def start(self, *words: str | Path) -> str:
        """Start a machine; its id."""
        return str(self.json("start", *words)["id"])

    def machines(self) -> list[dict[str, Any]]:
        """What `ls` shows."""
        return list(self.json("ls")["machines"])

    def router_id(self) -> str:
        """This router's id."""
        return (self.base / "state" / "router-id").read_text().strip()


class Done:
    """How a command ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def out_text(self) -> str:
        """stdout as text."""
        return self.out.decode(errors="replace")

    @property
    def err_text(self) -> str:
        """stderr as text."""
        return self.err.decode(errors="replace")


async def remove_traces(router_id: str) -> list[str]:
    """Remove what a router left in the engine; the containers that were still there are named."""
    docker = aiodocker.Docker()
    only_ours = json.dumps({"label": [f"cloudrouter.dev/router={router_id}"]})
    try:
        containers = await docker.containers.list(all=True, filters=only_ours)
        # A helper of the walls lives for half a second; a router that was killed in it leaves it to the next one.
        left = [one.id for one in containers if "cloudrouter.dev/helper" not in one["Labels"]]
        for container in containers:
            await container.delete(force=True, v=True)
        for found in await docker.networks.list(filters={"label": [f"cloudrouter.dev/router={router_id}"]}):
            await remove_network(docker, found["Id"])
        volumes = await docker.volumes.list(filters={"label": [f"cloudrouter.dev/router={router_id}"]})
        for volume in volumes["Volumes"] or ():
            await (await docker.volumes.get(volume["Name"])).delete()
    finally:
        await docker.close()
    return left


async def remove_network(docker: aiodocker.Docker, network: str) -> None:
    """Remove a network; the engine lets go of the last containers' places a little after they are gone."""
    async with asyncio.timeout(20):
        while True:
            try:
                await (await docker.networks.get(network)).delete()
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return
                if "active endpoints" not in str(error):
                    raise
                await asyncio.sleep(0.1)
            else:
                return


@contextmanager
def users() -> Iterator[Callable[[], User]]:
    """Makes users, each with a router of their own; everything they made is removed, and leftovers are an error."""
    made: list[User] = []

    def make() -> User:
        user = User(tempfile.mkdtemp(prefix="cr-"))
        made.append(user)
        return user

    yield make
    left: list[str] = []
    for user in made:
        if (user.base / "state" / "router-id").exists():
            listed = json.loads(user.run("ls", "--json").out or b"{}").get("machines", [])
            if listed:
                user.run("delete", *(machine["id"] for machine in listed))
            user.run("server", "stop")
            left += asyncio.run(remove_traces(user.router_id()))
        shutil.rmtree(user.base, ignore_errors=True)
    assert not left, f"containers were left behind: {left}"


@pytest.fixture
def user() -> Iterator[User]:
    """One user with a router of their own, for tests that harm it."""
    with users() as make:
        yield make()


@pytest.fixture(scope="module")
def resident() -> Iterator[User]:
    """One user for a whole file of tests that leave the router as they found it."""
    with users() as make:
        yield make()


@pytest.fixture(scope="session", autouse=True)
def image() -> None:
    """The image core is there; the first test run on a machine builds it."""
    base = tempfile.mkdtemp(prefix="cr-")
    user = User(base)
    done = user.run("image", "build", timeout=IMAGE_DEADLINE_S)
    user.run("server", "stop")
    shutil.rmtree(base, ignore_errors=True)
    assert done.code == 0, done.err_text


@pytest.fixture
def machine(user: User) -> str:
    """A running machine with an empty workspace."""
    return user.start()


@pytest.fixture(scope="module")
def home(resident: User) -> str:
    """The resident's machine, for tests that leave it as they found it."""
    return resident.start()
