import re

import pytest

from notes_api import create_app


def titles(response):
    assert response.status_code == 200, response.json
    return [note["title"] for note in response.json["notes"]]


def test_create_answers_with_the_note_and_its_address(client):
    response = client.post("/notes", json={"title": "  Shopping ", "body": "Milk\nBread"})
    assert response.status_code == 201
    note = response.json
    assert (note["title"], note["body"]) == ("Shopping", "Milk\nBread")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", note["created_at"])
    assert note["updated_at"] == note["created_at"]
    assert response.headers["Location"] == f"/notes/{note['id']}"
    assert client.get(response.headers["Location"]).json == note


def test_the_body_may_be_left_out(client):
    assert client.post("/notes", json={"title": "Shopping"}).json["body"] == ""


def test_text_comes_back_as_it_was_sent(client, make):
    body = "Ünïcödé 🎉 \"quotes\" <b>tags</b> '; DROP TABLE notes; --\x00"
    note = make("Odd ones", body)
    assert client.get(f"/notes/{note['id']}").json["body"] == body


def test_notes_outlive_the_app(app, make):
    note = make("Shopping", "Milk")
    again = create_app({"DATABASE": app.config["DATABASE"]}).test_client()
    assert again.get(f"/notes/{note['id']}").json == note


def test_put_replaces_the_whole_note(client, make, clock):
    note = make("Shopping", "Milk")
    response = client.put(f"/notes/{note['id']}", json={"title": "Errands"})
    assert response.status_code == 200
    assert response.json == note | {
        "title": "Errands",
        "body": "",
        "updated_at": "2030-01-01T12:01:00.000Z",
    }
    assert client.get(f"/notes/{note['id']}").json == response.json


@pytest.mark.parametrize("changes", [{"title": "Errands"}, {"body": "Bread"}, {"body": ""}])
def test_patch_changes_only_what_it_names(client, make, clock, changes):
    note = make("Shopping", "Milk")
    response = client.patch(f"/notes/{note['id']}", json=changes)
    assert response.status_code == 200
    assert response.json == note | changes | {"updated_at": "2030-01-01T12:01:00.000Z"}


def test_delete_removes_one_note(client, make):
    first, second = make("First"), make("Second")
    response = client.delete(f"/notes/{first['id']}")
    assert (response.status_code, response.data) == (204, b"")
    assert client.get(f"/notes/{first['id']}").status_code == 404
    assert titles(client.get("/notes")) == ["Second"]
    assert client.get(f"/notes/{second['id']}").status_code == 200


def test_the_id_of_a_deleted_note_is_not_used_again(client, make):
    first = make("First")
    client.delete(f"/notes/{first['id']}")
    assert make("Second")["id"] > first["id"]


def test_an_empty_list(client):
    assert client.get("/notes").json == {"notes": [], "total": 0, "limit": 20, "offset": 0}


def test_the_list_has_the_latest_change_first(client, make, clock):
    first = make("First")
    make("Second")
    make("Third")
    client.patch(f"/notes/{first['id']}", json={"body": "changed"})
    assert titles(client.get("/notes")) == ["First", "Third", "Second"]


def test_paging(client, make, clock):
    for number in range(1, 6):
        make(f"Note {number}")
    page = client.get("/notes?limit=2&offset=2")
    assert titles(page) == ["Note 3", "Note 2"]
    assert (page.json["total"], page.json["limit"], page.json["offset"]) == (5, 2, 2)
    assert titles(client.get("/notes?limit=2&offset=4")) == ["Note 1"]
    assert titles(client.get("/notes?offset=5")) == []


def test_search_looks_at_titles_and_bodies(client, make, clock):
    make("Shopping", "Milk and bread")
    make("Milk prices")
    make("Taxes", "Before June")
    response = client.get("/notes?q=milk")
    assert titles(response) == ["Milk prices", "Shopping"]
    assert response.json["total"] == 2
    assert titles(client.get("/notes?q=nowhere")) == []


@pytest.mark.parametrize("mark", ["%", "_", "\\", "'"])
def test_search_takes_special_characters_literally(client, make, mark):
    make("Plain")
    make(f"With {mark} mark")
    assert titles(client.get("/notes", query_string={"q": mark})) == [f"With {mark} mark"]
