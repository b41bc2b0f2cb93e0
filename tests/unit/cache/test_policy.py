"""Which URLs may be kept, and that nothing else of a request decides what is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from cloudrouter.cache.policy import ARTIFACT, METADATA, Wanted, classify, crate_version, index_path
from cloudrouter.wire.packages import CRATES, CRATES_INDEX, HOSTS, NPM, PYPI, PYTHON_FILES

HASHED = "/packages/26/00/35d85dcce6c57fdc871f3867d465d780f302a175ea360f62533f12b27e2b/"


def look(host: str, target: str, method: str = "GET", **headers: str) -> Wanted | None:
    return classify(host, method, target, CIMultiDict(headers))


@pytest.mark.parametrize(
    ("host", "target", "kind", "path"),
    [
        (NPM, "/react", METADATA, "/react"),
        (NPM, "/JSONStream", METADATA, "/JSONStream"),
        (NPM, "/@types%2fnode", METADATA, "/@types/node"),
        (NPM, "/@types%2Fnode", METADATA, "/@types/node"),
        (NPM, "/@types/node", METADATA, "/@types/node"),
        (NPM, "/react/-/react-18.2.0.tgz", ARTIFACT, "/react/-/react-18.2.0.tgz"),
        (NPM, "/@types%2fnode/-/node-20.0.0.tgz", ARTIFACT, "/@types/node/-/node-20.0.0.tgz"),
        (NPM, "/a/-/a-1.0.0-rc.1+x.tgz", ARTIFACT, "/a/-/a-1.0.0-rc.1+x.tgz"),
        (PYPI, "/simple/flask/", METADATA, "/simple/flask/"),
        (PYPI, "/pypi/flask/json", METADATA, "/pypi/flask/json"),
        (PYPI, "/pypi/flask/3.0.0/json", METADATA, "/pypi/flask/3.0.0/json"),
        (PYTHON_FILES, f"{HASHED}flask-3.1.3.tar.gz", ARTIFACT, f"{HASHED}flask-3.1.3.tar.gz"),
        (CRATES_INDEX, "/config.json", METADATA, "/config.json"),
        (CRATES_INDEX, "/1/a", METADATA, "/1/a"),
        (CRATES_INDEX, "/3/s/syn", METADATA, "/3/s/syn"),
        (CRATES_INDEX, "/se/rd/serde_json", METADATA, "/se/rd/serde_json"),
        (CRATES, "/crates/serde/serde-1.0.200.crate", ARTIFACT, "/crates/serde/serde-1.0.200.crate"),
        (CRATES, "/crates/serde/1.0.200/download", ARTIFACT, "/crates/serde/1.0.200/download"),
    ],
)
def test_what_registries_serve_to_everybody_when_asked_for_then_is_kept(
    host: str, target: str, kind: str, path: str
) -> None:
    wanted = look(host, target)
    assert wanted is not None
    assert (wanted.host, wanted.kind, wanted.path) == (host, kind, path)


@pytest.mark.parametrize(
    ("host", "target"),
    [
        (NPM, "/-/whoami"),
        (NPM, "/-/npm/v1/security/advisories/bulk"),
        (NPM, "/-/v1/search?text=x"),
        (NPM, "/react?write=true"),
        (NPM, "/react/latest"),
        (NPM, "/@types%2f%2fnode"),
        (NPM, "/react/-/../x.tgz"),
        (NPM, "/react/-/x/y.tgz"),
        (NPM, "/react\n"),
        (NPM, ""),
        (PYPI, "/simple/"),
        (PYPI, "/simple/flask"),
        (PYPI, "/legacy/"),
        (PYTHON_FILES, "/packages/source/F/Flask/Flask-0.1.tar.gz"),
        (PYTHON_FILES, f"{HASHED}flask?x"),
        (PYTHON_FILES, f"{HASHED.upper()}flask-3.1.3.tar.gz"),
        (CRATES_INDEX, "/se/rd/../serde"),
        (CRATES, "/crates/serde/other-1.0.200.crate"),
        (CRATES, "/api/v1/crates/serde"),
    ],
)
def test_what_has_another_shape_when_asked_for_then_is_carried_through(host: str, target: str) -> None:
    assert look(host, target) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"])
def test_another_method_when_used_then_is_carried_through(method: str) -> None:
    assert look(NPM, "/react", method) is None


@pytest.mark.parametrize("name", ["Authorization", "cookie", "RANGE", "Content-Length", "Transfer-Encoding", "Upgrade"])
def test_a_header_when_it_makes_the_answer_personal_then_is_carried_through(name: str) -> None:
    assert classify(NPM, "GET", "/react", CIMultiDict({name: "x"})) is None


def test_digests_when_the_url_tells_them_then_are_expected() -> None:
    wanted = look(PYTHON_FILES, f"{HASHED}flask-3.1.3.tar.gz")
    assert wanted is not None
    assert wanted.blake2b_256 == HASHED.removeprefix("/packages/").replace("/", "")
    beside = look(PYTHON_FILES, f"{HASHED}flask-3.1.3-py3-none-any.whl.metadata")
    assert beside is not None
    assert beside.blake2b_256 == ""


def test_metadata_that_describes_an_artifact_when_named_then_is_its_own() -> None:
    found = [look(NPM, "/@types%2fnode/-/node-1.0.0.tgz"), look(CRATES, "/crates/Serde/Serde-1.0.0.crate")]
    assert [one and one.described_by for one in found] == [(NPM, "/@types/node"), (CRATES_INDEX, "/se/rd/serde")]
    assert [index_path(name) for name in ("a", "AB", "syn", "serde")] == ["/1/a", "/2/ab", "/3/s/syn", "/se/rd/serde"]
    assert crate_version("/crates/a-b/a-b-1.0.0-rc.1+x.crate") == "1.0.0-rc.1+x"


@given(
    st.sampled_from(HOSTS),
    st.text(st.sampled_from("/%2fF.@-aA0\\?#& \x00\n~+_"), max_size=60) | st.text(max_size=60),
    st.dictionaries(st.sampled_from(["Accept", "Accept-Encoding", "X-Evil", "Host"]), st.text(max_size=30)),
)
def test_any_target_and_headers_when_classified_then_only_their_shape_decides(
    host: str, target: str, headers: dict[str, str]
) -> None:
    wanted = classify(host, "GET", target, CIMultiDict(headers))
    if wanted is None:
        return
    assert wanted.host == host
    assert wanted.path.startswith("/")
    assert wanted.path.isascii()
    assert not set(wanted.path) & set("?#\\% \n\0")
    assert ".." not in wanted.path
    assert wanted.accept in {
        "*/*",
        "application/json",
        "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8",
        "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
        "text/html",
    }
