"""The gateway's small pages: whole in themselves, everything escaped, and a policy that fits them."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from cloudrouter.server.gateway import pages

HOSTILE = "</pre></code></style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\ud800"


class Parsed(HTMLParser):
    """What a browser would see: tags with attributes, texts by tag."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self._in: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.raw:
            self._in.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._in and tag == self._in[-1]:
            self._in.pop()

    def handle_data(self, data: str) -> None:
        if self._in:
            self.raw[self._in[-1]].append(data)
        else:
            self.text += data


def rendered(kind: str, **more: str) -> Parsed:
    return Parsed(pages.render(kind, **{"machine": "cr_7k2m9xqd", "target": "3000", **more}))


@pytest.mark.parametrize("kind", pages.KINDS)
def test_page_is_covered_by_its_policy_and_loads_nothing(kind: str) -> None:
    page = rendered(kind, title="shop", detail="because", command="cloudrouter ls")
    for name in ("script", "style"):
        assert len(page.raw[name]) == 1
        digest = base64.b64encode(hashlib.sha256(page.raw[name][0].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in pages.POLICY
    for tag, attributes in page.tags:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "").partition(",")[0] in ("", "data:image/svg+xml"), tag
    assert "default-src 'none'" in pages.POLICY
    assert "frame-ancestors 'none'" in pages.POLICY
    assert "unsafe" not in pages.POLICY


@pytest.mark.parametrize("kind", pages.KINDS)
@pytest.mark.parametrize("field", ["machine", "target", "title", "detail", "command"])
def test_page_shows_hostile_words_as_they_are(kind: str, field: str) -> None:
    plain = rendered(kind, title="shop", detail="because", command="cloudrouter ls")
    hostile = rendered(kind, **{"title": "shop", "detail": "because", "command": "cloudrouter ls", field: HOSTILE})
    allowed = {"pre", "p", "div", "span", "code", "button", "svg", "rect", "path", "a"}
    more = {tag for tag, _ in hostile.tags} - {tag for tag, _ in plain.tags}
    assert more <= allowed
    assert [tag for tag, _ in hostile.tags].count("script") == 1
    assert not any(tag == "img" for tag, _ in hostile.tags)
    assert hostile.raw == plain.raw


@pytest.mark.parametrize("kind", pages.KINDS)
def test_page_waits_by_itself_exactly_where_waiting_helps(kind: str) -> None:
    text = pages.render(kind, machine="cr_7k2m9xqd", target="vscode").decode()
    waits = kind in ("starting", "nothing_listens", "not_running", "app_failed")
    assert ("data-waits" in text.split("<style>")[0]) is waits
    assert ('<noscript><meta http-equiv="refresh"' in text) is waits
    assert f'data-kind="{kind}"' in text


def test_page_says_what_starts_and_how_long_it_may_take() -> None:
    page = rendered("starting", target="vscode", title="shop")
    assert "VS Code is starting" in page.text
    assert re.search(r"about \w+ seconds", page.text)
    assert "shop" in page.text


def test_page_for_nothing_tells_the_port_and_how_to_start_a_server() -> None:
    page = rendered("nothing_listens", command="cloudrouter ports cr_7k2m9xqd")
    assert "Nothing listens on port 3000 yet" in page.text
    assert 'cloudrouter ssh --bg cr_7k2m9xqd "python3 -m http.server 3000"' in page.text
    assert "cloudrouter ports cr_7k2m9xqd" in page.text


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("signed_out", "cloudrouter open cr_7k2m9xqd 3000"),
        ("refused", "cloudrouter open cr_7k2m9xqd 3000"),
        ("gone", "cloudrouter ls"),
        ("not_running", "cloudrouter resume cr_7k2m9xqd"),
        ("app_failed", "cloudrouter apps cr_7k2m9xqd logs 3000"),
    ],
)
def test_page_has_the_command_that_helps_unless_told_another(kind: str, command: str) -> None:
    assert command in rendered(kind).text
    other = rendered(kind, command="cloudrouter doctor").text
    assert "cloudrouter doctor" in other
    assert command not in other


def test_page_of_a_failed_app_shows_its_reason_line_by_line() -> None:
    page = pages.render("app_failed", machine="cr_7k2m9xqd", target="vscode", detail="first\n  second").decode()
    assert "first\n  second</pre>" in page


def test_page_without_a_machine_still_reads() -> None:
    page = Parsed(pages.render("signed_out", machine="", target="", detail="This is not an address.", command="x ls"))
    assert "This is not an address." in page.text
    assert "None" not in page.text
