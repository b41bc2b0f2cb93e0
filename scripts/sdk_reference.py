"""Writes docs/sdk-reference.md from the SDK's own docstrings: `python scripts/sdk_reference.py [FILE]`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudrouter

ROOT = Path(__file__).parents[1]
DEFAULT_FILE = ROOT / "docs" / "sdk-reference.md"
WIDTH = 100

CLASSES = (
    "Client", "Machines", "Machine", "Execution", "Job", "Attachment", "Files", "Apps", "Ports", "Ptys", "Pty",
    "Tunnel", "Forward", "Volumes", "Browser",
)  # fmt: skip
RECORDS = (
    "Result", "Output", "Event", "Usage", "Volume", "Door", "AppState", "Port", "PtySession", "Snapshot",
    "StepAnswer", "Dialog", "MadeFile", "BatchAnswer", "FailedStep", "Cdp",
)  # fmt: skip

HEAD = """\
# The SDK, name by name

This page is generated from the docstrings (`make docs`); change those instead. The guide is [The SDK](sdk.md).

Each class has a twin for programs that await: `AsyncClient` for `Client`, `AsyncMachine` for `Machine`, and so on, with
the same names and parameters. Beside each name stands how the twin is used: *await* it, use it with *async for*, or
*await or async with*, which is `m = await client.start()` as well as `async with client.start() as m`. What has no
such mark is there at once in both.

A `Command` is a line for the login user's shell, such as `"npm test && echo done"`, or the words of a program that is
started as it is, such as `["npm", "test"]`.
"""


def reference() -> str:
    """The whole page."""
    parts = [HEAD]
    for name in CLASSES:
        parts.extend(_class(name))
    parts.append("## What they hand out\n")
    for name in RECORDS:
        parts.extend(_record(name))
    parts.extend(_errors())
    return "\n".join(parts).rstrip() + "\n"


def _class(name: str) -> Iterator[str]:
    kind, twin = getattr(cloudrouter, name), getattr(cloudrouter, f"Async{name}")
    yield f"## {name}, {twin.__name__}\n"
    yield _doc(kind) + "\n"
    if name == "Client":
        yield _code(f"{name}{_parameters(kind.__init__)}") + "\n"
        yield _doc(kind.__init__) + "\n"
    theirs = dict(_members(twin))
    properties = [(one, member) for one, member in _members(kind) if isinstance(member, property)]
    if properties:
        rows = [f"| `{one}` | `{_cell(_result(member.fget))}` | {_cell(_doc(member))} |" for one, member in properties]
        yield "| attribute | type | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    for one, member in _members(kind):
        if not isinstance(member, property):
            yield f"### {_owner(name)}.{one}\n"
            yield _code(f"{_owner(name)}.{one}{_parameters(member)} -> {_result(member)}") + "\n"
            mark = _mark(theirs[one])
            yield (f"*{twin.__name__}: {mark}.* " if mark else "") + _doc(member) + "\n"


def _cell(text: str) -> str:
    """A text as it may stand in a table, where | divides columns."""
    return " ".join(text.replace(" | ", " or ").split())


def _owner(name: str) -> str:
    """How a variable of this class is called, as in `machine.run`."""
    return {"Machines": "client.machines", "Volumes": "client.volumes", "Files": "machine.files"}.get(
        name, name.lower()
    )


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties: the class's own in their order, then those of its bases."""
    seen = set()
    for base in kind.__mro__[:-1]:
        for name, member in vars(base).items():
            public = not name.startswith("_") and (callable(member) or isinstance(member, property))
            if base.__module__.startswith("cloudrouter.") and public and name not in seen:
                seen.add(name)
                yield name, member


def _parameters(function: Any) -> str:
    """The parameters as they stand in the source; keywords that are handed on without their type's name."""
    shown, star = [], False
    for one in inspect.signature(function).parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and not star:
            shown.append("*")
            star = True
        default = "" if one.default is one.empty else f" = {_default(one.name, one.default)}"
        shown.append(f"**{one.name}" if one.kind is one.VAR_KEYWORD else f"{one.name}: {one.annotation}{default}")
    return f"({', '.join(shown)})"


def _default(name: str, value: object) -> str:
    return f"{value:#o}" if name == "mode" and isinstance(value, int) else repr(value)


def _result(function: Any) -> str:
    return str(inspect.signature(function).return_annotation).replace("'", "")


def _code(line: str) -> str:
    """A signature as a code block, broken at its parameters when it is long."""
    if len(line) > WIDTH:
        head, _, rest = line.partition("(")
        inner, _, result = rest.rpartition(")")
        line = f"{head}(\n" + textwrap.indent(",\n".join(_split(inner)), "    ") + f",\n){result}"
    return f"```text\n{line}\n```"


def _split(parameters: str) -> list[str]:
    """The parameters of a signature, divided at the commas that are not inside brackets."""
    found, depth = [""], 0
    for sign in parameters:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            found.append("")
        else:
            found[-1] += sign
    return [one.strip() for one in found]


def _mark(member: Any) -> str:
    returned = _result(member)
    if returned.startswith("Opening["):
        return "await or async with"
    if inspect.isasyncgenfunction(member) or returned.startswith("AsyncIterator["):
        return "async for"
    return "await" if inspect.iscoroutinefunction(member) else ""


def _record(name: str) -> Iterator[str]:
    kind = getattr(cloudrouter, name)
    yield f"### {name}\n"
    yield _doc(kind) + "\n"
    if dataclasses.is_dataclass(kind):
        rows = [(one.name, str(one.type)) for one in dataclasses.fields(kind)]
    else:
        rows = [(one, str(kind.__annotations__[one])) for one in kind._fields]
    rows += [(one, _result(member.fget)) for one, member in _members(kind) if isinstance(member, property)]
    meanings = _field_docs(kind)
    table = "\n".join(f"| `{one}` | `{_type(of)}` | {meanings.get(one, '')} |" for one, of in rows)
    yield "| field | type | meaning |\n|---|---|---|\n" + table + "\n"
    for one, member in _members(kind):
        if inspect.isfunction(member) and name == "Result":
            yield f"`{one}{_parameters(member)}`: {_doc(member)}\n"


def _type(annotation: str) -> str:
    word = annotation.removeprefix("ForwardRef(").rstrip(")").strip("'")
    inner = word.removeprefix("Optional[").removesuffix("]")
    return f"{inner} or None" if word.startswith("Optional[") else _cell(word)


def _field_docs(kind: type) -> dict[str, str]:
    """What stands below each field in the source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for before, after in zip(tree.body, tree.body[1:], strict=False):
        text = after.value if isinstance(after, ast.Expr) else None
        if isinstance(before, ast.AnnAssign) and isinstance(text, ast.Constant) and isinstance(text.value, str):
            found[ast.unparse(before.target)] = _cell(text.value)
    for name, member in _members(kind):
        if isinstance(member, property):
            found[name] = _cell(_doc(member))
    return found


def _errors() -> Iterator[str]:
    yield "## Errors\n"
    yield (
        "All are `CloudRouterError` and have `message` (what happened), `fix` (what to do), `next` (the command to "
        "run) and `details`.\nWhere `retry` is yes, trying the same again may help.\n"
    )
    yield "| class | is a | retry | meaning |\n|---|---|---|---|"
    for name in cloudrouter.__all__:
        kind = getattr(cloudrouter, name)
        if inspect.isclass(kind) and issubclass(kind, cloudrouter.CloudRouterError):
            of = kind.__mro__[1].__name__
            yield f"| `{name}` | `{of}` | {'yes' if kind.retry else ''} | {_first_line(kind)} |"


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


def _doc(thing: Any) -> str:
    found = inspect.getdoc(thing)
    if not found:
        raise SystemExit(f"{thing!r} has no docstring")
    return found


def main(argv: list[str]) -> int:
    """Write the page to the file named, or to docs/sdk-reference.md."""
    path = Path(argv[0]) if argv else DEFAULT_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(reference(), encoding="utf-8")
    print(f"{path} is written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
