"""A machine for the command line's tests: it stands where client.commands is."""

from __future__ import annotations

from typing import Any


class FakeCommands:
    """Stands where client.commands is: plays the machine's output and final message."""

    def __init__(self) -> None:
        self.output: list[tuple[int, bytes]] = []
        self.end: dict[str, Any] = {"code": 0, "signal": None, "timeout": False, "duration_ms": 12}
        self.answer: dict[str, Any] = {}
        self.failure: BaseException | None = None
        self.requests: list[dict[str, Any]] = []
        self.more: dict[str, Any] = {}
        self.answers: list[dict[str, Any]] = []
        self.ask_timeouts: list[float | None] = []
        self.gone = 0
        self.started = ""

    def run(self, _stream: str, request: dict[str, Any], *, on_stdout: Any, on_stderr: Any, **more: Any) -> Any:
        self.requests.append(request)
        self.more = more
        if self.started:
            more["progress"].begin({"job": self.started})
        if self.failure:
            failure, self.failure = self.failure, None if self.started else self.failure
            raise failure
        if self.gone:
            more["progress"].obey({"gone": {"bytes": self.gone, "position": self.gone}})
        for channel, data in self.output:
            (on_stdout if channel == 1 else on_stderr)(memoryview(data))
        return self.end

    def ask(self, _stream: str, request: dict[str, Any], timeout: float | None = 30.0) -> Any:
        self.requests.append(request)
        self.ask_timeouts.append(timeout)
        return self.answers.pop(0) if self.answers else self.answer
