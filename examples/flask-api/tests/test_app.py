from pathlib import Path

from notes_api import create_app


def test_health(client):
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json == {"status": "ok", "database": "ok"}


def test_health_when_the_database_is_gone(app, client):
    Path(app.config["DATABASE"]).write_bytes(b"this is no database" * 100)
    response = client.get("/health")
    assert response.status_code == 503
    assert response.json == {"status": "unavailable", "database": "unreadable"}


def test_the_database_file_is_made_with_its_folder(app):
    assert Path(app.config["DATABASE"]).is_file()


def test_the_environment_can_name_the_database(monkeypatch, tmp_path):
    path = tmp_path / "elsewhere.sqlite3"
    monkeypatch.setenv("NOTES_DB", str(path))
    assert create_app().config["DATABASE"] == str(path)
    assert path.is_file()
