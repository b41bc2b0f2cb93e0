"""Has noVNC fetched whenever a package is built from this source, so that every installation has its desktop page."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Vendored(BuildHookInterface):  # type: ignore[misc,type-arg]  # hatchling is there only while building
    """Runs before files are chosen for a wheel or a source archive."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch what is missing. A package without it is refused; a checkout in use is only warned about."""
        root = Path(self.root)
        vendor = _load(root / "scripts" / "vendor.py")
        try:
            vendor.ensure(root / "src/cloudrouter/server/gateway/desktop/static/novnc")
        except vendor.Failed as failure:
            if version != "editable":
                raise
            self.app.display_warning(f"The desktop page will not work yet. {failure}")


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("cloudrouter_vendor", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
