"""Guests for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.guest.machine import Machine


@pytest.fixture(scope="session")
def shared() -> Iterator[Machine]:
    """One guest for all tests that leave nothing behind in it."""
    machine = Machine()
    yield machine
    machine.remove()


@pytest.fixture
def own() -> Iterator[Machine]:
    """A guest for one test."""
    machine = Machine()
    yield machine
    machine.remove()
