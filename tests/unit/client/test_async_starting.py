"""The awaiting start when its task is cancelled at the very end: no machine that nobody knows of stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cloudrouter.client.aio import starting

FACTS = {"id": "cr_7k2m9xqd", "name": "proj", "state": "running"}


class FakeLink:
    """Does the work at once, without a thread and without ever suspending; remembers what it is asked."""

    def __init__(self, after: Callable[[], object]) -> None:
        self.after = after
        self.asked: list[str] = []

    async def in_thread(self, work: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        made = work(None)
        self.after()
        return made

    async def call(self, method: str, path: str) -> None:
        self.asked.append(f"{method} {path}")


def launch(_transport: Any, _folder: Any, _request: Any, *, progress: Callable[[Any], Any], **_rest: Any) -> Any:
    for phase in ("created", "ready"):
        progress({"phase": phase, "id": FACTS["id"]})
    return FACTS


async def start(link: FakeLink) -> dict[str, Any]:
    nothing: dict[str, Any] = {"with_secrets": False, "exclude": (), "apps": None, "progress": lambda _event: None}
    return await starting.start_machine(link, None, {}, **nothing)  # type: ignore[arg-type]


async def test_start_when_cancelled_as_its_last_step_ends_then_removes_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cancel() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    monkeypatch.setattr(starting, "launch", launch)
    link = FakeLink(cancel)
    task = asyncio.create_task(start(link))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert link.asked == [f"DELETE /v1/machines/{FACTS['id']}"]


async def test_start_when_nobody_cancels_then_leaves_the_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "launch", launch)
    link = FakeLink(lambda: None)
    assert await start(link) == FACTS
    assert link.asked == []
