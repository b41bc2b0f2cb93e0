import sqlite3

import pytest

NOT_TEXT = "Must be text."


def assert_error(response, status, code):
    assert response.status_code == status, response.data
    assert response.content_type == "application/json"
    error = response.json["error"]
    assert error["code"] == code
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("note", "fields"),
    [
        ({}, {"title": "Is required."}),
        ({"title": "   "}, {"title": "Must not be blank."}),
        ({"title": None}, {"title": NOT_TEXT}),
        ({"title": 7, "body": ["x"]}, {"title": NOT_TEXT, "body": NOT_TEXT}),
        ({"title": "x" * 121}, {"title": "Must have 120 characters at most."}),
        ({"title": "x", "body": "x" * 10_001}, {"body": "Must have 10000 characters at most."}),
        ({"title": "\ud800"}, {"title": "Holds a character that is not valid Unicode."}),
        ({"title": "x", "colour": "red"}, {"colour": "There is no such field."}),
    ],
)
def test_unusable_notes_are_refused_field_by_field(client, note, fields):
    response = client.post("/notes", json=note)
    assert assert_error(response, 422, "unprocessable_entity")["fields"] == fields
    assert client.get("/notes").json["total"] == 0


def test_the_longest_note_is_accepted(client):
    response = client.post("/notes", json={"title": "t" * 120, "body": "b" * 10_000})
    assert response.status_code == 201


def test_a_refused_change_leaves_the_note_alone(client, make):
    note = make("Shopping", "Milk")
    address = f"/notes/{note['id']}"
    assert_error(client.put(address, json={"body": "no title"}), 422, "unprocessable_entity")
    assert_error(client.patch(address, json={"title": ""}), 422, "unprocessable_entity")
    assert_error(client.patch(address, json={}), 400, "bad_request")
    assert client.get(address).json == note


@pytest.mark.parametrize("text", ["", "{", "[1]", '"text"', "null", "[" * 60_000])
def test_anything_but_a_json_object_is_a_bad_request(client, text):
    response = client.post("/notes", data=text, content_type="application/json")
    assert_error(response, 400, "bad_request")


def test_another_content_type_is_refused(client):
    response = client.post("/notes", data={"title": "From a form"})
    assert_error(response, 415, "unsupported_media_type")


def test_a_huge_request_is_refused(client):
    response = client.post("/notes", json={"title": "x", "body": "x" * 70_000})
    assert_error(response, 413, "request_entity_too_large")


@pytest.mark.parametrize("note_id", ["1", "0", "9" * 18, str(2**63), "9" * 5000], ids=len)
@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_notes_that_do_not_exist(client, method, note_id):
    content = {} if method in ("get", "delete") else {"json": {"title": "x"}}
    response = getattr(client, method)(f"/notes/{note_id}", **content)
    assert_error(response, 404, "not_found")


@pytest.mark.parametrize("address", ["/", "/nowhere", "/notes/first", "/notes/-1"])
def test_addresses_that_do_not_exist(client, address):
    assert_error(client.get(address), 404, "not_found")


def test_a_method_that_is_not_allowed(client):
    response = client.delete("/notes")
    assert_error(response, 405, "method_not_allowed")
    assert {"GET", "POST"} <= set(response.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", ""),
        ("limit", "ten"),
        ("limit", "1.5"),
        ("limit", "²"),
        ("offset", "-1"),
        ("offset", str(2**63)),
        ("offset", "9" * 5000),
    ],
    ids=lambda value: str(value)[:8],
)
def test_paging_out_of_range(client, name, value):
    response = client.get("/notes", query_string={name: value})
    error = assert_error(response, 422, "unprocessable_entity")
    assert error["fields"][name].startswith("Must be a whole number from ")


def test_an_unexpected_failure_gives_no_details_away(app, client, monkeypatch):
    def fail(*_):
        raise sqlite3.OperationalError("secret detail")

    monkeypatch.setattr("notes_api.db.list_notes", fail)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    response = client.get("/notes")
    assert_error(response, 500, "internal_server_error")
    assert b"secret" not in response.data
