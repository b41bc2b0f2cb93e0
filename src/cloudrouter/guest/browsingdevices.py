"""What set-viewport and set-device make of a tab: its size, density, touch and name, until `off`.

Kept by the guest's own connection: agent-browser would make the person's window smaller, and could not end it.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudrouter.wire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Optional

OFF = "off"
VERBS = ("set-viewport", "set-device")
MOST_PIXELS, MOST_SCALE = 10_000, 8.0
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{} {}Safari/604.1"
_GOOGLE = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{} Mobile Safari/537.36"


@dataclass(frozen=True)
class View:
    """How a tab is to be."""

    width: int
    height: int
    scale: float = 1.0
    mobile: bool = False
    agent: str = ""
    device: str = ""

    def told(self) -> dict[str, Any]:
        """As the answer's data."""
        found = {"width": self.width, "height": self.height, "deviceScaleFactor": self.scale, "mobile": self.mobile}
        return {**found, "device": self.device} if self.device else found


def _iphone(system: str, version: str) -> str:
    return f"Mozilla/5.0 (iPhone; CPU iPhone OS {system} like Mac OS X) {_APPLE.format(version, 'Mobile/15E148 ')}"


def _ipad() -> str:
    return f"Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) {_APPLE.format('18.0', '')}"


def _android(version: int, model: str, chrome: str) -> str:
    return f"Mozilla/5.0 (Linux; Android {version}; {model}) {_GOOGLE.format(chrome)}"


def _mobile(width: int, height: int, scale: float, agent: str, device: str) -> View:
    return View(width, height, scale, mobile=True, agent=agent, device=device)


DEVICES = {
    view.device.lower(): view
    for view in (
        _mobile(390, 844, 3.0, _iphone("14_0", "14.0"), "iPhone 12"),
        _mobile(390, 844, 3.0, _iphone("16_0", "16.0"), "iPhone 14"),
        _mobile(393, 852, 3.0, _iphone("17_0", "17.0"), "iPhone 15"),
        _mobile(393, 852, 3.0, _iphone("18_0", "18.0"), "iPhone 16"),
        _mobile(402, 874, 3.0, _iphone("18_0", "18.0"), "iPhone 16 Pro"),
        _mobile(402, 874, 3.0, _iphone("19_0", "19.0"), "iPhone 17"),
        _mobile(820, 1180, 2.0, _ipad(), "iPad"),
        _mobile(1024, 1366, 2.0, _ipad(), "iPad Pro"),
        _mobile(393, 851, 2.75, _android(11, "Pixel 5", "90.0.4430.91"), "Pixel 5"),
        _mobile(412, 915, 2.625, _android(13, "Pixel 7", "116.0.0.0"), "Pixel 7"),
        _mobile(412, 923, 2.625, _android(15, "Pixel 9", "130.0.0.0"), "Pixel 9"),
        _mobile(360, 800, 3.0, _android(11, "SM-G991B", "90.0.4430.91"), "Galaxy S21"),
        _mobile(360, 800, 3.0, _android(15, "SM-S931B", "130.0.0.0"), "Galaxy S25"),
    )
}
"""The devices that agent-browser knows, with its sizes and names."""


def read(verb: str, words: Sequence[str]) -> Optional[View]:
    """What the words of one of VERBS ask for, None for `off`; UsageError for what cannot be."""
    if words[0].lower() == OFF and len(words) == 1:
        return None
    if verb == "set-device":
        view = DEVICES.get(words[0].strip().lower())
        if view is None:
            known = ", ".join(one.device for one in DEVICES.values())
            raise UsageError(f"There is no device {words[0][:40]!r}.", fix=f"One of {known}, or off.")
        return view
    if len(words) < 2:
        raise UsageError("browser set-viewport: HEIGHT is missing.", next="cloudrouter browser set-viewport --help")
    scale = _number(words[2], MOST_SCALE) if len(words) > 2 else 1.0
    return View(_pixels(words[0]), _pixels(words[1]), scale)


def _pixels(word: str) -> int:
    if not (word.isascii() and word.isdigit() and 0 < int(word[:9]) <= MOST_PIXELS and len(word) < 9):
        raise UsageError(f"{word[:20]!r} is no size of a page: a number of pixels, at most {MOST_PIXELS}.")
    return int(word)


def _number(word: str, most: float) -> float:
    try:
        found = float(word)
    except ValueError:
        found = 0.0
    if not 0 < found <= most:
        raise UsageError(f"{word[:20]!r} is no scale: a number above 0, at most {most:g}.")
    return found


def requests(view: Optional[View]) -> list[tuple[str, dict[str, Any]]]:
    """What Chromium is asked so that a tab becomes so."""
    if view is None:
        return [
            ("Emulation.clearDeviceMetricsOverride", {}),
            ("Emulation.setTouchEmulationEnabled", {"enabled": False}),
            ("Emulation.setUserAgentOverride", {"userAgent": ""}),
        ]
    size = {"width": view.width, "height": view.height, "deviceScaleFactor": view.scale, "mobile": view.mobile}
    screen = {"screenWidth": view.width, "screenHeight": view.height} if view.mobile else {}
    return [
        ("Emulation.setDeviceMetricsOverride", {**size, **screen}),
        ("Emulation.setTouchEmulationEnabled", {"enabled": view.mobile}),
        ("Emulation.setUserAgentOverride", {"userAgent": view.agent}),
    ]
