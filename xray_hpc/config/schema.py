"""Plain mappings made into frozen dataclasses, strictly; and the YAML that they come from."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from xray_hpc.errors import ConfigError, nearest, one_of

T = TypeVar("T")

# libyaml's where PyYAML was built with it: several times as fast.
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check(holds: bool, key: str, value: object, must: str) -> None:
    """Raise ``UserError`` "``key`` is ``value``; it must ..." unless ``holds``."""
    if not holds:
        shown = "not set" if value is None else value
        raise ConfigError(f"{key} is {shown}; it must {must}")


def build(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Make the dataclass ``kind`` of a plain mapping, strictly.

    Integers are taken for floats, and lists for tuples; nothing else is converted. ``where`` is
    the dotted key of the mapping, for messages.

    Raises:
        UserError: an unknown or missing key, a value of the wrong type or out of range.
    """
    hints = _hints(typing.cast(Hashable, kind))
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in fields:
            known = ", ".join(fields)
            raise ConfigError(f"{prefix}{key} is unknown{nearest(key, fields)} (valid: {known})")
    for key, item in fields.items():
        no_default = item.default is dataclasses.MISSING
        if key not in values and no_default and item.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{prefix}{key} is missing; give it a value")
    return kind(**{key: _convert(hints[key], values[key], prefix + key) for key in values})


@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _convert(hint: Any, value: Any, key: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in typing.get_args(hint):
            return None
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        if type(value) in members:
            return value
        return _convert(members[0], value, key)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value is False and "off" in choices:  # YAML 1.1 reads an unquoted off as false
            return "off"
        if (type(value), value) not in [(type(choice), choice) for choice in choices]:
            raise ConfigError(one_of(key, value, choices))
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key} is {value!r}; it must hold keys of its own")
        return build(typing.cast(type, hint), value, key)
    if hint is Path:
        if not value:
            raise ConfigError(f"{key} is not set; give it a value")
        return Path(str(value)).expanduser().resolve()
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{key} is {value!r}; it must be a list")
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item, f"{key}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key} is {value!r}; it must hold keys of its own")
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        raise ConfigError(f"{key} is {value!r}; it must be {names[hint]}")
    return value


def as_dict(config: Any) -> dict[str, Any]:
    """The plain nested mapping that :func:`build` makes the same dataclass of."""
    return dataclasses.asdict(config)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping that :func:`to_yaml` wrote; ``UserError`` names the file otherwise."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            f"{path} is not readable YAML ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no mapping")
    return {str(key): value for key, value in values.items()}


def to_yaml(values: Mapping[str, Any]) -> str:
    """The text that :func:`read_yaml` reads the same mapping from."""
    return str(yaml.dump(dict(values), Dumper=DUMPER, sort_keys=False, allow_unicode=True))
