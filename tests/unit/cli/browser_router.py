"""A router with a browser behind it, for the tests of `browser`: it answers every step and keeps what it was asked."""

from __future__ import annotations

from typing import Any

import pytest

from cloudrouter.client import transfer
from cloudrouter.wire.browsing import STEPS

from .conftest import MACHINE, FakeTransport

STEP = ("POST", "/v1/machines/x/browser")
BATCH = ("POST", "/v1/machines/x/browser/batch")
PNG = b"\x89PNG\r\n\x1a\n and so on"
VALUES = {
    "ACTION": "click", "BUTTON": "right", "DIRECTION": "down", "DX": "5", "DY": "-40", "HEIGHT": "600",
    "JSON": '{"a": "b"}', "LATITUDE": "-33.4", "LOCATOR": "text", "LONGITUDE": "-70.6", "MORE": "more",
    "MOTION": "reduced-motion", "PIXELS": "300", "SCALE": "2", "SCHEME": "dark", "SELECTOR": "@e1",
    "SELECTOR_OR_MS": "#here", "SWITCH": "off", "TAB": "t2", "URL": "http://localhost:3000/", "WIDTH": "800",
    "X": "10", "Y": "20",
}  # fmt: skip
"""A word of the table -> what is given for it; its own name in small letters where none stands here."""


def words_for(verb: str) -> list[str]:
    """Words that a verb must have."""
    needed = [word.strip(".") for word in STEPS[verb].words if not word.startswith("[")] if verb in STEPS else []
    return [VALUES.get(word, word.lower()) for word in needed] + (["#here"] if verb == "wait" else [])


def answer(verb: str = "click", data: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """What the router says of a step."""
    return {
        "verb": verb, "session": "main", "data": data or {}, "warning": None, "dialog": None, "file": None, "url": None,
        "duration_ms": 5, "recovered": False, **more,
    }  # fmt: skip


class FakeBrowser:
    """Stands behind the router: files that it makes can be fetched, files that it needs arrive."""

    def __init__(self, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transport = transport
        self.content = PNG
        self.fetched: list[str] = []
        self.sent: dict[str, bytes] = {}
        transport.answers["GET", "/v1/machines/x"] = MACHINE
        self.says(answer(file={"path": "/run/out/1/made", "size": 9, "name": "made"}))
        monkeypatch.setattr(transfer, "download", self._download)
        monkeypatch.setattr(transfer, "upload", self._upload)

    def says(self, said: Any) -> None:
        """What every step is answered from now on."""
        self.transport.answers[STEP] = said

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps that were asked for."""
        return [body for method, path, body in self.transport.asked if (method, path) == STEP]

    @property
    def step(self) -> dict[str, Any]:
        """The only step that was asked for."""
        (one,) = self.steps
        return one

    def _download(self, _transport: Any, _machine: str, remote: str, local: str, *, kind: str) -> dict[str, Any]:
        assert kind == "file"
        self.fetched.append(remote)
        with open(local, "wb") as file:
            file.write(self.content)
        return {"bytes": len(self.content)}

    def _upload(self, _transport: Any, _machine: str, local: str, remote: str) -> dict[str, Any]:
        with open(local, "rb") as file:
            self.sent[remote] = file.read()
        return {}


@pytest.fixture
def browser(transport: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> FakeBrowser:
    """The browser of machine x."""
    return FakeBrowser(transport, monkeypatch)
