"""What the SDK knows of a machine and of a job, the same for programs that block and programs that await."""

from __future__ import annotations

from typing import Any

from cloudrouter.wire.errors import Internal


class MachineFacts:
    """A machine as the router last described it."""

    def __init__(self, facts: Any) -> None:
        self._facts = check_machine(facts)

    @property
    def id(self) -> str:
        """Such as `cr_7k2m9xqd`."""
        return str(self._facts["id"])

    @property
    def name(self) -> str:
        """Its name; empty when it has none."""
        return str(self._facts.get("name") or "")

    @property
    def state(self) -> str:
        """`starting`, `running`, `stopped`, ... as of the last answer; see refresh."""
        return str(self._facts.get("state", ""))

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that the router last said about it, as `cloudrouter status --json` prints it."""
        return dict(self._facts)

    def __getattr__(self, name: str) -> Any:
        """The other fields of a machine: image, size, cpu, memory_bytes, labels, created_at, expires_at, ..."""
        facts = self.__dict__.get("_facts", {})
        if name.startswith("_") or name not in facts:
            raise AttributeError(f"A machine has no attribute {name!r}.")
        return facts[name]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.name or '-'} {self.state}>"


class JobFacts:
    """A background command as its machine last described it."""

    def __init__(self, facts: Any) -> None:
        self._facts = check_job(facts)

    @property
    def id(self) -> str:
        """Such as `job_4tq8w2`."""
        return str(self._facts["id"])

    @property
    def command(self) -> str:
        """What it runs."""
        return str(self._facts.get("command", ""))

    @property
    def state(self) -> str:
        """`running`, `exited`, or `lost` when nobody saw it end; as of the last refresh."""
        return str(self._facts.get("state", ""))

    @property
    def exit_code(self) -> int | None:
        """Its exit code once exited, as of the last refresh."""
        code = self._facts.get("code")
        return code if isinstance(code, int) and not isinstance(code, bool) else None

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that the machine last said about it, as `cloudrouter ps ID --json` prints it."""
        return dict(self._facts)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state} {self.command!r}>"


def check_machine(facts: Any) -> dict[str, Any]:
    """The description of a machine, when it is one; Internal otherwise."""
    if not isinstance(facts, dict) or not isinstance(facts.get("id"), str):
        raise Internal("The router described a machine in a way that cannot be read.")
    return facts


def check_job(facts: Any) -> dict[str, Any]:
    """The description of a job, when it is one; Internal otherwise."""
    if not isinstance(facts, dict) or not isinstance(facts.get("id"), str):
        raise Internal("The machine described a job in a way that cannot be read.")
    return facts


def check_list(answer: Any, word: str) -> list[Any]:
    """The list behind a word of the router's answer; Internal when there is none."""
    found = answer.get(word) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise Internal(f"The router did not list its {word}.")
    return found
