"""Keys of the configuration that hold text, also where a value looks like a number."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from xray_hpc.config.dataclass_conversion import union_members
from xray_hpc.config.run_config import RunSettings
from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.package_folders import resource

SCALARS = frozenset({int, float, bool})


def is_text(key: str, kind: type) -> bool:
    """Return whether a dotted key takes a value as text that was read as an int, float or bool.

    A key that takes true and false as well keeps those. The parameters of a sweep file are
    overrides, so they take null as text, too; so do Hydra's own groups.
    """
    if key == "hydra" or key.startswith(("hydra/", "hydra.sweeper.params.")):
        return True
    types = _text_keys().get(key) or _text_keys().get(f"{key.rpartition('.')[0]}.*")
    return types is not None and kind in types


@functools.cache
def _text_keys() -> dict[str, frozenset[type]]:
    """Return the types that each key takes as text; ``KEY.*`` stands for a mapping's values."""
    found = itertools.chain(_find(RunSettings, ""), _find(SweepSettings, ""))
    groups = [path.name for path in resource("conf").iterdir() if path.is_dir()]
    return dict(found) | dict.fromkeys(groups, SCALARS)


def _find(kind: Any, prefix: str) -> Iterator[tuple[str, frozenset[type]]]:
    for name, hint in typing.get_type_hints(kind).items():
        key, members = f"{prefix}{name}", union_members(hint)
        for member in members:
            origin, arguments = typing.get_origin(member), typing.get_args(member)
            names = origin is Literal and isinstance(arguments[0], str)
            if dataclasses.is_dataclass(member):
                yield from _find(member, f"{key}.")
            elif origin is dict and str in union_members(arguments[1]):
                yield f"{key}.*", SCALARS - ({bool} & {*union_members(arguments[1])})
            elif member in (str, Path) or str in arguments or (names and int not in members):
                yield key, SCALARS
