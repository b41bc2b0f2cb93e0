"""A strict decoder from JSON values to the wire's dataclasses, for places where msgspec is not."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from cloudrouter.wire.errors import UsageError


def decode(kind: Any, value: Any, where: str = "the body") -> Any:
    """The value as an instance of kind; unknown fields, missing fields and wrong types raise UsageError."""
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    origin = typing.get_origin(kind)
    if origin is typing.Union or isinstance(kind, getattr(types, "UnionType", ())):
        return _decode_union(kind, value, where)
    if origin in (list, tuple, set, frozenset):
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        (inner, *_) = typing.get_args(kind)
        return [decode(inner, item, f"{where}[{index}]") for index, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        _, inner = typing.get_args(kind)
        return {str(key): decode(inner, item, f"{where}.{key}") for key, item in value.items()}
    return _decode_plain(kind, value, where)


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise UsageError(f"Unknown field {unknown[0]!r} in {where}.", fix=f"Known fields: {', '.join(sorted(fields))}.")
    given = {name: decode(hints[name], item, f"{where}.{name}") for name, item in value.items()}
    for name, f in fields.items():
        if name not in given and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UsageError(f"Field {name!r} is missing in {where}.")
    return kind(**given)


def _decode_union(kind: Any, value: Any, where: str) -> Any:
    options = typing.get_args(kind)
    if value is None and type(None) in options:
        return None
    inner = [option for option in options if option is not type(None)]
    if len(inner) == 1:
        return decode(inner[0], value, where)
    raise UsageError(f"{where} has a type this decoder does not know.")


def _decode_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, bool):
        raise _wrong(where, "a number", value)
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    raise _wrong(where, getattr(kind, "__name__", str(kind)), value)


def _wrong(where: str, wanted: str, value: Any) -> UsageError:
    return UsageError(f"{where} must be {wanted}, not {type(value).__name__}.")
