"""Describe every key of the configuration, for its reference page."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from xray_hpc.config.dataclass_conversion import CommaList, default_values, union_members
from xray_hpc.config.run_config import RunSettings
from xray_hpc.config.sweep_settings import SweepSettings

_ENTRY = re.compile(r"^ {4}(\w+)(?: \(([^)]*)\))?: (.*(?:\n {8,}.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class KeyDescription:
    """One key of the configuration.

    Attributes:
        key: Dotted key, as on the command line.
        type: Type of its values; empty for a section.
        unit: Unit of its values, if any.
        default: Default; ``None`` if it is unset or required.
        choices: Names that it accepts, if it does not accept every text.
        meaning: Description, one or two sentences.
    """

    key: str
    type: str
    unit: str
    default: Any
    choices: tuple[str, ...]
    meaning: str


def describe_keys() -> Iterator[KeyDescription]:
    """Yield every key that a user can set, sections before their keys."""
    for kind in (RunSettings, SweepSettings):
        yield from _describe(kind, default_values(kind), "")


def _describe(kind: Any, defaults: dict[str, Any], prefix: str) -> Iterator[KeyDescription]:
    texts, hints = attribute_texts(kind), typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        members = union_members(hints[item.name])
        section = next((member for member in members if dataclasses.is_dataclass(member)), None)
        unit, meaning = texts[item.name]
        key, default = f"{prefix}{item.name}", defaults[item.name]
        if section is None:
            names = [member for member in members if typing.get_origin(member) is Literal]
            choices = tuple(str(value) for name in names for value in typing.get_args(name))
            kinds = " | ".join(_type_name(member) for member in members)
            yield KeyDescription(key, kinds, unit, default, choices, meaning)
        else:
            yield KeyDescription(key, "", unit, None, (), meaning)
            yield from _describe(section, default, f"{key}.")


def attribute_texts(kind: Any) -> dict[str, tuple[str, str]]:
    """Return the unit and the meaning of a dataclass's fields, from its ``Attributes`` sections."""
    texts: dict[str, tuple[str, str]] = {}
    for base in reversed(kind.__mro__):
        _, _, section = inspect.cleandoc(base.__doc__ or "").partition("\nAttributes:\n")
        for name, unit, meaning in _ENTRY.findall(section):
            texts[name] = (unit, " ".join(meaning.split()))
    return texts


def _type_name(member: Any) -> str:
    """Return a type as a user writes its values."""
    origin = typing.get_origin(member)
    if origin is Literal:
        return {str: "name", int: "integer"}[type(typing.get_args(member)[0])]
    names = {int: "integer", float: "number", str: "text", bool: "true/false", dict: "mapping"}
    names |= {tuple: "list", CommaList: "list", type(None): "null"}
    return names.get(origin or member, "path")
