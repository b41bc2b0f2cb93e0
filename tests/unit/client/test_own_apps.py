"""Apps of a start: what they make of an image's name, what is sent first, what is refused before anything is made."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.client import launch as launching
from cloudrouter.client import ownapps
from cloudrouter.client.ownapps import Chosen
from cloudrouter.wire.errors import Internal, NotFound, UsageError

DIGEST = "0123456789ab"


class FakeTransport:
    """Takes what is sent; `call` is the end of a start, for what a request holds by then."""

    def __init__(self, answer: Any = None) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.answer = {"app": f"tool@{DIGEST}"} if answer is None else answer

    def send(self, path: str, pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
        self.sent.append((path, b"".join(pieces)))
        yield self.answer


@pytest.fixture
def feature(tmp_path: Path) -> Path:
    folder = tmp_path / "my-app"
    (folder / "lib").mkdir(parents=True)
    (folder / "devcontainer-feature.json").write_text('{"id": "tool"}')
    (folder / "install.sh").write_text("#!/bin/sh\n")
    (folder / "lib" / "x").write_text("x")
    (folder / ".env").write_text("TOKEN=abcdefghijklmnopqrstuvwxyz0123456789")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return folder


@pytest.mark.parametrize(
    ("image", "apps", "without", "named"),
    [
        (None, ["vscode"], [], "core+vscode"),
        (None, ["browser"], [], "desktop"),
        (None, ["desktop", "vscode", "browser", "jupyter"], [], "full"),
        (None, [], ["jupyter"], "core+desktop+browser+vscode"),
        ("desktop", ["vscode"], [], "core+desktop+browser+vscode"),
        ("debian:trixie", ["jupyter"], [], "debian:trixie+jupyter"),
        ("full", [], ["vscode", "jupyter"], "desktop"),
        ("core", [], [], "core"),
        (None, [], [], None),
    ],
)
def test_apps_when_chosen_then_the_image_is_named_by_them(
    image: str | None, apps: list[str], without: list[str], named: str | None
) -> None:
    transport: Any = FakeTransport()
    assert Chosen(apps, without).image(transport, image) == named
    assert transport.sent == []


def test_own_app_when_named_then_its_folder_is_sent_without_secrets_and_git(feature: Path) -> None:
    transport: Any = FakeTransport()
    phases: list[dict[str, Any]] = []
    assert Chosen(own=[feature]).image(transport, None, phases.append) == f"core+tool@{DIGEST}"
    ((path, data),) = transport.sent
    assert path == "/v1/images/app"
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert sorted(tar.getnames()) == ["devcontainer-feature.json", "install.sh", "lib", "lib/x"]
    assert phases == [{"phase": "sending_app", "folder": str(feature)}]


def test_own_app_when_it_is_a_sidecar_then_goes_into_the_request_and_leaves_the_image_alone() -> None:
    transport: Any = FakeTransport()
    chosen = Chosen(own=["db=postgres:16,port=5432"])
    assert chosen.image(transport, None) is None
    assert [(one["name"], one["image"], one["port"]) for one in chosen.sidecars] == [("db", "postgres:16", 5432)]


@pytest.mark.parametrize("answer", [{}, {"app": "tool"}, {"app": "tool@x"}, {"app": "../x@0123456789ab"}, {"app": 5}])
def test_own_app_when_the_router_answers_nonsense_then_is_a_clear_error(feature: Path, answer: Any) -> None:
    transport: Any = FakeTransport(answer)
    with pytest.raises(Internal, match="what it calls this app"):
        Chosen(own=[feature]).image(transport, None)


def test_own_app_when_its_folder_is_none_then_is_refused(
    feature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match="There is no folder"):
        Chosen(own=[tmp_path / "none"])
    with pytest.raises(UsageError, match="is not a folder"):
        Chosen(own=[feature / "install.sh"])
    monkeypatch.setattr(ownapps, "FOLDER_LIMIT", 5)
    with pytest.raises(UsageError, match="can be sent"):
        Chosen(own=[feature])
    os.unlink(feature / "install.sh")
    with pytest.raises(UsageError, match=r"there is no install\.sh in it"):
        Chosen(own=[feature])


@pytest.mark.parametrize(
    ("apps", "without"), [(["emacs"], []), (["vscode"], ["vscode"]), ([], ["desktop"]), (["a b"], [])]
)
def test_apps_when_they_make_no_sense_then_nothing_is_asked_of_anybody(apps: list[str], without: list[str]) -> None:
    with pytest.raises(UsageError):
        launching.launch(None, None, {}, apps=Chosen(apps, without))  # type: ignore[arg-type]


def test_apps_when_one_text_is_given_for_a_list_then_is_refused() -> None:
    with pytest.raises(UsageError, match="apps must be a list"):
        Chosen("vscode")


def test_start_when_apps_are_chosen_then_the_request_names_the_image(
    feature: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[dict[str, Any]] = []

    class Start:
        def __init__(self, _transport: Any, body: dict[str, Any], *_rest: Any) -> None:
            bodies.append(body)

        def run(self, *_given: Any) -> dict[str, Any]:
            return {"id": "cr_7k2m9xqd"}

    monkeypatch.setattr(launching, "_Start", Start)
    transport: Any = FakeTransport()
    chosen = Chosen(["vscode"], own=[feature, "db=redis:7"])
    launching.launch(transport, None, {"image": "debian:12"}, apps=chosen)
    launching.launch(transport, None, {}, apps=Chosen())
    assert bodies[0]["image"] == f"debian:12+vscode+tool@{DIGEST}"
    assert bodies[0]["sidecars"][0]["name"] == "db"
    assert not {"image", "sidecars"} & set(bodies[1])
