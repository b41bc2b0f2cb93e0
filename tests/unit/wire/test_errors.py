"""The error tree and the strict decoder."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrouter.wire import errors
from cloudrouter.wire.decode import decode
from cloudrouter.wire.errors import CloudRouterError, UsageError
from cloudrouter.wire.machines import ExtendMachine, StartMachine

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_codes_are_unique_and_complete() -> None:
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, CloudRouterError)]
    codes = [one.code for one in classes if one is not CloudRouterError]
    assert len(codes) == len(set(codes))
    assert set(codes) == set(errors.CODES)


@pytest.mark.parametrize("kind", sorted(errors.CODES))
def test_an_error_survives_the_wire(kind: str) -> None:
    sent = errors.CODES[kind]("It broke.", fix="Mend it.", next="cloudrouter ls", field="x")
    received = errors.from_json(sent.to_json())
    assert type(received) is type(sent)
    assert received.to_json() == sent.to_json()
    assert received.to_text().splitlines() == ["It broke.", "Fix:  Mend it.", "Next: cloudrouter ls"]


@given(JSON)
def test_any_body_becomes_an_error_object(body: Any) -> None:
    assert isinstance(errors.from_json(body), CloudRouterError)


def test_the_decoder_takes_what_the_dataclass_says() -> None:
    body = {"name": "web", "cpu": 2, "env": {"A": "1"}, "provisional": True}
    assert decode(StartMachine, body) == StartMachine(name="web", cpu=2.0, env={"A": "1"}, provisional=True)


@pytest.mark.parametrize(
    "body",
    [{"nmae": "web"}, {"name": 5}, {"env": {"A": 1}}, {"provisional": "yes"}, [], None, {"cpu": True}, {"env": []}],
)
def test_the_decoder_refuses_what_does_not_fit(body: Any) -> None:
    with pytest.raises(UsageError):
        decode(StartMachine, body)


def test_the_decoder_names_a_missing_field() -> None:
    with pytest.raises(UsageError, match="seconds"):
        decode(ExtendMachine, {})


@given(JSON)
def test_the_decoder_meets_any_json_with_a_value_or_a_usage_error(body: Any) -> None:
    try:
        assert dataclasses.is_dataclass(decode(StartMachine, body))
    except UsageError as error:
        assert error.message
