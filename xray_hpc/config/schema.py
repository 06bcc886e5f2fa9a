"""Convert between plain mappings and frozen dataclasses; every value is checked."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from xray_hpc.errors import ConfigError, nearest, one_of

T = TypeVar("T")

_PLAIN = {str, int, float, bool, type(None)}
_TYPE_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def check(holds: bool, key: str, value: object, must: str) -> None:
    """Raise ``ConfigError`` "``key`` is ``value``; it must ``must``" unless ``holds``."""
    if not holds:
        shown = "not set" if value is None else value
        raise ConfigError(f"{key} is {shown}; it must {must}")


def build(
    kind: type[T], values: Mapping[str, Any], where: str = "", *, ignore_unknown: bool = False
) -> T:
    """Build the dataclass ``kind`` from a plain mapping, checking every type.

    Integers are accepted for floats, lists for tuples and values for enum members; nothing else
    is converted.

    Args:
        where: the dotted key of the mapping, for messages.
        ignore_unknown: ignore keys that are not fields, which a later version may have written.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type or is out of range.
    """
    hints, unchecked, required = _fields(typing.cast(Any, kind))
    prefix = f"{where}." if where else ""
    for key in () if ignore_unknown else values:
        if key not in hints:
            known = ", ".join(hints)
            raise ConfigError(f"{prefix}{key} is unknown{nearest(key, hints)} (valid: {known})")
    for key in required:
        if key not in values:
            raise ConfigError(f"{prefix}{key} is missing")
    arguments = {}
    for key, value in values.items():
        if key not in hints:
            continue
        if type(value) not in unchecked[key] or (type(value) is float and not math.isfinite(value)):
            value = _convert(hints[key], value, prefix + key, ignore_unknown)
        arguments[key] = value
    return kind(**arguments)


@functools.cache
def _fields(kind: Any) -> tuple[dict[str, Any], dict[str, set[type]], list[str]]:
    """Return the types of the fields, the types that need no check, and the required fields."""
    hints, missing = typing.get_type_hints(kind), dataclasses.MISSING
    unchecked = {name: _PLAIN & set(union_members(hint)) for name, hint in hints.items()}
    required = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is missing and field.default_factory is missing
    ]
    return hints, unchecked, required


def union_members(hint: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the type itself."""
    is_union = typing.get_origin(hint) in (Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _convert(hint: Any, value: Any, key: str, ignore_unknown: bool) -> Any:
    if hint is Any or (type(value) is hint and hint is not float):
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        members = [member for member in arguments if member is not type(None)]
        names = [member for member in members if typing.get_origin(member) is Literal]
        if type(value) in members:
            members = [type(value)]
        elif names and isinstance(value, str):
            members = names
        return _convert(members[0], value, key, ignore_unknown)
    if origin is Literal:
        if value is False and "off" in arguments:  # YAML 1.1 reads an unquoted off as false
            return "off"
        if (type(value), value) not in [(type(choice), choice) for choice in arguments]:
            raise ConfigError(one_of(key, value, arguments))
        return value
    if origin is dict or dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key} is {value!r}; it must be a mapping")
        if origin is not dict:
            return build(hint, value, key, ignore_unknown=ignore_unknown)
        inner = arguments[1]
        return {k: _convert(inner, v, f"{key}.{k}", ignore_unknown) for k, v in value.items()}
    if hint is Path:
        if not value:
            raise ConfigError(f"{key} is not set; give it a value")
        return Path(str(value)).expanduser().resolve()
    if origin in (list, tuple):
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{key} is {value!r}; it must be a list")
        inner, items = arguments[0], enumerate(value)
        return origin(_convert(inner, item, f"{key}[{i}]", ignore_unknown) for i, item in items)
    if issubclass(hint, Enum):
        choices = [member.value for member in hint]
        if value not in choices:
            raise ConfigError(one_of(key, value, choices))
        return hint(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        check(math.isfinite(value), key, value, "be finite")
        return float(value)
    if isinstance(value, hint) and not isinstance(value, bool):
        return value
    raise ConfigError(f"{key} is {value!r}; it must be {_TYPE_NAMES[hint]}")


def default_values(kind: type) -> dict[str, Any]:
    """Return the defaults of a dataclass as a plain mapping; a required field is ``None``."""
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        value: Any = None
        if field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        elif dataclasses.is_dataclass(hints[field.name]):
            value = default_values(hints[field.name])
        if isinstance(value, Path):
            value = str(value)
        elif isinstance(value, tuple):
            value = list(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.asdict(value)
        values[field.name] = value
    return values
