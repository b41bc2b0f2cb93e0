"""What MkDocs needs to know of this repository: pages that lie outside docs/, and links that lead there.

MkDocs calls the functions by their names (mkdocs.yml, `hooks`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
OUTSIDE = {"measurements.md": "bench/README.md", "changelog.md": "CHANGELOG.md"}
"""Page of the site -> the file of the repository that it is."""
_LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
_VERB = re.compile(r"^(#{3,4} cloudrouter ([a-z -]+?)(?::.*)?)$", re.M)
_MARK = re.compile(r"^<!-- (?:generated: [a-z-]+|end) -->\n", re.M)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the sections whose pages are found by looking."""
    found = {"SDK": sorted(DOCS.glob("sdk*.md")), "Decisions": sorted(DOCS.glob("decisions/*.md"))}
    for entry in config.nav or []:
        for section, pages in found.items():
            if isinstance(entry, dict) and section in entry:
                entry[section] = [{_title(path): path.relative_to(DOCS).as_posix()} for path in pages]
    return config


def _title(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ").replace("`", "")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/."""
    for page, source in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links between docs/ and the rest of the repository at the pages of the site; drop our marks."""
    source = OUTSIDE.get(page.file.src_uri)
    here = ROOT / source if source else DOCS / page.file.src_uri
    inside = _MARK.sub("", markdown)
    if page.file.src_uri == "cli.md":
        inside = _VERB.sub(_short_in_contents, inside)
    return _LINK.sub(lambda link: _translated(link, here, page), inside)


def _short_in_contents(heading: re.Match[str]) -> str:
    """A verb's heading whose anchor and whose line in the contents are the verb alone."""
    name = heading.group(2)
    return f'{heading.group(1)} {{: #cloudrouter-{name.replace(" ", "-")} data-toc-label="{name}" }}'


def _translated(link: re.Match[str], here: Path, page: Page) -> str:
    target, anchor = link.group(1), link.group(2) or ""
    if "://" in target:
        return link.group(0)
    path = (here.parent / target).resolve()
    name = _page_of(path)
    if name is None:
        return link.group(0)
    up = "../" * page.file.src_uri.count("/")
    return f"]({up}{name}{anchor})"


def _page_of(path: Path) -> str | None:
    """The page of the site that a file of the repository is, relative to docs/."""
    for page, source in OUTSIDE.items():
        if path == ROOT / source:
            return page
    return path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) and path.exists() else None


def on_post_page(output: str, **_more: Any) -> str:
    """Wrap wide tables, so that a phone scrolls the table and not the page."""
    return output.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
