"""image build, ls, prune, and the flags of start and run that say what a machine boots from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudrouter.cli import asking
from cloudrouter.client import contexts, launch
from cloudrouter.wire import routes
from cloudrouter.wire.errors import InvalidSpec

from .conftest import MACHINE, Cli, FakeTransport

IMAGE = {"name": "build:web@0123456789ab", "reference": "cloudrouter/any:1"}
OLD = {
    "name": "core", "kind": "image", "base": "", "reference": "cloudrouter/core:1", "size_bytes": 3 * 1024**3,
    "created_at": None, "current": False, "in_use": False,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "place" / "web"
    made.mkdir(parents=True)
    for name in ("Dockerfile", "Dockerfile.dev"):
        (made / name).write_text("FROM x\n")
    monkeypatch.chdir(made.parent)
    return made


class Sender:
    """Stands where a transport sends a folder; keeps the line that says what is built."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = [{"progress": {"step": "web 1/1: FROM x", "of": 1}}, {"image": IMAGE}]

    def __call__(self, path: str, pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
        assert path == routes.IMAGE_BUILD_FOLDER
        self.asked.append(json.loads(b"".join(pieces).partition(b"\n")[0]))
        yield from self.answers


@pytest.fixture
def sender(transport: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> Sender:
    made = Sender()
    monkeypatch.setattr(transport, "send", made, raising=False)
    return made


# -- image build ----------------------------------------------------------------------------------------------------


@pytest.mark.flag("image build --tag")
@pytest.mark.flag("image build --file")
@pytest.mark.flag("image build --build-arg")
@pytest.mark.flag("image build --target")
@pytest.mark.flag("image build --rebuild")
@pytest.mark.flag("image build --provider")
@pytest.mark.flag("image build --json")
def test_image_build_of_a_folder_says_what_is_built(
    cli: Cli, sender: Sender, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder
    monkeypatch.setenv("TOKEN", "mine")
    found = cli(
        "image", "build", "./web", "--tag", "web:1", "-f", "Dockerfile.dev", "--build-arg", "A=1", "--build-arg",
        "TOKEN", "--target", "dev", "--rebuild", "-p", "docker", "--json",
    )  # fmt: skip
    assert found.json == IMAGE
    (asked,) = sender.asked
    assert (asked["source"], asked["dockerfile"], asked["tag"], asked["target"]) == (
        "web", "Dockerfile.dev", "web:1", "dev",
    )  # fmt: skip
    assert (asked["buildargs"], asked["rebuild"], asked["provider"]) == ({"A": "1", "TOKEN": "mine"}, True, "docker")


def test_image_build_of_a_folder_without_flags_takes_the_defaults(cli: Cli, sender: Sender, folder: Path) -> None:
    found = cli("image", "build", str(folder))
    assert found.out.startswith("build:web@0123456789ab  cloudrouter/any:1  ready in ")
    assert "web 1/1: FROM x" in found.err
    (asked,) = sender.asked
    assert (asked["dockerfile"], asked["tag"], asked["target"], asked["rebuild"]) == ("Dockerfile", "", "", False)


def test_image_build_of_a_name_is_no_folder_even_where_one_has_that_name(
    cli: Cli, transport: FakeTransport, folder: Path
) -> None:
    assert folder
    transport.answers["POST", routes.IMAGE_BUILD] = [{"image": {"name": "web", "reference": "r"}}]
    cli("image", "build", "web")
    assert transport.asked[-1][2] == {"name": "web", "rebuild": False}


def test_image_build_that_fails_shows_the_steps_last_lines(cli: Cli, sender: Sender, folder: Path) -> None:
    assert folder
    error = InvalidSpec(
        "Building web failed at step 2.\ncc\n\x1b[31merror", fix="Mend it.", output=["cc", "\x1b[31merror"]
    )
    sender.answers = [{"error": error.to_json()}]
    found = cli("image", "build", "./web")
    assert found.code == 2
    assert found.err.splitlines() == [
        "cloudrouter: Building web failed at step 2.", "  | cc", "  | \\x1b[31merror", "Fix:  Mend it.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["core", "--tag", "x"], "--tag names what a folder"),
        (["core", "--target", "x"], "--target says how a folder is built"),
        (["./nowhere"], "There is no folder ./nowhere"),
        (["./web", "-f", "no"], "There is no no in ./web"),
        (["./web", "--build-arg", "=1"], "--build-arg needs a name"),
        (["./web", "--build-arg", "NOT_SET_HERE"], "--build-arg NOT_SET_HERE asks for your own value"),
    ],
)
def test_image_build_that_cannot_be_right_is_refused_before_the_router_is_asked(
    cli: Cli, transport: FakeTransport, folder: Path, words: list[str], said: str
) -> None:
    assert folder
    found = cli("image", "build", *words)
    assert found.code in (2, 4)
    assert said in found.err
    assert transport.asked == []


# -- start and run --------------------------------------------------------------------------------------------------


class Launched:
    """Stands where client.launch.launch is."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.builds: list[contexts.Context | None] = []

    def __call__(self, _transport: Any, _folder: str | None, request: dict[str, Any], **more: Any) -> dict[str, Any]:
        self.requests.append(request)
        self.builds.append(more["build"])
        return {**MACHINE, "upload": None, "commands": [], "jobs": []}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, transport: FakeTransport) -> Launched:
    assert transport
    fake = Launched()
    monkeypatch.setattr(launch, "launch", fake)
    monkeypatch.setattr("cloudrouter.cli.launching.end_on_signals", lambda: None)
    monkeypatch.setattr("cloudrouter.cli.verbs.run._execute", lambda *_: 0)
    monkeypatch.setattr("cloudrouter.cli.verbs.run._remove", lambda *_: None)
    return fake


@pytest.mark.flag("start --image")
@pytest.mark.flag("run --image")
@pytest.mark.parametrize("words", [["start"], ["run", "--", "true"]])
def test_image_when_it_is_named_then_it_is_asked_for(cli: Cli, launched: Launched, words: list[str]) -> None:
    assert cli(words[0], "--image", "debian:trixie", *words[1:]).code == 0
    assert launched.requests[0]["image"] == "debian:trixie"
    assert launched.builds == [None]


@pytest.mark.flag("start --build")
@pytest.mark.flag("start --file")
@pytest.mark.flag("start --build-arg")
@pytest.mark.flag("start --target")
@pytest.mark.flag("run --build")
@pytest.mark.flag("run --file")
@pytest.mark.flag("run --build-arg")
@pytest.mark.flag("run --target")
@pytest.mark.parametrize("words", [["start"], ["run", "--", "true"]])
def test_build_when_flags_are_given_then_they_describe_it(
    cli: Cli, launched: Launched, folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder
    monkeypatch.setenv("CLOUDROUTER_IMAGE", "core")
    flags = ["--build", "./web", "--file", "Dockerfile.dev", "--build-arg", "A=1", "--target", "dev"]
    assert cli(words[0], *flags, *words[1:]).code == 0
    (build,) = launched.builds
    assert build is not None
    assert (build.dockerfile, build.wanted.args, build.wanted.target) == ("Dockerfile.dev", {"A": "1"}, "dev")
    assert "image" not in launched.requests[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--build", "./web", "--image", "core"], "--image and --build both say"),
        (["--target", "x"], "--target says how a folder is built"),
        (["--build", "./nowhere"], "There is no folder"),
    ],
)
def test_build_that_cannot_be_right_starts_nothing(
    cli: Cli, launched: Launched, folder: Path, words: list[str], said: str
) -> None:
    assert folder
    found = cli("start", *words)
    assert found.code in (2, 4)
    assert said in found.err
    assert launched.requests == []


# -- image prune ----------------------------------------------------------------------------------------------------


def answer(transport: FakeTransport, *images: dict[str, Any], kept: tuple[dict[str, Any], ...] = ()) -> None:
    transport.answers["POST", routes.IMAGE_PRUNE] = {
        "images": list(images), "kept": list(kept), "freed_bytes": 1024**3,
    }  # fmt: skip


def wanted(transport: FakeTransport) -> list[tuple[bool, bool]]:
    return [(body["all"], body["dry_run"]) for _, path, body in transport.asked if path == routes.IMAGE_PRUNE]


@pytest.mark.flag("image prune --yes")
def test_prune_with_yes_removes_and_tells_the_bytes(cli: Cli, transport: FakeTransport) -> None:
    answer(transport, OLD)
    found = cli("image", "prune", "-y")
    assert (found.code, found.out) == (0, "cloudrouter/core:1  removed\n")
    assert "1 GiB freed." in found.err
    assert wanted(transport) == [(False, True), (False, False)]


def test_prune_without_a_terminal_asks_nobody_and_removes_nothing(cli: Cli, transport: FakeTransport) -> None:
    answer(transport, OLD)
    found = cli("image", "prune")
    assert found.code == 2
    assert "--yes" in found.err
    assert "cloudrouter/core:1" in found.err
    assert wanted(transport) == [(False, True)]


def test_prune_that_is_declined_removes_nothing(
    cli: Cli, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(transport, OLD)
    asked: list[str] = []

    def no(question: str, **_more: Any) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr(asking, "confirm", no)
    assert cli("image", "prune").code == 1
    assert asked == ["Remove this image?"]
    found = cli("image", "prune", "--json")
    assert (found.code, found.json) == (1, {"images": [], "kept": [], "freed_bytes": 0, "dry_run": False})
    assert wanted(transport) == [(False, True), (False, True)]


@pytest.mark.flag("image prune --all")
@pytest.mark.flag("image prune --dry-run")
@pytest.mark.flag("image prune --provider")
@pytest.mark.flag("image prune --json")
def test_prune_flags_are_in_the_request_and_in_the_answer(cli: Cli, transport: FakeTransport) -> None:
    answer(transport, OLD)
    found = cli("image", "prune", "--all", "--dry-run", "-p", "other", "--json")
    assert found.json["images"] == [OLD]
    assert found.json["dry_run"] is True
    (body,) = [body for _, path, body in transport.asked if path == routes.IMAGE_PRUNE]
    assert body == {"all": True, "dry_run": True, "provider": "other"}


def test_prune_that_could_not_remove_one_says_so(cli: Cli, transport: FakeTransport) -> None:
    answer(transport, OLD, kept=({**OLD, "reference": "r2", "reason": "in use"},))
    found = cli("image", "prune", "-y")
    assert found.code == 1
    assert "r2 stays: in use" in found.err


def test_prune_when_there_is_nothing_says_so(cli: Cli, transport: FakeTransport) -> None:
    answer(transport)
    found = cli("image", "prune")
    assert (found.code, found.out) == (0, "")
    assert "Nothing to remove" in found.err
