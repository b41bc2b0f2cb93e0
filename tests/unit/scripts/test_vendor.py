"""Fetching noVNC: pinned by digest, unpacked safely, once."""

from __future__ import annotations

import base64
import hashlib
import http.server
import importlib.util
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/vendor.py"
GOOD = {
    "package/core/rfb.js": b"export default 1",
    "package/core/input/keysym.js": b"keys",
    "package/vendor/pako/lib/zlib/inflate.js": b"inflate",
    "package/vendor/pako/LICENSE": b"MIT",
    "package/LICENSE.txt": b"MPL 2.0",
    "package/AUTHORS": b"they",
    "package/docs/LICENSE.MPL-2.0": b"MPL",
}


@pytest.fixture
def vendor() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vendor_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packed(files: dict[str, bytes], *members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for member in members:
            tar.addfile(member)
    return out.getvalue()


def pin(vendor: ModuleType, monkeypatch: pytest.MonkeyPatch, tarball: bytes) -> None:
    monkeypatch.setattr(vendor, "SHA512", base64.b64encode(hashlib.sha512(tarball).digest()).decode())


def test_unpacked_keeps_modules_and_licences_alone(vendor: ModuleType) -> None:
    more = {"package/core/readme.md": b"x", "package/package.json": b"{}", "package/app/ui.js": b"x"}
    files = vendor.unpacked(packed({**GOOD, **more}))
    assert set(files) == {name.removeprefix("package/") for name in GOOD}


@pytest.mark.parametrize(
    "name",
    [
        "package/core/../../../evil.js",
        "package/core//evil.js",
        "/core/evil.js",
        "core/evil.js",
        "package/../core/evil.js",
        "package/core/a\\..\\evil.js",
        "package/core/./evil.js",
    ],
)
def test_unpacked_takes_no_path_that_leads_elsewhere(vendor: ModuleType, name: str) -> None:
    assert not any("evil" in path for path in vendor.unpacked(packed({**GOOD, name: b"evil"})))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_unpacked_takes_only_plain_files(vendor: ModuleType, kind: bytes) -> None:
    member = tarfile.TarInfo("package/core/evil.js")
    member.type = kind
    member.linkname = "/etc/passwd"
    assert "core/evil.js" not in vendor.unpacked(packed(GOOD, member))


def test_unpacked_refuses_a_bomb_and_a_package_without_its_heart(
    vendor: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(vendor.Failed, match=r"core/rfb\.js"):
        vendor.unpacked(packed({"package/LICENSE.txt": b"x"}))
    monkeypatch.setattr(vendor, "UNPACKED_BYTES", 10)
    with pytest.raises(vendor.Failed, match="more than 10 bytes"):
        vendor.unpacked(packed(GOOD))


def test_checked_refuses_another_file(vendor: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    tarball = packed(GOOD)
    pin(vendor, monkeypatch, tarball)
    assert vendor.checked(tarball) == tarball
    with pytest.raises(vendor.Failed, match="SHA-512"):
        vendor.checked(tarball + b"\0")


class Registry(http.server.BaseHTTPRequestHandler):
    """A registry of one file."""

    tarball = b""
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.tarball)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the test's output is its own."""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Registry]]:
    Registry.tarball, Registry.asked = packed(GOOD), []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://127.0.0.1:{server.server_port}/npm/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield Registry
    server.shutdown()
    thread.join()
    server.server_close()


def test_ensure_fetches_once_and_again_when_it_is_not_whole(
    vendor: ModuleType, registry: type[Registry], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pin(vendor, monkeypatch, registry.tarball)
    target = tmp_path / "static" / "novnc"
    assert vendor.ensure(target)
    assert registry.asked == [f"/npm/@novnc/novnc/-/novnc-{vendor.VERSION}.tgz"]
    assert (target / "core/rfb.js").read_bytes() == b"export default 1"
    assert not vendor.ensure(target)
    (target / "VERSION").write_text("1.6.0 other")
    (target / "core/old.js").write_text("of the older version")
    assert vendor.ensure(target)
    assert not (target / "core/old.js").exists()
    assert len(registry.asked) == 2
    assert [path.name for path in target.parent.iterdir()] == ["novnc"]


def test_ensure_leaves_nothing_when_something_else_came(
    vendor: ModuleType, registry: type[Registry], tmp_path: Path
) -> None:
    with pytest.raises(vendor.Failed, match="SHA-512"):
        vendor.ensure(tmp_path / "novnc")
    assert list(tmp_path.iterdir()) == []
    assert registry.asked


@pytest.mark.parametrize("registry", ["http://127.0.0.1:9/", "http://me:hunter2@127.0.0.1/", "file:///etc"])
def test_main_says_what_to_do_and_shows_no_password(
    vendor: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    registry: str,
) -> None:
    monkeypatch.setattr(vendor, "TARGET", tmp_path / "novnc")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", registry)
    assert vendor.main([]) == 1
    said = capsys.readouterr().err
    assert "Fix:" in said
    assert "hunter2" not in said
    assert vendor.main(["--check"]) == 1
    assert list(tmp_path.iterdir()) == []
