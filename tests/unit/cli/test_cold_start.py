"""What the fast verbs may import: each module costs a person's time at every call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FORBIDDEN = {
    "asyncio", "concurrent", "contextlib", "dataclasses", "datetime", "difflib", "email", "hashlib", "http",
    "importlib.metadata", "inspect", "litestar", "logging", "msgspec", "pathlib", "random", "rich", "shutil",
    "sqlalchemy", "ssl", "subprocess", "tempfile", "threading", "tomllib", "traceback", "typing", "unicodedata",
    "urllib", "uuid", "websockets",
}  # fmt: skip
RUN = "import sys; from cloudrouter.cli.main import run_process; run_process(sys.argv[1:])"


def imported(tmp_path: Path, *command: str) -> set[str]:
    """Every module that Python has loaded for a command, beyond those of a bare start."""
    env = {
        **os.environ,
        "CLOUDROUTER_RUNTIME_DIR": str(tmp_path / "run"),
        "CLOUDROUTER_STATE_DIR": str(tmp_path / "state"),
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], check=False, capture_output=True, text=True, env=env, timeout=60
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines}


def heavy(modules: set[str]) -> set[str]:
    return {name for name in modules if name in FORBIDDEN or name.split(".")[0] in FORBIDDEN}


@pytest.fixture
def bare(tmp_path: Path) -> set[str]:
    return imported(tmp_path, "-c", "pass")


@pytest.mark.parametrize(
    "words",
    [
        ["ls"], ["ls", "--json"], ["status", "x"], ["ssh", "x", "true"], ["ssh", "--json", "x", "true"],
        ["exec", "x", "--", "true"], ["stop", "x"], ["version"], ["browser", "click", "x", "@e2"],
        ["browser", "snapshot", "-i", "x", "--json"], ["browser", "fill", "x", "@e3", "a text"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_fast_verbs_when_called_then_load_nothing_heavy(tmp_path: Path, bare: set[str], words: list[str]) -> None:
    # A file stands where the router's folder would be, so the call ends there, with all that it needs loaded.
    (tmp_path / "run").touch()
    script = f"{LOADED}{RUN}"
    modules = imported(tmp_path, "-c", script, *words) - bare
    assert "cloudrouter.cli.main" in modules
    assert heavy(modules) == set()


LOADED = (
    "import cloudrouter.client.commands, cloudrouter.client.router, cloudrouter.client.terminals, "
    "cloudrouter.cli.machines, cloudrouter.cli.times, cloudrouter.cli.execution, cloudrouter.cli.browsershow\n"
)
"""What a call that reaches a router loads besides; named here because no router answers in this test."""


def test_version_when_asked_the_short_way_then_loads_nothing(tmp_path: Path, bare: set[str]) -> None:
    modules = imported(tmp_path, "-m", "cloudrouter", "--version") - bare
    assert not any(name.startswith(("cloudrouter.cli", "argparse", "json", "re")) for name in modules - {"reprlib"})
