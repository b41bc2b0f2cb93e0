"""What the desktop page's origin serves: the page, its state, its files, and nothing else."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from cloudrouter.server.gateway.desktop import assets, pages

LOAD = assets.load


@dataclass
class Viewing:
    view_only: bool = False


@dataclass
class Row:
    id: str = "cr_7k2m9xqd"
    name: str = "shop"
    state: str = "running"


@pytest.fixture(autouse=True)
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> assets.Assets:
    """Our own files with a noVNC of one file; whether the real one was fetched does not matter."""
    folder = tmp_path / "static"
    shutil.copytree(assets.STATIC, folder, ignore=shutil.ignore_patterns("novnc", ".*"))
    (folder / "novnc/core").mkdir(parents=True)
    (folder / "novnc/core/rfb.js").write_text("export default class RFB {}")
    (folder / "novnc/LICENSE.txt").write_text("MPL 2.0")
    (folder / "secret.txt").write_text("secret")
    made = assets.read(folder)
    monkeypatch.setattr(assets, "load", lambda: made)
    return made


async def ask(
    path: str, *, method: str = "GET", view_only: bool = False, row: Row | None = None, **headers: str
) -> web.Response:
    sent = {
        "Host": "desktop--cr-7k2m9xqd.localhost:7080",
        **{name.replace("_", "-"): headers[name] for name in headers},
    }
    answer = await pages.serve(make_mocked_request(method, path, headers=sent), Viewing(view_only), row or Row())
    assert isinstance(answer, web.Response)
    return answer


def text_of(answer: web.Response) -> str:
    assert isinstance(answer.body, bytes)
    return answer.body.decode()


async def test_page_loads_only_its_own_files_and_one_script_by_its_digest(found: assets.Assets) -> None:
    answer = await ask("/")
    text = text_of(answer)
    assert answer.status == 200
    assert not re.search(r"<style| style=|\son\w+=|\{\{", text)
    inline = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(inline) == len(re.findall(r"<script(?![^>]*\bsrc=)", text)) == 1
    digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in answer.headers["Content-Security-Policy"]
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert len(loaded) > 10
    for address in loaded:
        assert address.startswith((f"/_cloudrouter/{found.digest}/", "data:image/svg+xml,"))
        if address.startswith("/"):
            assert (await ask(address)).status == 200, address


async def test_page_has_a_strict_policy_and_is_not_kept() -> None:
    answer = await ask("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "connect-src 'self' ws://desktop--cr-7k2m9xqd.localhost:7080;" in policy
    assert "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_policy_takes_nothing_from_a_host_that_is_none() -> None:
    policy = (await ask("/", Host="x; script-src *")).headers["Content-Security-Policy"]
    assert "connect-src 'self';" in policy
    assert "*" not in policy


@pytest.mark.parametrize("view_only", [True, False])
async def test_page_and_state_tell_who_is_shown_and_whether_one_may_type(view_only: bool) -> None:
    row = Row(name='shop"><script>', state="running")
    text = text_of(await ask("/", view_only=view_only, row=row))
    assert f'data-view-only="{"true" if view_only else "false"}"' in text
    assert html.escape(row.name) in text
    assert row.name not in text
    state = json.loads(text_of(await ask("/_cloudrouter/state", view_only=view_only, row=row)))
    assert state == {"machine": row.id, "name": row.name, "state": "running", "view_only": view_only}


async def test_page_names_a_machine_without_a_name_by_its_id(found: assets.Assets) -> None:
    assert "<title>cr_7k2m9xqd" in text_of(await ask("/", row=Row(name="")))


async def test_file_is_kept_for_ever_and_packed_for_who_understands(found: assets.Assets) -> None:
    path = f"/_cloudrouter/{found.digest}/novnc/core/rfb.js"
    plain = await ask(path)
    packed = await ask(path, Accept_Encoding="gzip, br")
    assert plain.body == b"export default class RFB {}"
    assert "immutable" in plain.headers["Cache-Control"]
    assert "private" in plain.headers["Cache-Control"]
    assert plain.headers["Content-Type"].startswith("text/javascript")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert isinstance(packed.body, bytes)
    assert gzip.decompress(packed.body) == plain.body


@pytest.mark.parametrize(
    "place",
    [
        lambda digest: f"/_cloudrouter/{digest}/novnc/core/none.js",
        lambda digest: f"/_cloudrouter/{digest}/../pages.py",
        lambda digest: f"/_cloudrouter/{digest}/%2e%2e/pages.py",
        lambda digest: f"/_cloudrouter/{digest}/secret.txt",
        lambda digest: f"/_cloudrouter/{digest}/desktop.html",
        lambda digest: f"/_cloudrouter/{digest}/",
        lambda digest: f"/_cloudrouter/{digest}/boot.js",
        lambda _: "/_cloudrouter/0000000000000000/desktop.js",
        lambda _: "/desktop.js",
        lambda _: "/etc/passwd",
        lambda _: "/websock/",
    ],
)
async def test_nothing_else_is_there(found: assets.Assets, place: Callable[[str], str]) -> None:
    answer = await ask(place(found.digest))
    assert answer.status == 404
    assert answer.headers["Cache-Control"] == "no-store"


async def test_only_reading_is_answered() -> None:
    answer = await ask("/", method="POST")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_digest_changes_with_any_file(tmp_path: Path) -> None:
    (tmp_path / "desktop.html").write_text("page")
    (tmp_path / "boot.js").write_text("0")
    (tmp_path / "a.js").write_text("1")
    before = assets.read(tmp_path).digest
    (tmp_path / "a.js").write_text("2")
    changed = assets.read(tmp_path).digest
    (tmp_path / "a.js").rename(tmp_path / "b.js")
    assert len({before, changed, assets.read(tmp_path).digest}) == 3


async def test_without_novnc_the_page_says_what_is_missing_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "desktop.html").write_text("page")
    (tmp_path / "boot.js").write_text("0")
    monkeypatch.setattr(assets, "load", lambda: LOAD(tmp_path))
    answer = await ask("/")
    assert answer.status == 503
    assert "noVNC" in text_of(answer)
    assert "scripts/vendor.py" in text_of(answer)
    waiting = await ask("/", Accept="application/json")  # as the page itself asks, to know when it is there
    assert json.loads(text_of(waiting))["error"]["code"] == "app_failed"
    assert waiting.status == 503
    (tmp_path / "novnc/core").mkdir(parents=True)
    (tmp_path / "novnc/core/rfb.js").write_text("")
    assert (await ask("/")).status == 200  # fetched meanwhile: no restart is needed
