"""The ids of builds of ours: kept in a private file, bounded, and never taken from a file that is broken."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cloudrouter.images import known
from cloudrouter.images.known import Known


def test_id_when_remembered_then_is_known_to_the_next_router_process_and_the_file_is_private(tmp_path: Path) -> None:
    path = str(tmp_path / "images.json")
    Known(path).remember("sha256:1", "cloudrouter/core:a")
    found = Known(path)
    assert (found.has("sha256:1"), found.has("sha256:2")) == (True, False)
    assert (found.gave(["x:1", "cloudrouter/core:a"]), found.gave(["cloudrouter/core:b"]), found.gave([])) == (
        True,
        False,
        False,
    )
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(tmp_path) == ["images.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"sha256:1": 3}', "\xff"])
def test_file_when_broken_then_vouches_for_nothing_and_is_written_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "images.json"
    path.write_bytes(text.encode("latin-1"))
    found = Known(str(path))
    assert not found.has("sha256:1")
    found.remember("sha256:1", "cloudrouter/core:a")
    assert Known(str(path)).has("sha256:1")


def test_folder_when_nothing_can_be_written_then_this_process_knows(tmp_path: Path) -> None:
    found = Known(str(tmp_path / "gone" / "images.json"))
    found.remember("sha256:1", "cloudrouter/core:a")
    assert found.has("sha256:1")


def test_ids_when_there_are_too_many_then_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "LIMIT", 2)
    found = Known()
    for number in (1, 2, 1, 3):
        found.remember(f"sha256:{number}", f"cloudrouter/x:{number}-{len(found._read())}")
    assert [found.has(f"sha256:{number}") for number in (1, 2, 3)] == [True, False, True]


def test_providers_without_a_file_share_what_the_process_built(tmp_path: Path) -> None:
    assert known.at("") is known.at("")
    assert known.at(str(tmp_path / "a")) is not known.at("")
