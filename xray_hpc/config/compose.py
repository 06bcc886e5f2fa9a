"""Composing the configurations of a sweep as Hydra would, at a fraction of its cost.

Hydra reads and merges every YAML file anew for each run (0.17 s). Only the choices of groups decide
which files those are, so each distinct set of choices is composed once. A plain value put in the
place of a plain value needs none of OmegaConf either, unless something else refers to it.
"""

from __future__ import annotations

import functools
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from xray_hpc.config.hydra_app import own_part, to_mapping


def compose_all(
    loader: ConfigLoaderImpl, master: DictConfig, jobs: Sequence[Sequence[str]]
) -> Iterator[tuple[Sequence[str], Mapping[str, Any]]]:
    """Yield each job's overrides and its configuration, a plain mapping with all resolved.

    Raises:
        HydraException: an override does not fit, as Hydra itself would raise it.
    """
    parser = OverridesParser.create(config_loader=loader)
    parsed: dict[str, Override] = {}
    chooses: dict[str, bool] = {}
    bases: dict[tuple[str, ...], _Base] = {}
    for words in jobs:
        for word in words:
            if word not in parsed:
                (parsed[word],) = parser.parse_overrides([word])
                chooses[word] = loader.repository.group_exists(parsed[word].key_or_group)
        groups = [word for word in words if chooses[word]]
        values = [parsed[word] for word in words if not chooses[word]]
        if tuple(groups) not in bases:
            bases[tuple(groups)] = _Base(own_part(loader.load_sweep_config(master, groups)))
        yield words, bases[tuple(groups)].with_values(values)


class _Base:
    """What one set of choices makes, before values are put in."""

    def __init__(self, config: DictConfig) -> None:
        self._config = pickle.dumps(config)  # loading it takes a sixth of OmegaConf's own copy
        self._bases: dict[tuple[str, ...], _Base] = {}
        texts = _texts(OmegaConf.to_container(config, resolve=False))
        inside = [part for text in texts for part in re.findall(r"\$\{([^}]*)", text)]
        named = {name for part in inside for name in re.findall(r"[\w.]+", part)}
        self._referred = {name.strip(".") for name in named}
        self._relative = any(name.startswith(".") for name in named)

    def with_values(self, values: Sequence[Override]) -> dict[str, Any]:
        plain = [value for value in values if self._is_plain(value)]
        others = [value for value in values if value not in plain]
        if not others:
            return self._put_in(plain) or to_mapping(self._applied(values))
        # Those that are more than plain values are mostly the same for all runs of a sweep.
        lines = tuple(value.input_line or "" for value in others)
        if lines not in self._bases:
            self._bases[lines] = _Base(self._applied(others))
        base = self._bases[lines]
        apart = not any(_overlap(_key(one), _key(other)) for one in plain for other in others)
        if apart and all(base._is_plain(value) for value in plain):
            return base.with_values(plain)
        return to_mapping(self._applied(values))

    def _applied(self, values: Sequence[Override]) -> DictConfig:
        """By Hydra's own function, whatever they are."""
        config: DictConfig = pickle.loads(self._config)
        ConfigLoaderImpl._apply_overrides_to_config(list(values), config)
        return config

    def _put_in(self, values: Sequence[Override]) -> dict[str, Any] | None:
        """A copy with plain values in the place of plain values, ``None`` where they are not."""
        made: dict[str, Any] = pickle.loads(self._resolved)
        fits = [_put(made, _key(value).split("."), value.value()) for value in values]
        return made if all(fits) else None

    @functools.cached_property
    def _resolved(self) -> bytes:
        return pickle.dumps(to_mapping(pickle.loads(self._config)))

    def _is_plain(self, override: Override) -> bool:
        """Whether it changes one value that nothing refers to, to one that OmegaConf leaves be."""
        value = override.value()
        changes = not (override.is_add() or override.is_force_add() or override.is_delete())
        simple = value is None or isinstance(value, bool | int | float)
        simple = simple or (isinstance(value, str) and "$" not in value and value != "???")
        return (
            changes
            and simple
            and override.package is None
            and not self._relative
            and re.fullmatch(r"\w+(\.\w+)*", _key(override)) is not None
            and not any(_overlap(_key(override), name) for name in self._referred)
        )


def _key(override: Override) -> str:
    return str(override.key_or_group)


def _texts(value: Any) -> list[str]:
    """The interpolations below ``value``."""
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) and "${" in value else []


def _overlap(one: str, other: str) -> bool:
    """Whether a dotted key is another, or lies above or below it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _put(values: dict[str, Any], keys: Sequence[str], value: Any) -> bool:
    """Put a value in the place of a plain one; give whether there was one."""
    *above, last = keys
    for key in above:
        inner = values.get(key)
        if not isinstance(inner, dict):
            return False
        values = inner
    if last not in values or isinstance(values[last], dict | list):
        return False
    values[last] = value
    return True
