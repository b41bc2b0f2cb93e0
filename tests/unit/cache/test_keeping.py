"""What the cache keeps, for how long, and what it does when its registry lies, breaks or is away."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
from base64 import b64encode
from pathlib import Path

import pytest
from tests.unit.cache.conftest import Setting

from cloudrouter.cache.answers import WORD
from cloudrouter.wire.packages import CRATES, CRATES_INDEX, NPM, PYPI, PYTHON_FILES

TARBALL = "/left-pad/-/left-pad-1.3.0.tgz"
BODY = os.urandom(300_000)


def python_path(body: bytes, name: str = "flask-3.0.0.tar.gz") -> str:
    digest = hashlib.blake2b(body, digest_size=32).hexdigest()
    return f"/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{name}"


def packument(integrity: str) -> bytes:
    dist = {"tarball": f"https://{NPM}{TARBALL}", "integrity": integrity}
    return json.dumps({"name": "left-pad", "versions": {"1.3.0": {"dist": dist}}}).encode()


def sha512(body: bytes) -> str:
    return "sha512-" + b64encode(hashlib.sha512(body).digest()).decode()


async def test_an_artifact_when_asked_for_again_then_comes_without_its_registry(setting: Setting) -> None:
    setting.registry.serve(TARBALL, BODY)
    first, second = await setting.get(TARBALL), await setting.get(TARBALL)
    assert (first.word, second.word) == ("miss", "hit")
    assert first.body == second.body == BODY
    await setting.registry.stop()
    setting.time += 10 * 365 * 86400
    assert (await setting.get(TARBALL)).body == BODY
    counters = setting.cache.counters
    assert (counters.artifact_fetches, counters.hits, counters.misses) == (1, 2, 1)
    assert counters.saved_bytes == 2 * len(BODY)


async def test_an_artifact_when_the_process_ended_then_is_still_there(setting: Setting) -> None:
    setting.registry.serve(TARBALL, BODY)
    await setting.get(TARBALL)
    await setting.close()
    await setting.open()
    assert (await setting.get(TARBALL)).word == "hit"
    assert setting.cache.counters.artifact_fetches == 1


async def test_many_who_want_the_same_at_once_then_it_is_fetched_once(setting: Setting) -> None:
    events = setting.registry.serve_slowly(TARBALL, [BODY[:1000], BODY[1000:]], length=len(BODY))
    asked = [asyncio.create_task(setting.get(TARBALL)) for _ in range(20)]
    events[0].set()
    while not setting.registry.count(TARBALL):
        await asyncio.sleep(0.01)
    events[1].set()
    answers = await asyncio.gather(*asked)
    assert {answer.body for answer in answers} == {BODY}
    assert setting.registry.count(TARBALL) == 1


async def test_the_first_bytes_when_the_rest_is_not_there_yet_then_come_already(setting: Setting) -> None:
    pieces = [b"a" * 50_000, b"b" * 50_000, b"c" * 50_000]
    events = setting.registry.serve_slowly(TARBALL, pieces, length=150_000)
    events[0].set()
    events[1].set()
    tool = await setting.tool()
    tool.writer.write(f"GET {TARBALL} HTTP/1.1\r\nHost: {NPM}\r\n\r\n".encode())
    answer = await tool.head()
    async with asyncio.timeout(10):
        assert await tool.reader.readexactly(1000) == b"a" * 1000
    events[2].set()
    answer.body = b"a" * 1000
    assert (await tool.rest(answer)).body == b"".join(pieces)


@pytest.mark.parametrize("length", [None, 300_000])
async def test_a_reader_when_it_leaves_in_the_middle_then_the_others_and_the_store_get_all(
    setting: Setting, length: int | None
) -> None:
    events = setting.registry.serve_slowly(TARBALL, [BODY[:100_000], BODY[100_000:]], length=length)
    leaver = await setting.tool()
    leaver.writer.write(f"GET {TARBALL} HTTP/1.1\r\nHost: {NPM}\r\n\r\n".encode())
    events[0].set()
    await leaver.head()
    staying = asyncio.create_task(setting.get(TARBALL))
    await leaver.close()
    events[1].set()
    assert (await staying).body == BODY
    assert (await setting.get(TARBALL)).word == "hit"


# -- lies and breaks --------------------------------------------------------------------------------------------------


async def test_a_python_file_when_it_is_not_what_its_url_says_then_nobody_gets_it_whole(setting: Setting) -> None:
    path = python_path(BODY)
    altered = BODY[:-1] + bytes([BODY[-1] ^ 1])
    setting.registry.serve(path, altered)
    for _ in range(2):
        answer = await setting.get(path, PYTHON_FILES)
        assert not answer.complete
        assert len(answer.body) < len(altered)
    assert setting.registry.count(path) == 2
    assert setting.cache.counters.refused_bodies == 2
    setting.registry.serve(path, BODY)
    assert (await setting.get(path, PYTHON_FILES)).body == BODY
    assert (await setting.get(path, PYTHON_FILES)).word == "hit"


@pytest.mark.parametrize("packed", [False, True])
async def test_a_tarball_when_its_packument_promised_another_then_is_refused(setting: Setting, *, packed: bool) -> None:
    described = packument(sha512(BODY))
    if packed:
        setting.registry.serve("/left-pad", gzip.compress(described), Content_Encoding="gzip")
        await setting.get("/left-pad", Accept_Encoding="gzip")
    else:
        setting.registry.serve("/left-pad", described)
        await setting.get("/left-pad")
    setting.registry.serve(TARBALL, BODY[:-1] + b"x")
    assert not (await setting.get(TARBALL)).complete
    setting.registry.serve(TARBALL, BODY)
    assert (await setting.get(TARBALL)).body == BODY


async def test_a_crate_when_the_index_promised_another_then_is_refused(setting: Setting) -> None:
    line = {"name": "serde", "vers": "1.0.1", "cksum": hashlib.sha256(BODY).hexdigest()}
    setting.registry.serve(
        "/se/rd/serde", json.dumps({**line, "vers": "1.0.0"}).encode() + b"\n" + json.dumps(line).encode()
    )
    await setting.get("/se/rd/serde", CRATES_INDEX)
    for path in ("/crates/serde/serde-1.0.1.crate", "/crates/serde/1.0.1/download"):
        setting.registry.serve(path, b"other")
        assert not (await setting.get(path, CRATES)).complete
        setting.registry.serve(path, BODY)
        assert (await setting.get(path, CRATES)).body == BODY


@pytest.mark.parametrize("length", [None, 400_000])
async def test_a_download_when_it_breaks_off_then_the_tool_sees_that_and_nothing_is_kept(
    setting: Setting, length: int | None
) -> None:
    events = setting.registry.serve_slowly(TARBALL, [BODY[:100_000]], length=length or 400_000)
    events[0].set()
    assert not (await setting.get(TARBALL)).complete
    assert len(setting.cache.store) == 0
    assert os.listdir(setting.folder / "store" / "parts") == []


async def test_what_is_no_success_when_answered_then_is_passed_on_and_not_kept(setting: Setting) -> None:
    for status in (404, 403, 500):
        setting.registry.serve(TARBALL, b"no", status=status)
        answer = await setting.get(TARBALL)
        assert (answer.status, answer.body) == (status, b"no")
    setting.registry.serve(TARBALL, b"", status=302, Location="https://elsewhere.example/x")
    assert (await setting.get(TARBALL)).headers["location"] == "https://elsewhere.example/x"
    setting.registry.serve(TARBALL, BODY)
    assert (await setting.get(TARBALL)).word == "miss"


async def test_a_registry_when_it_is_away_then_502_for_what_is_not_kept(setting: Setting) -> None:
    await setting.registry.stop()
    answer = await setting.get(TARBALL)
    assert answer.status == 502
    assert NPM in answer.body.decode()


async def test_a_registry_when_its_certificate_is_not_trusted_then_nothing_of_it_is_believed(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    await setting.close()
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    await setting.open()
    setting.registry.serve(TARBALL, BODY)
    assert (await setting.get(TARBALL)).status == 502
    assert setting.registry.requests == []


# -- metadata ---------------------------------------------------------------------------------------------------------


async def test_metadata_when_its_time_is_over_then_is_asked_for_with_its_etag(setting: Setting) -> None:
    setting.registry.serve("/react", b"{1}", ETag='"one"', Cache_Control="public, max-age=300")
    assert (await setting.get("/react")).word == "miss"
    setting.time += 299
    fresh = await setting.get("/react")
    assert (fresh.word, fresh.headers["age"]) == ("hit", "299")
    setting.time += 2
    setting.registry.serve("/react", b"", status=304, ETag='"one"', Cache_Control="max-age=300")
    confirmed = await setting.get("/react")
    assert (confirmed.word, confirmed.body) == ("revalidated", b"{1}")
    assert setting.registry.requests[-1].headers["if-none-match"] == '"one"'
    assert (await setting.get("/react")).word == "hit"
    setting.time += 301
    setting.registry.serve("/react", b"{2}", ETag='"two"')
    assert (await setting.get("/react")).body == b"{2}"


async def test_metadata_when_its_registry_is_away_then_is_served_as_it_was_and_says_so(setting: Setting) -> None:
    setting.registry.serve("/react", b"{1}", Cache_Control="max-age=10")
    await setting.get("/react")
    setting.time += 3600
    setting.registry.serve("/react", b"busy", status=503)
    assert (await setting.get("/react")).word == "stale"
    await setting.registry.stop()
    answer = await setting.get("/react")
    assert (answer.word, answer.body) == ("stale", b"{1}")
    assert answer.headers["warning"].startswith("111")
    assert setting.cache.counters.stale == 2
    await setting.registry.start()
    setting.registry.serve("/react", b"{2}")
    assert (await setting.get("/react")).body == b"{2}"


async def test_metadata_when_a_tool_wants_it_new_then_the_registry_is_asked(setting: Setting) -> None:
    setting.registry.serve("/react", b"{1}", Cache_Control="max-age=300")
    await setting.get("/react")
    setting.registry.serve("/react", b"{2}", Cache_Control="max-age=300")
    assert (await setting.get("/react", Cache_Control="max-age=0")).body == b"{1}"
    assert (await setting.get("/react", Cache_Control="no-cache")).body == b"{2}"
    assert (await setting.get("/react")).body == b"{2}"


@pytest.mark.parametrize("control", ["no-store", "private, max-age=300"])
async def test_metadata_when_it_is_not_for_everybody_then_is_not_kept(setting: Setting, control: str) -> None:
    setting.registry.serve("/react", b"{1}", Cache_Control=control)
    await setting.get("/react")
    assert (await setting.get("/react")).word == "miss"


async def test_metadata_when_the_tool_has_it_then_304(setting: Setting) -> None:
    setting.registry.serve("/react", b"{1}", ETag='W/"one"', Cache_Control="max-age=300")
    await setting.get("/react")
    answer = await setting.get("/react", If_None_Match='"zero", "one"')
    assert (answer.status, answer.body) == (304, b"")
    assert (await setting.get("/react", If_None_Match='"zero"')).status == 200


async def test_forms_of_metadata_when_asked_for_then_are_kept_apart_and_asked_for_in_our_words(
    setting: Setting,
) -> None:
    async def page(request: object) -> object:
        from aiohttp import web

        assert isinstance(request, web.BaseRequest)
        said = f"{request.headers['accept']}|{request.headers['accept-encoding']}"
        headers = {"Content-Encoding": "gzip"} if "gzip" in said else {}
        body = gzip.compress(said.encode()) if headers else said.encode()
        return web.Response(body=body, headers=headers)

    setting.registry.pages["/simple/flask/"] = page  # type: ignore[assignment]
    as_json = "application/vnd.pypi.simple.v1+json, */*; q=0.1"
    seen = []
    for headers in (
        {"Accept": as_json},
        {"Accept": as_json, "Accept_Encoding": "br, gzip"},
        {"Accept": "text/html"},
        {"Accept": "text/html; x=evil"},
    ):
        answer = await setting.get("/simple/flask/", PYPI, **headers)
        packed = answer.headers.get("content-encoding") == "gzip"
        seen.append((gzip.decompress(answer.body) if packed else answer.body).decode())
    assert seen[0].startswith("application/vnd.pypi.simple.v1+json")
    assert seen[1].endswith("|gzip")
    assert seen[2] == seen[3] == "text/html|identity"
    assert setting.registry.count("/simple/flask/") == 3


async def test_head_when_the_file_is_kept_then_is_answered_without_its_registry(setting: Setting) -> None:
    setting.registry.serve(TARBALL, BODY)
    tool = await setting.tool()
    assert (await tool.ask(TARBALL, "HEAD")).word == "pass"
    await tool.ask(TARBALL)
    answer = await tool.ask(TARBALL, "HEAD")
    assert (answer.word, answer.headers["content-length"]) == ("hit", str(len(BODY)))


# -- room -------------------------------------------------------------------------------------------------------------


async def test_a_file_when_it_is_larger_than_is_kept_then_is_carried_through(setting: Setting) -> None:
    large = os.urandom(3 * 1024 * 1024)
    setting.registry.serve(TARBALL, large)
    answer = await setting.get(TARBALL)
    assert (answer.word, answer.body) == ("pass", large)
    assert len(setting.cache.store) == 0


async def test_files_when_the_bound_is_reached_then_the_least_used_goes(setting: Setting) -> None:
    names = [f"/p{number}/-/p{number}-1.0.0.tgz" for number in range(9)]
    for name in names:
        setting.registry.serve(name, os.urandom(1024 * 1024))
        await setting.get(name)
        await setting.get(names[0])
    assert setting.cache.store.bytes <= setting.cache.store.bound_bytes
    assert (await setting.get(names[0])).word == "hit"
    assert (await setting.get(names[1])).word == "miss"
    status = setting.cache.status()
    assert status["dropped"] >= 1
    assert status["bytes"] == setting.cache.store.bytes


async def test_a_disk_when_it_is_full_then_tools_still_get_their_packages(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_length: int | None) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(setting.cache.store, "begin", full)
    setting.registry.serve(TARBALL, BODY)
    answer = await setting.get(TARBALL)
    assert (answer.word, answer.body) == ("pass", BODY)


async def test_a_kept_file_when_somebody_shortened_it_then_comes_anew(setting: Setting) -> None:
    setting.registry.serve(TARBALL, BODY)
    await setting.get(TARBALL)
    for path in (setting.folder / "store" / "objects").rglob("*"):
        if path.is_file():
            path.write_bytes(BODY[:10])
    answer = await setting.get(TARBALL)
    assert (answer.word, answer.body) == ("miss", BODY)


async def test_verify_when_a_file_was_altered_then_forgets_it(setting: Setting) -> None:
    setting.registry.serve(TARBALL, BODY)
    setting.registry.serve("/react", b"{1}")
    await setting.get(TARBALL)
    await setting.get("/react")
    assert await setting.cache.obey("verify") == {"checked": 2, "damaged": 0}
    for path in (setting.folder / "store" / "objects").rglob("*"):
        if path.is_file() and path.stat().st_size == len(BODY):
            path.write_bytes(bytes(len(BODY)))
    assert await setting.cache.obey("verify") == {"checked": 2, "damaged": 1}
    assert (await setting.get(TARBALL)).body == BODY


async def test_clear_when_asked_then_nothing_is_left_on_the_disk(setting: Setting) -> None:
    setting.registry.serve(TARBALL, BODY)
    await setting.get(TARBALL)
    assert await setting.cache.obey("clear") == {"entries": 1, "bytes": len(BODY)}
    assert [path for path in (setting.folder / "store").rglob("*") if path.is_file()] == []
    assert (await setting.get(TARBALL)).word == "miss"


async def test_counters_when_the_process_ends_then_go_on_from_there(setting: Setting, tmp_path: Path) -> None:
    setting.registry.serve(TARBALL, BODY)
    await setting.get(TARBALL)
    await setting.close()
    await setting.open()
    assert setting.cache.counters.misses == 1
    await setting.close()
    (setting.folder / "counters.json").write_text('{"hits": -3, "misses": "x", "passed": 7, "other": 1}')
    await setting.open()
    assert (setting.cache.counters.hits, setting.cache.counters.misses, setting.cache.counters.passed) == (0, 0, 7)
    assert WORD == "x-cloudrouter-cache"
