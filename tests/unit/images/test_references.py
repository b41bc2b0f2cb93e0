"""What can be the name of an image, and what it means to the engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.images import references
from cloudrouter.wire.errors import InvalidSpec

ID = "0123456789ab"


@pytest.mark.parametrize(
    "name",
    [
        "core", "debian", "debian:trixie", "python:3.12-slim", "ghcr.io/Owner/x".lower(), "localhost:5000/a/b:C_d.e",
        "cloudrouter/core:f05bf1cad065", f"a@sha256:{'0' * 64}", f"sha256:{'a' * 64}", f"build:web@{ID}", "Host.Na/a:1",
    ],
)  # fmt: skip
def test_name_of_an_image_is_taken(name: str) -> None:
    references.check(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "Debian",
        "a//b",
        "../x",
        "a:",
        "-a",
        "a:b:c",
        "a@sha256:12",
        "build:web@xyz",
        "a" * 256,
        "a\nb",
        "ä",
        "a/",
    ],
)
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        references.check(name)
    assert caught.value.details["field"] == "image"
    assert len(caught.value.to_text().splitlines()) == 3


def test_build_name_leads_back_to_the_tag() -> None:
    name = references.build_name("My Web_App!", f"sha256:{ID}{'0' * 52}")
    assert name == f"build:my-web_app@{ID}"
    assert references.engine_reference(name) == f"cloudrouter/build:{ID}"
    assert references.engine_reference("debian:x") == "debian:x"


@given(st.text(max_size=300))
def test_build_name_of_any_folder_can_be_asked_for_again(folder: str) -> None:
    name = references.build_name(folder, f"sha256:{ID}")
    references.check(name)
    assert references.engine_reference(name) == f"cloudrouter/build:{ID}"


@pytest.mark.parametrize(
    "name",
    [
        "cloudrouter/core:x", "docker.io/cloudrouter/core:x", "index.docker.io/cloudrouter/core:x",
        "registry-1.docker.io/cloudrouter/core:x", "registry.hub.docker.com/cloudrouter/core",
        "Docker.IO:443/cloudrouter/a",
        "localhost/cloudrouter/core:x", f"build:a@{ID}", f"sha256:{ID}",
    ],
)  # fmt: skip
def test_own_names_are_never_asked_of_a_registry(name: str) -> None:
    assert not references.may_be_pulled(name)
    for other in ("debian", "docker.io/debian", "localhost:5000/cloudrouter/core:x", "docker.io.evil/cloudrouter/x"):
        assert references.may_be_pulled(other)
