"""The folders that the router believes: its own, closed, without anything that another user put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloudrouter.server.run import prepare_folders
from cloudrouter.server.settings import Settings
from cloudrouter.wire.errors import NotConfigured

NOBODY = 65534


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(state_dir=str(tmp_path / "state"), runtime_dir=str(tmp_path / "run"))
    prepare_folders(made)
    return made


def test_a_folder_of_ours_that_was_open_is_closed_with_what_is_in_it(settings: Settings) -> None:
    os.chmod(settings.state_dir, 0o777)
    database = Path(settings.database_path)
    database.touch()
    database.chmod(0o666)
    prepare_folders(settings)
    assert os.stat(settings.state_dir).st_mode & 0o777 == 0o700
    assert database.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name", ["router.db", "router.db-wal", "router-id", "router.lock", "images.json", "gateway-port"]
)
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused_and_left(settings: Settings, name: str) -> None:
    path = Path(settings.state_dir) / name
    path.write_text("theirs")
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(NotConfigured, match=f"{name} is not safe.*belongs to user {NOBODY}"):
        prepare_folders(settings)
    assert path.read_text() == "theirs"


def test_a_link_to_a_file_elsewhere_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    os.symlink(tmp_path / "elsewhere", settings.database_path)
    with pytest.raises(NotConfigured, match="symbolic link"):
        prepare_folders(settings)


def test_a_file_with_a_second_name_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    os.link(tmp_path / "elsewhere", settings.database_path)
    with pytest.raises(NotConfigured, match="second name"):
        prepare_folders(settings)


def test_a_folder_where_the_database_should_be_is_refused(settings: Settings) -> None:
    os.mkdir(settings.database_path)
    with pytest.raises(NotConfigured, match="not a file"):
        prepare_folders(settings)
