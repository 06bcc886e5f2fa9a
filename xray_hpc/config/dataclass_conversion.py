"""Convert between plain mappings and frozen dataclasses; every value is checked."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from xray_hpc.absolute_path import absolute_path
from xray_hpc.errors import ConfigError, nearest, one_of

T = TypeVar("T")

_Convert = Callable[[Any, str, bool], Any]
"""Converts a value; also gets its key for messages, and whether to ignore unknown keys."""


class CommaList:
    """The type of a list that becomes a text, with commas between its items: ``a,b``."""


_TYPE_NAMES = {
    **{int: "a whole number", float: "a number", str: "a text", bool: "true or false"},
    CommaList: "a text or a list",
}


def check(holds: bool, key: str, value: object, must: str) -> None:
    """Raise ``ConfigError`` "``key`` is ``value``; it must ``must``" unless ``holds``."""
    if not holds:
        shown = "not set" if value is None else value
        raise ConfigError(f"{key} is {shown}; it must {must}")


def check_least(least: float, key: str, value: float | None) -> None:
    """Raise ``ConfigError`` unless ``value`` is ``least`` or more, or unset."""
    if value is not None:
        check(value >= least, key, value, f"be {least} or more")


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
    fields, required = _fields(typing.cast(Any, kind))
    prefix = f"{where}." if where else ""
    for key in () if ignore_unknown else values:
        if key not in fields:
            known = ", ".join(fields)
            raise ConfigError(f"{prefix}{key} is unknown{nearest(key, fields)} (valid: {known})")
    for key in required:
        if key not in values:
            raise ConfigError(f"{prefix}{key} is missing")
    arguments = dict(values)
    for key, value in values.items():
        if key not in fields:
            del arguments[key]
        elif type(value) not in fields[key][0]:
            arguments[key] = fields[key][1](value, prefix + key, ignore_unknown)
    return kind(**arguments)


@functools.cache
def _fields(kind: Any) -> tuple[dict[str, tuple[frozenset[type], _Convert]], list[str]]:
    """Return the converters of the fields, and the names of the required fields."""
    missing = dataclasses.MISSING
    required = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is missing and field.default_factory is missing
    ]
    return {name: _converter(hint) for name, hint in typing.get_type_hints(kind).items()}, required


def union_members(hint: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the type itself."""
    is_union = typing.get_origin(hint) in (Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


@functools.cache
def _converter(hint: Any) -> tuple[frozenset[type], _Convert]:
    """Return the types whose values are valid as they are, and a function for other values.

    A sweep has thousands of records: their type hints are interpreted once, not for each.
    """
    members = union_members(hint)
    first = members[0]  # the other one is None, str or a Literal
    origin, arguments = typing.get_origin(first), typing.get_args(first)
    names = [typing.get_args(one) for one in members if typing.get_origin(one) is Literal]
    choices = names[0] if names else ()
    convert: _Convert
    if origin is dict:
        convert = functools.partial(_to_dict, *_converter(arguments[1]))
    elif origin in (list, tuple):
        others = [_TYPE_NAMES[one] for one in members if one in _TYPE_NAMES]
        what = " or ".join([*choices, *others, "a list"])
        convert = functools.partial(_to_sequence, origin, choices, what, *_converter(arguments[0]))
    elif dataclasses.is_dataclass(first):
        convert = functools.partial(_to_dataclass, first)
    else:
        convert = functools.partial(_to_scalar, first, choices)
    # A float may be infinite or NaN.
    valid = (one for one in members if typing.get_origin(one) is None and one is not float)
    return frozenset(valid), convert


def _to_dict(valid: frozenset[type], convert: _Convert, value: Any, key: str, ignore: bool) -> Any:
    _require(Mapping, "a mapping", value, key)
    return {
        name: item if type(item) in valid else convert(item, f"{key}.{name}", ignore)
        for name, item in value.items()
    }


def _to_sequence(
    kind: Any,
    choices: tuple[Any, ...],
    what: str,
    valid: frozenset[type],
    convert: _Convert,
    value: Any,
    key: str,
    ignore: bool,
) -> Any:
    if value in choices:
        return value
    _require((list, tuple), what, value, key)
    if valid.issuperset(map(type, value)):
        return kind(value)
    items = enumerate(value)
    return kind(v if type(v) in valid else convert(v, f"{key}[{i}]", ignore) for i, v in items)


def _to_dataclass(kind: Any, value: Any, key: str, ignore: bool) -> Any:
    _require(Mapping, "a mapping", value, key)
    return build(kind, value, key, ignore_unknown=ignore)


def _to_scalar(hint: Any, choices: tuple[Any, ...], value: Any, key: str, _: bool) -> Any:
    if choices and (isinstance(value, str) or typing.get_origin(hint) is Literal):
        if (type(value), value) not in [(type(choice), choice) for choice in choices]:
            raise ConfigError(one_of(key, value, choices))
        return value
    if hint is Any:
        return value
    if hint is CommaList:
        _require((list, tuple), _TYPE_NAMES[hint], value, key)
        return ",".join(map(str, value))
    if hint is Path:
        if value in (None, ""):
            raise ConfigError(f"{key} is not set; give it a value")
        return absolute_path(str(value))
    if issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            raise ConfigError(one_of(key, value, [member.value for member in hint])) from None
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:  # an integer of more than 308 digits
            value = math.inf
        check(math.isfinite(value), key, value, "be finite")
        return value
    _require(() if isinstance(value, bool) else hint, _TYPE_NAMES[hint], value, key)
    return value


def _require(kind: Any, what: str, value: Any, key: str) -> None:
    if not isinstance(value, kind):
        raise ConfigError(f"{key} is {value!r}; it must be {what}")


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
