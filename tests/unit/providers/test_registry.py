"""Providers by name: ours, third parties', missing ones, broken ones."""

from __future__ import annotations

import sys
import time
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from cloudrouter.providers import registry
from cloudrouter.providers.errors import NotConfigured, ProviderBug


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs.py").write_text(
        "class Theirs:\n    def __init__(self, *, router_id, clock, config=None): self.name = 'theirs'\nnothing = 3\n"
    )
    (tmp_path / "theirs_needs.py").write_text("import no_such_library_at_all\n")
    (tmp_path / "theirs_breaks.py").write_text("raise RuntimeError('boom')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = {
        "theirs": "theirs:Theirs",
        "needy": "theirs_needs:X",
        "broken": "theirs_breaks:X",
        "data": "theirs:nothing",
        "lost": "theirs:Lost",
        "docker": "theirs:Theirs",
    }
    found = EntryPoints(EntryPoint(name, path, registry.GROUP) for name, path in points.items())
    monkeypatch.setattr(registry, "entry_points", lambda group: found)


def test_table_when_read_then_is_in_order_and_lazy() -> None:
    assert list(registry.BUILT_IN) == sorted(registry.BUILT_IN)
    assert list(registry.known_providers()) == sorted(registry.known_providers())


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN))
def test_built_in_when_loaded_then_its_object_has_the_name(name: str) -> None:
    assert registry.load_provider(name)(router_id="r", clock=time.time).name == name


def test_unknown_name_when_loaded_then_names_those_there_are() -> None:
    with pytest.raises(NotConfigured, match="'dokcer'") as caught:
        registry.load_provider("dokcer")
    assert "docker" in caught.value.fix


@pytest.mark.usefixtures("third_party")
def test_third_party_when_installed_then_is_found_and_ours_win() -> None:
    assert registry.load_provider("theirs")(router_id="r", clock=time.time).name == "theirs"
    assert registry.load_provider("docker").__module__.startswith("cloudrouter.")


@pytest.mark.usefixtures("third_party")
def test_third_party_when_something_is_missing_then_cause_and_remedy_are_shown() -> None:
    with pytest.raises(NotConfigured, match="no_such_library_at_all") as caught:
        registry.load_provider("needy")
    assert "theirs_needs" in caught.value.fix
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize(("name", "words"), [("broken", "boom"), ("data", "not callable"), ("lost", "Lost")])
def test_third_party_when_broken_then_is_a_bug_that_says_where(name: str, words: str) -> None:
    with pytest.raises(ProviderBug, match=words):
        registry.load_provider(name)


def test_package_when_imported_then_no_provider_is(tmp_path: Path) -> None:
    import subprocess

    code = "import sys, cloudrouter.providers.registry as r; r.known_providers(); print('aiodocker' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "False"
