import pytest

from notes_api import create_app


@pytest.fixture
def app(tmp_path):
    return create_app({"TESTING": True, "DATABASE": str(tmp_path / "data" / "notes.sqlite3")})


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def make(client):
    """Create a note through the API and return it."""

    def make(title, body=""):
        response = client.post("/notes", json={"title": title, "body": body})
        assert response.status_code == 201, response.json
        return response.json

    return make


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves on by one minute each time it is read."""
    minutes = iter(range(60))
    monkeypatch.setattr("notes_api.db.now", lambda: f"2030-01-01T12:{next(minutes):02}:00.000Z")
