"""The Engine API side, against a scripted engine on a Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiodocker
import pytest
from aiohttp import web

from cloudrouter.images import layering, recipe
from cloudrouter.images.engine import BuildOrder, ImageSettings
from cloudrouter.images.known import Known
from cloudrouter.providers.base import Images
from cloudrouter.providers.docker.images import DockerEngine, DockerImages
from cloudrouter.wire.errors import Conflict, InvalidSpec, NoCapacity, NotFound, ProviderBug, Unreachable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ORDER = BuildOrder(b"tar", "cloudrouter/x:1", {"A": "b"}, {"l": "v"}, host_network=True)


class Scripted:
    """An engine with a table of answers by path; it keeps the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, Handler] = {}
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        path = request.path.removeprefix("/v1.41")
        if path == "/version":
            return web.json_response({"ApiVersion": "1.41"})
        handler = self.answers.get(f"{request.method} {path}")
        if handler is None:
            return web.json_response({"message": f"No such thing: {path}"}, status=404)
        return await handler(request)

    def says(self, route: str, body: Any, status: int = 200) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.bodies.append(await request.read())
            return web.json_response(body, status=status)

        self.answers[route] = answer

    def streams(self, route: str, *pieces: bytes, cut: bool = False) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.bodies.append(await request.read())
            response = web.StreamResponse()
            await response.prepare(request)
            for piece in pieces:
                await response.write(piece)
            if cut:
                assert request.transport is not None
                request.transport.abort()
            return response

        self.answers[route] = answer


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Scripted]:
    scripted = Scripted()
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{path:.*}", scripted.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "engine.sock")).start()
    yield scripted
    await runner.cleanup()


@pytest.fixture
async def docker(engine: Scripted, tmp_path: Path) -> AsyncIterator[aiodocker.Docker]:
    client = aiodocker.Docker(url=f"unix://{tmp_path}/engine.sock")
    yield client
    await client.close()


async def collect(docker: aiodocker.Docker) -> list[Any]:
    async with aclosing(DockerEngine(docker).build(ORDER)) as events:
        return [event async for event in events]


async def test_docker_images_are_the_contracts_images(docker: aiodocker.Docker) -> None:
    assert isinstance(DockerImages(docker), Images)


async def test_build_sends_the_order_and_yields_objects_cut_anywhere(
    engine: Scripted, docker: aiodocker.Docker
) -> None:
    engine.streams("POST /build", b'{"stream":"o', b'ne"}\r\n{"stream":"two"}', b'\r\n\r\n{"aux":{"ID":"x"}}')
    assert await collect(docker) == [{"stream": "one"}, {"stream": "two"}, {"aux": {"ID": "x"}}]
    query = engine.requests[-1].query
    assert (query["t"], query["networkmode"], query["nocache"]) == ("cloudrouter/x:1", "host", "0")
    assert json.loads(query["buildargs"]) == {"A": "b"}
    assert json.loads(query["labels"]) == {"l": "v"}
    assert engine.bodies == [b"tar"]


async def test_build_when_the_engine_dies_then_unreachable(engine: Scripted, docker: aiodocker.Docker) -> None:
    engine.streams("POST /build", b'{"stream":"one"}\n', cut=True)
    with pytest.raises(Unreachable):
        await collect(docker)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (500, "boom", ProviderBug),
        (500, "write /x: no space left on device", NoCapacity),
        (404, "gone", NotFound),
        (409, "busy", Conflict),
    ],
)
async def test_build_when_refused_then_error_of_the_family(
    engine: Scripted, docker: aiodocker.Docker, status: int, message: str, kind: type[Exception]
) -> None:
    engine.says("POST /build", {"message": message}, status)
    with pytest.raises(kind, match=message.split()[-1]):
        await collect(docker)


async def test_build_when_output_is_no_json_then_error_of_the_family(
    engine: Scripted, docker: aiodocker.Docker
) -> None:
    engine.streams("POST /build", b"<html>\n")
    with pytest.raises(ProviderBug, match="not JSON"):
        await collect(docker)


async def test_build_when_a_line_never_ends_then_memory_stays_bounded(
    engine: Scripted, docker: aiodocker.Docker
) -> None:
    engine.streams("POST /build", *[b"x" * 300_000] * 5)
    with pytest.raises(ProviderBug, match="never ends"):
        await collect(docker)


async def test_build_when_cancelled_then_the_engine_sees_the_connection_close(
    engine: Scripted, docker: aiodocker.Docker
) -> None:
    seen, closed = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"stream":"one"}\n')
        seen.set()
        transport = request.transport
        while transport is not None and not transport.is_closing():
            await asyncio.sleep(0.01)
        closed.set()
        return response

    engine.answers["POST /build"] = answer
    task = asyncio.create_task(collect(docker))
    await seen.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(closed.wait(), 10)


async def test_import_when_the_source_breaks_then_its_request_is_never_whole(
    engine: Scripted, docker: aiodocker.Docker
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise Unreachable("source broke")

    engine.streams("POST /images/create", b"{}\n")
    with pytest.raises(Unreachable):
        await DockerEngine(docker).import_tar(chunks(), reference="a/b:c", changes=["CMD x"])
    assert engine.bodies == []


async def test_import_sends_tar_reference_and_changes(engine: Scripted, docker: aiodocker.Docker) -> None:
    engine.streams("POST /images/create", b'{"status":"sha256:1"}\n')
    engine.says("GET /images/a/b:c/json", image("sha256:1", ["a/b:c"], {}))
    await DockerEngine(docker).import_tar(two_chunks(), reference="a/b:c", changes=["CMD x", "ENV y"])
    query = next(request.query for request in engine.requests if request.method == "POST")
    assert (query["fromSrc"], query["repo"], query.getall("changes")) == ("-", "a/b:c", ["CMD x", "ENV y"])
    assert engine.bodies[0] == b"onetwo"


async def test_import_that_the_engine_forgot_is_not_believed(engine: Scripted, docker: aiodocker.Docker) -> None:
    engine.streams("POST /images/create", b'{"status":"sha256:1"}\n')
    with pytest.raises(ProviderBug, match="does not have it"):
        await DockerEngine(docker).import_tar(two_chunks(), reference="a/b:c", changes=[])


async def two_chunks() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


async def test_pull_when_the_stream_holds_an_error_then_raises(engine: Scripted, docker: aiodocker.Docker) -> None:
    engine.streams("POST /images/create", b'{"status":"x"}\n{"error":"denied"}\n')
    async with aclosing(DockerEngine(docker).pull("debian:x")) as events:
        assert await anext(events) == {"status": "x"}
        with pytest.raises(ProviderBug, match="denied"):
            await anext(events)


async def test_engine_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    client = aiodocker.Docker(url=f"unix://{tmp_path}/nothing.sock", api_version="v1.41")
    try:
        with pytest.raises(Unreachable):
            await DockerImages(client).resolve_image("debian:x")
        with pytest.raises(Unreachable):
            await collect(client)
    finally:
        await client.close()


def image(key: str, tags: list[str], labels: dict[str, str], created: int = 0) -> dict[str, Any]:
    return {"Id": key, "RepoTags": tags, "Labels": labels, "Size": 7, "Created": created}


async def test_resolve_image_tells_current_outdated_and_foreign_apart(
    engine: Scripted, docker: aiodocker.Docker
) -> None:
    wanted, images = recipe.load("core"), DockerImages(docker)
    assert await images.resolve_image("core") is None
    found = {"Id": "1", "RepoTags": [wanted.reference], "Created": "2026-11-24T04:10:27.123456789Z", "Size": 1}
    engine.says(f"GET /images/{wanted.reference}/json", {**found, "Config": {"Labels": {recipe.LABEL_DIGEST: "old"}}})
    assert await images.resolve_image("core") is None
    labels = {recipe.LABEL_DIGEST: wanted.digest}
    engine.says(f"GET /images/{wanted.reference}/json", {**found, "Config": {"Labels": labels}})
    assert await images.resolve_image("core") == wanted.reference
    engine.says("GET /images/debian:trixie/json", {**found, "Id": "sha256:9", "Config": {"Labels": None}})
    assert await images.resolve_image("debian:trixie") is None
    kit, dockerfile = recipe.load("runtime"), layering.layer_dockerfile()
    layer = layering.digest_of("sha256:9", kit, dockerfile)
    reference = f"cloudrouter/any:{layer[:12]}"
    labels = {recipe.LABEL_DIGEST: layer}
    engine.says(f"GET /images/{reference}/json", {**found, "Config": {"Labels": labels}})
    engine.requests.clear()
    assert await images.resolve_image("debian:trixie") == reference
    assert len([one for one in engine.requests if one.path.endswith("/json")]) == 2
    assert await images.resolve_image("debian:buzz") is None


@pytest.mark.parametrize(
    "name", ["../containers/abc", "a/../../info", "", "a b", "a?x=1", "a%2e%2e", "a//b", "a\nb", "-x", "x" * 300]
)
async def test_name_that_cannot_be_a_reference_never_reaches_the_engine(
    engine: Scripted, docker: aiodocker.Docker, name: str
) -> None:
    assert await DockerImages(docker).resolve_image(name) is None
    assert engine.requests == []


async def test_settings_are_what_the_image_was_made_for(engine: Scripted, docker: aiodocker.Docker) -> None:
    config = {"Labels": {"a": "b"}, "Volumes": {"/data": {}}, "OnBuild": ["RUN x"]}
    body = {"Id": "sha256:1", "Os": "linux", "Architecture": "arm64", "Config": config}
    engine.says("GET /images/x:1/json", body)
    found = await DockerEngine(docker).inspect_settings("x:1")
    assert found == ImageSettings("sha256:1", "linux", "arm64", {"a": "b"}, ("/data",), ("RUN x",))
    assert await DockerEngine(docker).inspect_settings("y:1") is None


@pytest.mark.parametrize(
    ("reference", "repository", "tag"),
    [
        ("debian", "debian", "latest"),
        ("debian:trixie", "debian", "trixie"),
        ("localhost:5000/a/b", "localhost:5000/a/b", "latest"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b", "c"),
        (f"a/b@sha256:{'0' * 64}", "a/b", f"sha256:{'0' * 64}"),
        (f"a/b:c@sha256:{'0' * 64}", "a/b", f"sha256:{'0' * 64}"),
    ],
)
async def test_pull_asks_for_one_tag_or_digest(
    engine: Scripted, docker: aiodocker.Docker, reference: str, repository: str, tag: str
) -> None:
    engine.streams("POST /images/create", b"{}\n")
    async with aclosing(DockerEngine(docker).pull(reference)) as events:
        assert [event async for event in events] == [{}]
    assert dict(engine.requests[-1].query) == {"fromImage": repository, "tag": tag}


async def test_build_sends_file_and_stage_where_they_are_named(engine: Scripted, docker: aiodocker.Docker) -> None:
    engine.streams("POST /build", b"{}\n")
    order = BuildOrder(two_chunks(), "x:1", {}, {}, dockerfile="a/Dockerfile", target="dev", from_scratch=True)
    async with aclosing(DockerEngine(docker).build(order)) as events:
        assert [event async for event in events] == [{}]
    query = engine.requests[-1].query
    assert (query["dockerfile"], query["target"], query["nocache"]) == ("a/Dockerfile", "dev", "1")
    assert engine.bodies == [b"onetwo"]


async def test_count_bytes_is_what_the_engine_says_of_its_layers(engine: Scripted, docker: aiodocker.Docker) -> None:
    engine.says("GET /system/df", {"LayersSize": 12})
    assert await DockerEngine(docker).count_bytes() == 12
    engine.says("GET /system/df", {"LayersSize": None})
    assert await DockerEngine(docker).count_bytes() is None


async def test_check_image_refuses_at_once_what_only_this_engine_could_have(
    engine: Scripted, docker: aiodocker.Docker
) -> None:
    images = DockerImages(docker)
    await images.check_image("debian:trixie")
    await images.check_image("core")
    for name in ("cloudrouter/core:0", "build:web@0123456789ab", "sha256:0123456789ab"):
        with pytest.raises(NotFound, match="not in the engine"):
            await images.check_image(name)
    with pytest.raises(InvalidSpec, match="cannot be the name"):
        await images.check_image("a b")
    engine.says("GET /images/cloudrouter/build:0123456789ab/json", image("sha256:1", [], {}))
    await images.check_image("build:web@0123456789ab")


async def test_remove_image_that_is_missing_is_not_found(engine: Scripted, docker: aiodocker.Docker) -> None:
    engine.says("GET /images/json", [])
    engine.says("GET /containers/json", [])
    with pytest.raises(NotFound, match="called"):
        await DockerImages(docker).remove_image("core")


def shown(reference: str, key: str, digest: str, *, digests: list[str] | None = None) -> dict[str, Any]:
    labels = {recipe.LABEL_IMAGE: "core", recipe.LABEL_DIGEST: digest}
    return {**image(key, [reference], labels), "Config": {"Labels": labels}, "RepoDigests": digests or []}


async def test_image_that_a_registry_gave_is_never_ours_whatever_its_tag_and_labels_say(
    engine: Scripted, docker: aiodocker.Docker
) -> None:
    wanted, images = recipe.load("core"), DockerImages(docker)
    path = f"GET /images/{wanted.reference}/json"
    engine.says(path, shown(wanted.reference, "sha256:1", wanted.digest))
    assert await images.resolve_image("core") == wanted.reference
    pulled = shown(wanted.reference, "sha256:1", wanted.digest, digests=["cloudrouter/core@sha256:ab"])
    engine.says(path, pulled)
    engine.says("GET /images/json", [pulled])
    assert await images.resolve_image("core") is None
    assert await images.resolve_image(wanted.reference) is None
    (found,) = await images.engine.find_images(label=recipe.LABEL_IMAGE)
    assert not recipe.is_ours(found)
    # What this router built stays its own, though a person pushes it somewhere.
    images.engine.known.remember("sha256:1", wanted.reference)
    assert await images.resolve_image("core") == wanted.reference


async def test_image_that_took_the_tag_of_a_build_of_ours_is_not_ours(
    engine: Scripted, docker: aiodocker.Docker
) -> None:
    wanted, images = recipe.load("core"), DockerImages(docker)
    images.engine.known.remember("sha256:1", wanted.reference)
    engine.says(f"GET /images/{wanted.reference}/json", shown(wanted.reference, "sha256:2", wanted.digest))
    assert await images.resolve_image("core") is None


async def test_image_without_a_name_is_not_taken_for_one_of_a_registry(
    engine: Scripted, docker: aiodocker.Docker
) -> None:
    engine.says("GET /images/json", [shown("<none>:<none>", "sha256:1", "d", digests=["<none>@<none>"])])
    (found,) = await DockerEngine(docker).find_images(label=recipe.LABEL_IMAGE)
    assert (found.tags, found.made_here) == ((), True)


async def test_build_that_the_engine_finished_is_remembered_by_its_id(
    engine: Scripted, docker: aiodocker.Docker
) -> None:
    known = Known()
    engine.streams("POST /build", b'{"aux":{"ID":"sha256:1"}}\n{"stream":"x"}\n')
    async with aclosing(DockerEngine(docker, known).build(ORDER)) as events:
        assert len([event async for event in events]) == 2
    engine.streams("POST /build", b'{"aux":{"ID":"sha256:2"}}\n{"error":"no"}\n')
    async with aclosing(DockerEngine(docker, known).build(ORDER)) as events:
        assert len([event async for event in events]) == 2
    assert (known.has("sha256:1"), known.has("sha256:2"), known.gave([ORDER.tag])) == (True, False, True)


async def test_import_is_remembered_by_its_id(engine: Scripted, docker: aiodocker.Docker) -> None:
    engine.streams("POST /images/create", b'{"status":"sha256:1"}\n')
    engine.says("GET /images/a/b:c/json", image("sha256:1", ["a/b:c"], {}))
    known = Known()
    await DockerEngine(docker, known).import_tar(two_chunks(), reference="a/b:c", changes=[])
    assert known.has("sha256:1")
