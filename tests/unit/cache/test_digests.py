"""What metadata tells of a file, found without reading all of it, and never by mistake."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.cache import digests
from cloudrouter.cache.digests import Expected, Mismatch, find_described
from cloudrouter.cache.policy import ARTIFACT, Wanted
from cloudrouter.wire.packages import CRATES, NPM

BODY = b"the tarball"
SHA512 = "sha512-" + base64.b64encode(hashlib.sha512(BODY).digest()).decode()
SHA1 = "sha1-" + base64.b64encode(hashlib.sha1(b"other").digest()).decode()


def wanted(name: str = "p", version: str = "1.0.0") -> Wanted:
    return Wanted(NPM, f"/{name}/-/{name}-{version}.tgz", ARTIFACT)


def dist(version: str, **fields: object) -> dict[str, object]:
    return {"tarball": f"https://{NPM}/p/-/p-{version}.tgz", **fields}


def accepts(metadata: bytes, body: bytes, *, packed: bool = False, of: Wanted | None = None) -> bool:
    """Whether a body is what the metadata promised."""
    expected = Expected()
    found = find_described(of or wanted(), metadata, packed=packed)
    if found is not None:
        expected.add_named(*found)
    expected.update(body)
    try:
        expected.check()
    except Mismatch:
        return False
    return True


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "fields",
    [
        {"integrity": SHA512},
        {"integrity": f"{SHA1} {SHA512}"},
        {"shasum": hashlib.sha1(BODY).hexdigest()},
        {"signatures": [{"keyid": "{", "sig": "}"}] * 9, "integrity": SHA512},
    ],
)
def test_a_packument_when_it_tells_a_digest_then_another_body_is_refused(
    fields: dict[str, object], indent: int | None
) -> None:
    before = {**fields, **dist("1.0.0")}
    for one in (before, dist("1.0.0", **fields)):
        others = {f"0.{number}.0": {"dist": dist(f"0.{number}.0", integrity="sha512-AAAA")} for number in range(50)}
        text = json.dumps({"versions": {**others, "1.0.0": {"readme": "{", "dist": one}}}, indent=indent).encode()
        assert accepts(text, BODY)
        assert not accepts(text, BODY + b"x")
        assert not accepts(gzip.compress(text), b"x", packed=True)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        json.dumps({"versions": {"1.0.0": {"dist": dist("1.0.0")}}}).encode(),
        json.dumps({"versions": {"1.0.0": {"dist": dist("1.0.0", integrity="sha512-!!")}}}).encode(),
        json.dumps({"versions": {"1.0.0": {"dist": dist("1.0.0", integrity=["x"], shasum="zz")}}}).encode(),
        json.dumps({"versions": {"1.0.1": {"dist": dist("1.0.1", integrity=SHA512)}}}).encode(),
        b"[" * 100_000 + b'{"x": "/p/-/p-1.0.0.tgz"' + b"]" * 10,
    ],
)
def test_a_packument_when_it_tells_nothing_that_can_be_read_then_nothing_is_expected(text: bytes) -> None:
    assert accepts(text, b"anything")


def test_metadata_when_it_is_too_large_then_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"versions": {"1.0.0": {"dist": dist("1.0.0", integrity=SHA512)}}}).encode()
    monkeypatch.setattr(digests, "METADATA_LIMIT", len(text) - 1)
    assert accepts(text, b"anything")
    assert accepts(gzip.compress(text), b"anything", packed=True)
    monkeypatch.setattr(digests, "METADATA_LIMIT", len(text))
    assert not accepts(text, b"anything")


def test_an_index_when_it_tells_checksums_then_the_right_version_counts() -> None:
    lines = [{"vers": "1.0.0", "cksum": hashlib.sha256(BODY).hexdigest()}, {"vers": "1.0.1", "cksum": "00" * 32}]
    text = "\n".join(json.dumps(line) for line in lines).encode()
    crate = Wanted(CRATES, "/crates/p/p-1.0.0.crate", ARTIFACT)
    assert accepts(text, BODY, of=crate)
    assert not accepts(text, b"x", of=crate)
    assert not accepts(text, BODY, of=Wanted(CRATES, "/crates/p/1.0.1/download", ARTIFACT))


@given(st.binary(max_size=300), st.booleans())
def test_metadata_when_it_is_any_bytes_then_is_no_defect(text: bytes, packed: bool) -> None:
    for one in (wanted(), Wanted(CRATES, "/crates/p/p-1.0.0.crate", ARTIFACT)):
        find_described(one, text + b'"/p/-/p-1.0.0.tgz"' + text, packed=packed)


def hostile_packuments() -> list[bytes]:
    place = b'"/p/-/p-1.0.0.tgz"'
    deep = b'{"a":' * 40 + b"[" + (place + b",") * 400
    elsewhere = b'{"tarball":"/other"' + b',"a":{' * 40 + (b'"b":' + place + b",") * 300
    return [deep * 40, elsewhere * 40, b"{" * 16_000 + place * 100_000]


@pytest.mark.parametrize("text", hostile_packuments())
def test_a_packument_when_it_is_made_to_take_long_then_is_given_up_soon(text: bytes) -> None:
    began = time.process_time()
    assert accepts(text, b"anything")
    assert time.process_time() - began < 2, "it took minutes once"


def test_an_index_when_it_is_made_to_take_long_then_is_given_up_soon() -> None:
    line = json.dumps({"x": {"vers": "1.0.0"}, "vers": "1.0.1", "cksum": "", "y": "z" * 100_000}).encode()
    crate = Wanted(CRATES, "/crates/p/p-1.0.0.crate", ARTIFACT)
    began = time.process_time()
    assert accepts(b"\n".join([line] * 600), b"anything", of=crate)
    assert time.process_time() - began < 2


def test_an_index_when_other_versions_say_the_same_number_elsewhere_then_the_right_one_is_found() -> None:
    lines = [{"vers": f"0.{number}.0", "cksum": "00" * 32, "rust_version": "1.0.0"} for number in range(100)]
    lines.append({"vers": "1.0.0", "cksum": hashlib.sha256(BODY).hexdigest(), "rust_version": "1.0.0"})
    text = "\n".join(json.dumps(line) for line in lines).encode()
    crate = Wanted(CRATES, "/crates/p/p-1.0.0.crate", ARTIFACT)
    assert accepts(text, BODY, of=crate)
    assert not accepts(text, b"x", of=crate)
