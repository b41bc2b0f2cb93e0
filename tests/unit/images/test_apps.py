"""Apps as folders: ours are whole, strangers' are judged, and what cannot be is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloudrouter.images import apps, payload, recipe
from cloudrouter.wire import appspec, flavours
from cloudrouter.wire.errors import CloudRouterError, InvalidSpec, NotFound, UsageError

FEATURE = {"id": "notes", "version": "1.0.0", "name": "Notes"}
SETTINGS = 'name = "notes"\ntitle = "Notes"\nview = "http"\ncommand = ["${app}/run", "${socket}"]\nsocket = true\n'


def make_app(folder: Path, *, feature: object = FEATURE, settings: str | None = SETTINGS, **files: str) -> str:
    """An app's folder, and its name in images' names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "devcontainer-feature.json").write_text(feature if isinstance(feature, str) else json.dumps(feature))
    (folder / "install.sh").write_text("#!/bin/sh\ntrue\n")
    if settings is not None:
        (folder / "app.toml").write_text(settings)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return f"notes@{apps.digest_of(str(folder))}"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "apps"


def keep(kept: Path, tmp_path: Path, **wanted: object) -> str:
    name = make_app(tmp_path / "made", **wanted)  # type: ignore[arg-type]
    kept.mkdir(exist_ok=True)
    (tmp_path / "made").rename(kept / name)
    return name


@pytest.mark.parametrize("name", flavours.OURS)
def test_each_of_ours_says_of_itself_what_the_guest_understands(name: str) -> None:
    app = apps.find(name, "")
    spec = appspec.read_spec(json.loads(app.files["app.json"].data), name)
    assert spec.name == name
    assert spec.icon in app.files
    assert app.files["install.sh"].mode == 0o755
    program = spec.command[0].removeprefix("${app}/")
    assert app.files[program].mode == 0o755


def test_ours_agree_with_what_composing_names_takes_for_granted() -> None:
    for name in flavours.OURS:
        assert apps.find(name, "").requires == flavours.NEEDS.get(name, ())
    assert appspec.read_spec(json.loads(apps.find("desktop", "").files["app.json"].data), "desktop").exports == {
        "DISPLAY": ":1"
    }


def test_builders_of_ours_do_not_get_into_images_by_their_files() -> None:
    app = apps.find("vscode", "")
    assert app.builder
    assert set(app.builder_files) == {"build/version", "build/download.sh", "build/compile.sh"}
    assert not [path for path in app.files if path.startswith("build")]


def test_strangers_app_is_found_by_name_and_digest(kept: Path, tmp_path: Path) -> None:
    options = {"color": {"type": "string", "default": "it's red"}, "2-fast": {"default": True}, "plain": {}}
    name = keep(kept, tmp_path, feature={**FEATURE, "options": options, "containerEnv": {"PATH": "/x:${PATH}"}})
    app = apps.find(name, str(kept))
    assert app.folder == "notes"
    assert dict(app.feature.options) == {"COLOR": "it's red", "_FAST": "true", "PLAIN": ""}
    text = app.files[".feature.env"].data.decode()
    assert "COLOR='it'\"'\"'s red'\n" in text
    assert "_REMOTE_USER=user\n" in text
    part = recipe.load(f"core+{name}", str(kept)).part("app-notes")
    assert 'ENV PATH="/x:${PATH}"\n' in part.dockerfile


def test_app_without_settings_is_a_tool_and_nothing_that_runs(kept: Path, tmp_path: Path) -> None:
    app = apps.find(keep(kept, tmp_path, settings=None), str(kept))
    assert "app.json" not in app.files


def test_strangers_app_that_changed_where_it_is_kept_is_refused(kept: Path, tmp_path: Path) -> None:
    name = keep(kept, tmp_path)
    (kept / name / "install.sh").write_text("#!/bin/sh\nevil\n")
    with pytest.raises(InvalidSpec, match="changed"):
        apps.find(name, str(kept))


@pytest.mark.parametrize("name", ["notes@0123456789ab", "../../etc@0123456789ab", "nothing", "Vscode", "a/b", ""])
def test_names_that_are_no_apps_are_refused(kept: Path, name: str) -> None:
    with pytest.raises((InvalidSpec, NotFound)):
        apps.find(name, str(kept))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"feature": "["}, "not JSON"),
        ({"feature": [1]}, "object"),
        ({"feature": {**FEATURE, "id": "other"}}, "called notes"),
        ({"feature": {**FEATURE, "privileged": True}}, "privileged"),
        ({"feature": {**FEATURE, "mounts": ["/"]}}, "mounts"),
        ({"feature": {**FEATURE, "capAdd": ["SYS_ADMIN"]}}, "capAdd"),
        ({"feature": {**FEATURE, "dependsOn": {"x": {}}}}, "dependsOn"),
        ({"feature": {**FEATURE, "postCreateCommand": "x"}}, "postCreateCommand"),
        ({"feature": {**FEATURE, "options": {"a": {"default": 3}}}}, "default"),
        ({"feature": {**FEATURE, "options": []}}, "options"),
        ({"feature": {**FEATURE, "containerEnv": {"A\nRUN evil": "x"}}}, "containerEnv"),
        ({"feature": {**FEATURE, "containerEnv": {"A": "x\nRUN evil"}}}, "one line"),
        ({"feature": {**FEATURE, "containerEnv": {"CLOUDROUTER_X": "x"}}}, "may not"),
        ({"settings": "name ="}, "cannot be read"),
        ({"settings": SETTINGS.replace("notes", "desktop")}, "name"),
        ({"settings": SETTINGS + "port = 3\n"}, "exactly one"),
        ({"settings": SETTINGS + "[build]\nroot = true\n"}, "node = true"),
        ({"settings": SETTINGS + "sudo = true\n"}, "nobody knows"),
    ],
)
def test_apps_that_cannot_be_are_refused_with_the_reason(
    kept: Path, tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    with pytest.raises((InvalidSpec, UsageError), match=told):
        apps.find(keep(kept, tmp_path, **changes), str(kept))


def test_folder_with_a_link_or_too_much_in_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_app(tmp_path / "a")
    (tmp_path / "a" / "secret").symlink_to("/etc/shadow")
    with pytest.raises(InvalidSpec, match="neither a file"):
        apps.digest_of(str(tmp_path / "a"))
    make_app(tmp_path / "b")
    (tmp_path / "b" / "folder").symlink_to("/etc", target_is_directory=True)
    with pytest.raises(InvalidSpec, match="neither a file"):
        apps.digest_of(str(tmp_path / "b"))
    make_app(tmp_path / "c")
    monkeypatch.setattr(apps, "BYTES_LIMIT", 10)
    with pytest.raises(InvalidSpec, match="larger"):
        apps.digest_of(str(tmp_path / "c"))


def test_two_apps_of_one_name_and_a_missing_requirement_are_refused(kept: Path, tmp_path: Path) -> None:
    name = keep(kept, tmp_path, settings=SETTINGS + 'requires = ["desktop"]\n')
    with pytest.raises(InvalidSpec, match="cannot do without desktop"):
        recipe.load(f"core+{name}", str(kept))
    assert recipe.load(f"core+desktop+{name}", str(kept)).apps == ("desktop", name)
    own = make_app(tmp_path / "made", feature={**FEATURE, "id": "desktop"}, settings=None)
    own = own.replace("notes", "desktop")
    (tmp_path / "made").rename(kept / own)
    with pytest.raises(InvalidSpec, match="two apps called desktop"):
        recipe.load(f"core+desktop+{own}", str(kept))


@pytest.mark.parametrize(
    ("builder", "told"),
    [
        ("ARG LEFTOVER\nFROM debian:stable\nLABEL cloudrouter.dev/leftover=${LEFTOVER}\n", "debian:stable"),
        ("ARG TOOLS\nFROM ${TOOLS}\nCOPY --from=evil / /\nARG LEFTOVER\nLABEL cloudrouter.dev/leftover=x\n", "evil"),
        ("ARG TOOLS\nFROM ${TOOLS}\n", "LEFTOVER"),
    ],
)
def test_builder_of_a_stranger_stands_on_ours_alone_and_is_cleared_away(
    kept: Path, tmp_path: Path, builder: str, told: str
) -> None:
    name = keep(kept, tmp_path, build__Dockerfile=builder)
    with pytest.raises(InvalidSpec, match=told):
        recipe.load(f"core+{name}", str(kept))


def test_flavours_share_their_parts_and_a_new_guest_makes_the_last_alone_new(monkeypatch: pytest.MonkeyPatch) -> None:
    core, desktop, full = (recipe.load(name) for name in ("core", "desktop", "full"))
    assert desktop.parts[:3] == core.parts[:3]
    assert full.parts[: len(desktop.parts) - 1] == desktop.parts[:-1]
    assert [part.name for part in full.parts] == [
        *("core-tools", "core-node", "core-ground", "app-desktop", "app-browser-build", "app-browser"),
        *("app-vscode-build", "app-vscode", "app-jupyter-build", "app-jupyter", "full"),
    ]
    modules = payload.guest_modules()
    monkeypatch.setattr(payload, "guest_modules", lambda: {**modules, "cloudrouter/new.py": b"1"})
    after = recipe.load("full")
    assert [part.name for part in after.parts if part.digest != full.part(part.name).digest] == ["full"]


def test_change_of_an_apps_settings_does_not_compile_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.load("core+vscode")
    read = apps.read_files

    def changed(folder: str, *, modes: bool) -> dict[str, apps.File]:
        files = read(folder, modes=modes)
        return {**files, "settings.json": apps.File(b"{}")}

    monkeypatch.setattr(apps, "read_files", changed)
    after = recipe.load("core+vscode")
    new = [part.name for part in after.parts if part.digest != before.part(part.name).digest]
    assert new == ["app-vscode", "mix"]


def test_foreign_image_gets_node_and_an_account_and_waits_for_its_guest() -> None:
    found = recipe.load_apps("debian:trixie+vscode+jupyter", "sha256:1234", "")
    assert not found.boots
    assert found.part("app-ground").given == {"IMAGE": "sha256:1234"}
    assert found.part("app-vscode").needs["NODE"] == "core-node"
    assert "COPY --from=node /bin/node /opt/cloudrouter/apps/vscode/node" in found.part("app-vscode").dockerfile
    assert "COPY --from=node" not in recipe.load("core+vscode").part("app-vscode").dockerfile
    other = recipe.load_apps("debian:trixie+vscode+jupyter", "sha256:5678", "")
    assert found.part("app-jupyter-build").digest != other.part("app-jupyter-build").digest
    assert found.part("app-vscode-build").digest == other.part("app-vscode-build").digest
    assert found.part("app-vscode-build").digest == recipe.load("full").part("app-vscode-build").digest


def test_every_part_declares_the_arguments_that_it_gets() -> None:
    for one in (recipe.load("full"), recipe.load_apps("x+desktop+vscode+jupyter", "sha256:1", "")):
        seen = {""}
        for part in one.parts:
            assert set(part.needs.values()) <= seen
            head = part.dockerfile.partition("FROM")[0]
            declared = {line.split()[1] for line in head.splitlines() if line.startswith("ARG ")}
            assert declared == {*part.needs, *part.given}
            seen.add(part.name)


def test_own_apps_lie_beside_the_code_or_at_the_root_of_the_checkout() -> None:
    assert Path(apps.own_folder(), "desktop", "install.sh").is_file()


def test_variable_names_of_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(CloudRouterError):
        apps.features.read(json.dumps({"id": "x", "options": {"": {}}}).encode())
