"""Who may import whom: the arrows of docs/architecture.md, checked in every file."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "cloudrouter"

ALLOWED = {
    "wire": {"wire"},
    "trees": {"trees", "wire"},
    "guest": {"guest", "trees", "wire"},
    "auth": {"auth", "wire"},
    "cache": {"cache", "wire"},
    "images": {"images", "wire"},
    "client": {"client", "trees", "wire"},
    "cli": {"cli", "client", "wire"},
    "providers": {"providers", "wire", "images"},
    "server": {"server", "providers", "auth", "images", "trees", "wire"},
    "testing": {"testing", "providers", "server", "client", "wire"},
}
"""Room -> rooms it may import; `providers.X` may not import `providers.Y`, see below."""

EXCEPTIONS = {
    # The command `server run` is the router: its verb is the one place where the CLI opens that door.
    ("cli/verbs/server.py", "server"),
}

STDLIB_ONLY = {"wire": set(), "trees": set(), "auth": {"cryptography"}}
"""Room -> what it may import besides the standard library."""


def modules() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(path: Path) -> str:
    parts = path.relative_to(SRC).parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    if not room:
        return
    for module in imported(path):
        words = module.split(".")
        if words[0] != "cloudrouter" or len(words) < 2 or not (SRC / words[1]).is_dir():
            continue
        if (str(path.relative_to(SRC)), words[1]) in EXCEPTIONS:
            continue
        assert words[1] in ALLOWED[room], f"{path.relative_to(SRC)} imports {module}"


def test_one_provider_never_imports_another() -> None:
    for path in modules():
        parts = path.relative_to(SRC).parts
        if parts[0] != "providers" or len(parts) < 3:
            continue
        for module in imported(path):
            words = module.split(".")
            if words[:2] == ["cloudrouter", "providers"] and len(words) > 2:
                assert words[2] in {parts[1], "base", "errors"}, f"{path} imports {module}"


def test_services_and_api_keep_their_places() -> None:
    for path in modules():
        inner = path.relative_to(SRC).as_posix()
        names = imported(path)
        if inner.startswith("server/services/"):
            assert not any(name.split(".")[0] in {"litestar", "uvicorn"} for name in names), inner
        if inner.startswith(("server/services/", "server/api/", "server/loops/")):
            assert not any(name.split(".")[0] in {"sqlalchemy", "sqlite3", "alembic"} for name in names), inner
        if inner.startswith("server/gateway/"):
            assert not any(name.split(".")[0] in {"litestar", "uvicorn", "sqlalchemy"} for name in names), inner
        elif inner != "server/app.py":
            assert not any(name.startswith("cloudrouter.server.gateway") for name in names), inner
        if inner.startswith("server/api/"):
            assert not any(name.startswith("cloudrouter.providers") for name in names), inner


def test_auth_touches_nothing_outside() -> None:
    for path in (SRC / "auth").rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(path)}
        assert not tops & {"os", "io", "socket", "asyncio", "time", "datetime", "subprocess", "pathlib"}, path


@pytest.mark.parametrize("room", sorted(STDLIB_ONLY))
def test_shared_rooms_need_only_the_standard_library(room: str) -> None:
    for path in (SRC / room).rglob("*.py"):
        for module in imported(path):
            top = module.split(".")[0]
            allowed = top == "cloudrouter" or top in sys.stdlib_module_names or top in STDLIB_ONLY[room]
            assert allowed, f"{path} imports {module}"


def test_only_login_and_open_may_open_a_browser() -> None:
    # Both do it because the person has said so; cli/browsing.py is where `open --open` does, and keeps tickets out of
    # the words that a browser is started with.
    for path in modules():
        if path.relative_to(SRC).as_posix() not in ("cli/login.py", "cli/browsing.py"):
            assert "webbrowser" not in imported(path), path
