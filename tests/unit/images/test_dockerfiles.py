"""Which images a Dockerfile begins with, and that ours are never fetched because one names them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.images.fakes import FakeEngine

from cloudrouter.images import dockerfiles
from cloudrouter.images.dockerfiles import Watched
from cloudrouter.images.folders import FolderBuild, build_folder
from cloudrouter.wire.errors import InvalidSpec

OURS = "cloudrouter/core:aaaaaaaaaaaa"


def packed(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("l" * 120)
        link.type, link.linkname = tarfile.SYMTYPE, "x" * 200
        archive.addfile(link)
    return buffer.getvalue()


async def cut(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def build(engine: FakeEngine, data: bytes, *, size: int = 1 << 16, **options: str) -> None:
    order = FolderBuild(source="web", **options)  # type: ignore[arg-type]
    await build_folder(engine, order, cut(data, size), progress=lambda _event: None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM debian", ["debian"]),
        ("# FROM x\nfrom --platform=linux/amd64 a:1 as B\nFROM b\nCOPY --from=B / /", ["a:1"]),
        ("FROM a:1\nCOPY --from=c:2 / /", ["a:1", "c:2"]),
        ("ARG V=1\nARG I=cloudrouter/core:$V\nFROM ${I}", ["cloudrouter/core:1"]),
        ("ARG I\nFROM ${I:-x:1}\nFROM $I\nFROM ${I:+no}y", ["x:1", "", "y"]),
        ("ARG G=x\nFROM $G", ["given"]),
        ("FROM \\\n  # hm\n  a:1 \\\n AS s\nCOPY --from=0 / /", ["a:1"]),
        ("FROM a\nRUN --mount=type=bind,from=b:1,target=/x true", ["a", "b:1"]),
        ("FROM 'a'\nCOPY --chown=1 --from=\"b\" / /\nRUN echo --from", ["a", "b"]),
    ],
)  # fmt: skip
def test_images_of_a_dockerfile_are_all_that_it_takes_from_outside(text: str, found: list[str]) -> None:
    assert dockerfiles.images(text, {"G": "given"}) == found


@pytest.mark.parametrize(
    "text",
    [
        f"FROM {OURS}",
        f"FROM docker.io/{OURS}",
        f"ARG I={OURS}\nFROM $I",
        f"FROM debian\nCOPY --from={OURS} / /",
        f"FROM debian AS a\nFROM a\nFROM index.docker.io/{OURS} AS b",
    ],
)
async def test_dockerfile_when_it_names_an_image_of_ours_that_is_not_there_then_nothing_is_built(text: str) -> None:
    engine = FakeEngine()
    with pytest.raises(InvalidSpec, match="not in the engine") as caught:
        await build(engine, packed({"a": "x" * 3000, "Dockerfile": text, "z": "y"}))
    assert caught.value.next == "cloudrouter image build core"
    assert engine.images == {}
    assert engine.contexts == []  # the engine never got the whole tar


async def test_dockerfile_when_the_image_is_there_or_another_file_names_it_then_is_built() -> None:
    engine = FakeEngine()
    data = packed({"sub/Dockerfile": f"FROM {OURS}", "Dockerfile": "FROM debian"})
    await build(engine, data)
    with pytest.raises(InvalidSpec):
        await build(engine, data, dockerfile="sub/Dockerfile")
    engine.add(OURS)
    await build(engine, data, dockerfile="sub/Dockerfile")
    assert engine.contexts == [data, data]


@given(st.integers(1, 2000), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]))
async def test_dockerfile_when_its_tar_comes_cut_anywhere_then_is_found(size: int, form: int) -> None:
    name = "d" * (90 if form == tarfile.USTAR_FORMAT else 300)
    files = {f"{'ä' * 90 if form != tarfile.USTAR_FORMAT else 'a'}": "x" * 700, name: f"FROM {OURS}"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for each, text in files.items():
            entry = tarfile.TarInfo(f"./{each}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    watched = Watched(FakeEngine(), cut(buffer.getvalue(), size), name, {})
    with pytest.raises(InvalidSpec):
        assert [piece async for piece in watched.pieces()]
    assert watched.fault is not None


@given(st.binary(max_size=3000))
async def test_what_is_no_tar_then_passes_for_the_engine_to_refuse(data: bytes) -> None:
    watched = Watched(FakeEngine(), cut(data, 700), "Dockerfile", {})
    assert b"".join([piece async for piece in watched.pieces()]) == data
