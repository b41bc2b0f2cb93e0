"""The image for real: built by this host's engine, looked at from inside, and searched for what must not be in it."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiodocker
import pytest

from cloudrouter.images import base, build, context, host, payload, recipe
from cloudrouter.providers.docker.images import DockerEngine, DockerImages
from cloudrouter.wire.errors import Conflict, NotFound, ProviderBug

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

LABEL = "cloudrouter.dev/test"
MODULES = payload.guest_modules()
"""Read once, so that all tests look at one image even while somebody edits the guest."""


@pytest.fixture(autouse=True)
def _frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "guest_modules", lambda: MODULES)


@pytest.fixture
async def lab(docker: aiodocker.Docker, core: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An image of another name with core's recipe, for experiments that must not disturb who uses core."""
    load = recipe.load

    def load_lab(name: str, own_apps: str = "") -> recipe.Recipe:
        if name == "runtime":
            return load(name)
        found = load("core")
        if name == "core":
            return found
        return recipe.Recipe("corelab", (*found.parts[:-1], replace(found.parts[-1], name="corelab")))

    monkeypatch.setattr(recipe, "NAMES", ("core", "corelab", "runtime"))
    monkeypatch.setattr(recipe, "load", load_lab)
    yield await build.build(DockerEngine(docker), "corelab", progress=lambda event: None)
    await DockerImages(docker).remove_image("corelab")


def add_before_guest(monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    """Give core a step of its own below all that is new in it, so that a broken build leaves no layer behind."""
    text = recipe._text
    head = "#: Node into place"
    monkeypatch.setattr(recipe, "_text", lambda *name: text(*name).replace(head, f"{lines}\n{head}"))


@pytest.fixture
async def docker() -> AsyncIterator[aiodocker.Docker]:
    client = aiodocker.Docker()
    yield client
    await client.close()


@pytest.fixture
async def core(docker: aiodocker.Docker) -> str:
    return await DockerImages(docker).build_image("core", progress=lambda event: None)


async def run_inside(docker: aiodocker.Docker, image: str, script: str, *, user: str = "user") -> str:
    """The output of a shell script in a fresh container, which must succeed."""
    config = {
        "Image": image,
        "Cmd": ["/bin/bash", "-lc", "set -eu\n" + script],
        "User": user,
        "Labels": {LABEL: "images"},
        "HostConfig": {"Init": True},
    }
    container = await docker.containers.create(config)
    try:
        await container.start()
        status = (await container.wait())["StatusCode"]
        output = "".join(await container.log(stdout=True, stderr=True))
        assert status == 0, output
        return output
    finally:
        await container.delete(force=True)


async def test_build_again_when_current_then_no_step_runs(docker: aiodocker.Docker, core: str) -> None:
    events: list[Mapping[str, Any]] = []
    assert await DockerImages(docker).build_image("core", progress=events.append) == core
    assert events == []
    assert await DockerImages(docker).resolve_image("core") == core
    assert await DockerImages(docker).resolve_image("cloudrouter/core:latest") == "cloudrouter/core:latest"
    assert await DockerImages(docker).resolve_image("no-such-image:anywhere") is None


async def test_tools_of_the_trade_are_inside(docker: aiodocker.Docker, core: str) -> None:
    output = await run_inside(
        docker,
        core,
        "node --version; python3 --version; for tool in npm npx pip; do $tool --version > /dev/null; done\n"
        "for tool in git curl rsync tmux rg jq sudo ps ip less nano unzip xz gcc make ssh; do command -v $tool; done\n"
        "command -v /usr/sbin/nft /usr/sbin/sshd; ! command -v corepack",
    )
    assert output.startswith("v24.")
    assert "Python 3.11" in output


async def test_user_owns_home_and_may_become_root(docker: aiodocker.Docker, core: str) -> None:
    output = await run_inside(
        docker,
        core,
        "id -u; id -g; id -un; pwd; echo $HOME; sudo -n id -u\n"
        "touch ~/workspace/a ~/.npm/a ~/.cache/a ~/.local/bin/a; stat -c %U ~/workspace",
    )
    assert output.split() == ["1000", "1000", "user", "/home/user/workspace", "/home/user", "0", "user"]


async def test_locale_and_time_are_sane(docker: aiodocker.Docker, core: str) -> None:
    output = await run_inside(
        docker,
        core,
        "echo $LANG; date +%Z; printf 'é' | wc -m\n"
        "LC_ALL=en_US.UTF-8 python3 -c 'import locale; print(locale.setlocale(locale.LC_ALL, \"\"))'",
    )
    assert output.split() == ["C.UTF-8", "UTC", "1", "en_US.UTF-8"]


async def test_packages_install_without_fuss_where_the_user_may_write(docker: aiodocker.Docker, core: str) -> None:
    output = await run_inside(
        docker,
        core,
        "mkdir -p /tmp/one/one; cd /tmp/one; touch one/__init__.py\n"
        'echo \'{"name": "one", "version": "1.0.0", "bin": {"one-tool": "one.js"}}\' > package.json\n'
        "printf '#!/usr/bin/env node\\nconsole.log(42)\\n' > one.js\n"
        "npm install --silent --global /tmp/one; command -v one-tool; one-tool; sudo npm prefix --global\n"
        "ls /usr/lib/python3*/EXTERNALLY-MANAGED 2>/dev/null || echo unmanaged\n"
        "python3 -m venv /tmp/v; /tmp/v/bin/python -c 'print(\"venv\")'",
    )
    assert output.split() == ["/home/user/.local/bin/one-tool", "42", "/usr/local", "unmanaged", "venv"]


async def test_native_addons_compile_without_downloads(docker: aiodocker.Docker, core: str) -> None:
    source = (
        "#include <node_api.h>\\nstatic napi_value f(napi_env e, napi_value x)"
        "{ napi_value r; napi_create_int32(e, 42, &r); return r; }\\nNAPI_MODULE(a, f)\\n"
    )
    output = await run_inside(
        docker,
        core,
        'mkdir /tmp/a; cd /tmp/a; echo \'{"targets":[{"target_name":"a","sources":["a.c"]}]}\' > binding.gyp\n'
        f'printf \'{source}\' > a.c; echo \'{{"name":"a","version":"1.0.0"}}\' > package.json\n'
        "export https_proxy=http://127.0.0.1:9 http_proxy=http://127.0.0.1:9; npm install --silent --offline\n"
        "node -p \"require('./build/Release/a.node')\"",
    )
    assert output.split()[-1] == "42"


async def test_login_shells_keep_the_path_that_commands_have(docker: aiodocker.Docker, core: str) -> None:
    output = await run_inside(
        docker, core, "export CLOUDROUTER_PATH=/opt/mine/bin:/usr/bin; bash -lc 'echo $PATH'; sh -lc 'echo $PATH'"
    )
    for line in output.split():
        assert line.startswith(("/opt/mine/bin:/usr/bin:", "/home/user/.local/bin:/opt/mine/bin:/usr/bin:")), line


async def test_image_holds_no_identity_of_its_own(docker: aiodocker.Docker, core: str) -> None:
    output = await run_inside(
        docker, core, "ls /etc/ssh/ssh_host_* 2>/dev/null | wc -l; wc -c < /etc/machine-id", user="root"
    )
    assert output.split() == ["0", "0"]


async def test_certificates_are_exactly_debians(docker: aiodocker.Docker, core: str) -> None:
    output = await run_inside(
        docker,
        core,
        "ls /usr/local/share/ca-certificates | wc -l; sha256sum < /etc/ssl/certs/ca-certificates.crt\n"
        "update-ca-certificates --fresh > /dev/null 2>&1; sha256sum < /etc/ssl/certs/ca-certificates.crt\n"
        "! dpkg --verify ca-certificates | grep -E '/usr/(share/ca-certificates|sbin)/'",
        user="root",
    )
    count, before, after = output.replace(" -", "").split()
    assert (count, before) == ("0", after)


async def test_certificates_that_this_host_adds_are_in_no_image(docker: aiodocker.Docker, core: str) -> None:
    added = [path.read_text().split("\n") for path in Path("/usr/local/share/ca-certificates").glob("*.crt")]
    needles = [line.encode() for lines in added for line in lines[3:6]]
    if not needles:
        pytest.skip("this host trusts nobody but Debian's authorities")
    bundle = host.ca_bundle(os.environ)
    assert all(needle in bundle for needle in needles)
    for image in (core, recipe.load("core").part("core-node").reference):
        assert await occurrences(docker, image, needles) == [0] * len(needles)


async def occurrences(docker: aiodocker.Docker, image: str, needles: list[bytes]) -> list[int]:
    """How often each needle is in the saved image: its layers, its configuration and its history."""
    counts, keep = [0] * len(needles), max(map(len, needles)) - 1
    rest = b""
    async with docker.images.export_image(image) as source:
        while data := await source.read(1 << 20):
            window = rest + data
            for n, needle in enumerate(needles):
                counts[n] += window.count(needle) - rest.count(needle)
            rest = window[-keep:]
    return counts


async def test_certificates_and_proxies_of_the_host_stay_out_of_every_image(
    docker: aiodocker.Docker, lab: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = secrets.token_hex(16)
    bundle = tmp_path / "ca.pem"
    await asyncio.to_thread(bundle.write_bytes, host.ca_bundle(os.environ) + f"\n# {mark} certificate\n".encode())
    text = recipe._text
    monkeypatch.setattr(recipe, "_text", lambda *name: text(*name) + f"\n# {mark}\n" * name[0].startswith("node"))
    env = {**os.environ, "PIP_CERT": str(bundle), "no_proxy": f"{mark}.invalid"}
    engine = DockerEngine(docker)
    reference = await build.build(engine, "corelab", progress=lambda event: None, env=env)
    assert reference != lab
    needles = [f"# {mark} certificate".encode(), f"{mark}.invalid".encode(), b"v24."]
    for image in (recipe.load("corelab").part("core-node").reference, reference):
        certificate, proxy, version = await occurrences(docker, image, needles)
        assert (certificate, proxy) == (0, 0)
        assert version > 0
    leftovers = await engine.find_images(label=recipe.LABEL_LEFTOVER)
    assert not [image for image in leftovers if mark in str(await docker.images.history(image.id))]


async def test_changed_guest_runs_only_its_own_step(
    docker: aiodocker.Docker, lab: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {**MODULES, "cloudrouter/wire/changed.py": f"MARK = {secrets.token_hex(8)!r}\n".encode()}
    monkeypatch.setattr(payload, "guest_modules", lambda: changed)
    events: list[Mapping[str, Any]] = []
    images = DockerImages(docker)
    reference = await build.build(images.engine, "corelab", progress=events.append)
    assert reference != lab
    assert {event["step"].partition(": ")[2] for event in events} == {"Guest"}
    assert not [event for event in events if "npm" in event["detail"]]
    old, new = await docker.images.inspect(lab), await docker.images.inspect(reference)
    same = [a == b for a, b in zip(old["RootFS"]["Layers"], new["RootFS"]["Layers"], strict=True)]
    assert same == [True] * (len(same) - 2) + [False] * 2
    inside = "cd /opt/cloudrouter/lib/cloudrouter/wire; cat changed.py; ls __pycache__"
    output = await run_inside(docker, reference, inside)
    assert "MARK" in output
    assert "changed.cpython-311.pyc" in output
    listed = {image["reference"]: image["current"] for image in await images.list_images()}
    assert (listed[reference], listed[lab]) == (True, False)
    await images.remove_image(reference)
    assert await images.engine.inspect_image(reference) is None
    assert await images.engine.inspect_image(lab) is not None
    with pytest.raises(NotFound):
        await images.remove_image(reference)


async def test_rebuild_replaces_the_image_and_leaves_nothing_untagged(
    docker: aiodocker.Docker, lab: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = DockerEngine(docker)
    before = await engine.inspect_image(lab)
    load = recipe.load

    def ageing_last(name: str, own_apps: str = "") -> recipe.Recipe:
        """Only the last part is made anew, to spare Debian's mirror."""
        found = load(name, own_apps)
        parts = tuple(replace(part, ages=part is found.parts[-1]) for part in found.parts)
        return recipe.Recipe(found.name, parts)

    monkeypatch.setattr(recipe, "load", ageing_last)
    assert await build.build(engine, "corelab", progress=lambda event: None, rebuild=True) == lab
    after = await engine.inspect_image(lab)
    assert before is not None
    assert after is not None
    assert after.id != before.id
    assert await engine.inspect_image(before.id) is None


async def test_supervise_is_the_first_process_and_ends_on_term(docker: aiodocker.Docker, core: str) -> None:
    container = await docker.containers.create(
        {"Image": core, "Labels": {LABEL: "images"}, "HostConfig": {"Init": True, "NetworkMode": "none"}}
    )
    try:
        await container.start()
        async with asyncio.timeout(30):
            while "python3 -I -S /opt/cloudrouter/lib" not in await processes(container):
                await asyncio.sleep(0.1)
        assert "/opt/cloudrouter/supervise" in await processes(container)
        await container.stop(t=20)
        assert (await container.wait())["StatusCode"] == 0
    finally:
        await container.delete(force=True)


async def processes(container: Any) -> str:
    execution = await container.exec(["ps", "-eo", "args"])
    async with execution.start(detach=False) as stream:
        text = ""
        while (message := await stream.read_out()) is not None:
            text += message.data.decode()
    return text


async def test_image_that_a_machine_uses_cannot_be_removed(docker: aiodocker.Docker, core: str) -> None:
    container = await docker.containers.create({"Image": core, "Labels": {LABEL: "images"}})
    try:
        with pytest.raises(Conflict, match="use"):
            await DockerImages(docker).remove_image(core)
        assert await DockerImages(docker).resolve_image("core") == core
    finally:
        await container.delete(force=True)


async def test_failing_step_shows_its_last_lines_and_leaves_the_image_alone(
    docker: aiodocker.Docker, lab: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_before_guest(monkeypatch, "#: Doomed\nRUN for n in $(seq 40); do echo line $n; done; exit 9\n")
    with pytest.raises(ProviderBug, match="'Doomed'") as caught:
        await build.build(DockerEngine(docker), "corelab", progress=lambda event: None)
    assert "status 9" in caught.value.message
    assert caught.value.details["output"][-1] == "line 40"
    assert len(caught.value.details["output"]) == 15
    assert await DockerEngine(docker).inspect_image(lab) is not None


async def test_cancelled_build_ends_in_the_engine_too(
    docker: aiodocker.Docker, lab: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = secrets.token_hex(8)
    add_before_guest(monkeypatch, f"#: Endless\nRUN echo begun {mark}; sleep 1000\n")
    begun = asyncio.Event()

    def progress(event: Mapping[str, Any]) -> None:
        if mark in event["detail"]:
            begun.set()

    task = asyncio.create_task(build.build(DockerEngine(docker), "corelab", progress=progress))
    await asyncio.wait_for(begun.wait(), 120)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        while any(mark in str(container["Command"]) for container in await docker.containers.list()):
            await asyncio.sleep(0.1)


async def test_base_built_from_packages_is_slim_and_whole(docker: aiodocker.Docker) -> None:
    engine = DockerEngine(docker)
    if await engine.inspect_image(base.OWN) is None:
        await base.bootstrap(engine, env=os.environ, note=lambda text: None)
    output = await run_inside(
        docker, base.OWN, "cat /etc/debian_version; ls /usr/share/man 2>/dev/null | wc -l; dpkg --audit", user="root"
    )
    assert output.startswith("12.")
    facts = await engine.inspect_image(base.OWN)
    assert facts is not None
    assert facts.size_bytes < 160_000_000


async def test_imported_tar_has_its_name_and_settings(docker: aiodocker.Docker) -> None:
    engine, reference = DockerEngine(docker), "cloudrouter/imported:here"
    packed = context.pack({"etc/hello": context.File(b"x")})

    async def chunks() -> AsyncIterator[bytes]:
        yield packed[:700]
        yield packed[700:]

    await engine.import_tar(chunks(), reference=reference, changes=['CMD ["a"]', "ENV B=c"])
    try:
        settings = (await docker.images.inspect(reference))["Config"]
        assert (settings["Cmd"], settings["Env"]) == (["a"], ["B=c"])
    finally:
        await engine.untag_image(reference)


async def test_pull_from_a_registry_that_is_not_there_fails(docker: aiodocker.Docker) -> None:
    async with aclosing(DockerEngine(docker).pull("localhost:1/none:x")) as events:
        with pytest.raises(ProviderBug):
            await anext(events)
