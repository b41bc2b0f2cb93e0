"""The pages as a site: built strictly, complete, and asking nobody for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scripts import cast

from cloudrouter.cli.table import VERBS

ROOT = Path(__file__).parents[3]
LOADED_BY = {"link": "href", "script": "src", "img": "src", "source": "srcset", "iframe": "src", "use": "href"}
NOT_LOADED = {"canonical", "alternate", "prev", "next", "edit"}


class Assets(HTMLParser):
    """Everything that a browser fetches for a page by itself, and the page's anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        if facts.get("id"):
            self.anchors.add(str(facts["id"]))
        wanted = LOADED_BY.get(tag)
        if wanted and facts.get(wanted) and facts.get("rel") not in NOT_LOADED:
            self.fetched.append(str(facts[wanted]))


def read(page: Path) -> Assets:
    found = Assets()
    found.feed(page.read_text())
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make site` builds it; a warning is a failure."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_site_when_built_then_every_page_of_the_contents_is_there(site: Path) -> None:
    contents = (ROOT / "mkdocs.yml").read_text()
    wanted = {name.replace(".md", ".html") for name in re.findall(r": (\S+\.md)$", contents, re.M)}
    wanted |= {f"decisions/{path.stem}.html" for path in (ROOT / "docs" / "decisions").glob("*.md")}
    wanted |= {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")}
    home = (site / "index.html").read_text()
    for name in wanted:
        assert (site / name).is_file(), name
        assert f'href="{name}"' in home, f"{name} is not in the contents"


def test_site_when_built_then_every_verb_has_its_place(site: Path) -> None:
    anchors = read(site / "cli.html").anchors
    for verb in VERBS:
        assert any(anchor.startswith(f"cloudrouter-{verb}") for anchor in anchors), verb


def test_site_when_opened_then_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        fetched = read(page).fetched
        assert fetched
        assert not [one for one in fetched if re.match(r"(https?:)?//", one)], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text()), sheet
    for drawing in site.rglob("*.svg"):
        assert not re.search(r"(?:href|src)=\"https?:", drawing.read_text()), drawing


def test_site_when_read_from_a_folder_then_links_between_pages_lead_somewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for target in re.findall(r'<a[^>]* href="([^"#:]+)(?:#[^"]*)?"', page.read_text()):
            if page.name != "404.html":
                assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_picture_when_drawn_from_the_recording_again_then_is_the_same_and_small() -> None:
    for path, text in cast.pictures().items():
        assert path.read_text() == text, "run `make cast`, or `scripts/cast.py render`"
        assert len(text) < 300 * 1024
        assert not re.search(r"(href|src)=\"(?!#)|url\((?!#)|@import|<script|<image", text)


def test_frames_when_a_recording_pauses_then_are_in_order_and_never_wait_long() -> None:
    lines = ['{"version": 2}', '[0.0, "o", "$ "]', '[0.01, "o", "a"]', '[60.0, "o", "b\\r\\n"]', '[61.0, "o", "é"]']
    frames = cast.frames_of("\n".join(lines))
    assert [frame.at for frame in frames] == [0.0, 2.01, 3.01]
    assert frames[0].rows[0] == ((0, "", "$ a"),)
    assert frames[2].rows[1] == ((0, "", "é"),)
