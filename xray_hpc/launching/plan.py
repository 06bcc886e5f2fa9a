"""The plan of a sweep: its settings and its distinct runs, checked before anything is written."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xray_hpc.config.secret_values import mask_override
from xray_hpc.config.sweep_settings import RUN_KEYS, SWEEP_KEYS, SweepSettings, read_sweep_settings
from xray_hpc.errors import ConfigError
from xray_hpc.features.feature_plan import distinct_extractors, group_by_pass
from xray_hpc.launching.resolve_run import RunResolver
from xray_hpc.records.frozen_run import FrozenRun
from xray_hpc.records.paths import SweepPaths


@dataclass(frozen=True)
class Plan:
    """The distinct runs of a sweep and where they run.

    Attributes:
        settings: Cluster, folders and name of the sweep.
        runs: The distinct runs.
        overrides: The overrides of each run, by its name, without secrets.
        notes: Messages about combinations that describe the same run.
        combinations: The run name of each combination, in the order given.
        cached_bytes: Size of the features that each run caches, by its name; empty for a sweep
            that is resumed.
        unreadable: Runs of a sweep that is resumed whose configuration is damaged, so that they
            cannot be started.
    """

    settings: SweepSettings
    runs: tuple[FrozenRun, ...]
    overrides: Mapping[str, list[str]]
    notes: tuple[str, ...] = ()
    combinations: tuple[str, ...] = ()
    cached_bytes: Mapping[str, int] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()

    @functools.cached_property
    def sweep(self) -> SweepPaths:
        """The paths of the sweep."""
        return SweepPaths(self.settings.folder)

    def select(self, names: Iterable[str]) -> list[FrozenRun]:
        """Return the runs with these names, in the order of the plan."""
        wanted = set(names)
        return [run for run in self.runs if run.name in wanted]


def make_plan(
    composed: Iterable[tuple[Sequence[str], Mapping[str, Any]]],
    *,
    default_name: str,
    training: bool = True,
) -> Plan:
    """Check every composed configuration and return the plan of the sweep.

    Args:
        composed: The overrides of each combination and its configuration as a plain mapping.
        default_name: Name of the sweep if the configuration leaves it unset.
        training: Whether the runs will be trained; a batch must then fit into their images.

    Raises:
        ConfigError: A configuration is invalid, the combinations differ in a setting of the
            sweep, or there are none.
        DataError: The images or the weights cannot be read.
    """
    jobs = iter(composed)
    if (first := next(jobs, None)) is None:
        raise ConfigError("the sweep is empty; give it at least one value")
    settings, shared = read_sweep_settings(first[1], default_name), _sweep_part(first[1])
    resolver = RunResolver(settings.cache)
    runs: dict[str, FrozenRun] = {}
    run_overrides: dict[str, list[str]] = {}
    ignored_keys: dict[str, dict[str, None]] = {}
    by_model: dict[str, list[str]] = {}
    combinations: list[str] = []
    for overrides, values in itertools.chain([first], jobs):
        if _sweep_part(values) != shared:
            keys = f"{', '.join(SWEEP_KEYS)} apply to the whole sweep and cannot be swept"
            raise ConfigError(f"{keys}; launch once per value")
        run, ignored = resolver.resolve(values)
        if training:
            resolver.check_batch(run)
        model = run.config.model.name
        ignored_keys.setdefault(model, {}).update(dict.fromkeys(_overridden(overrides, ignored)))
        by_model.setdefault(model, []).append(run.name)
        combinations.append(run.name)
        runs.setdefault(run.name, run)
        run_overrides.setdefault(run.name, list(map(mask_override, overrides)))
    return Plan(
        settings,
        tuple(runs.values()),
        run_overrides,
        tuple(_notes(by_model, ignored_keys)),
        tuple(combinations),
        {name: resolver.cached_bytes(run) for name, run in runs.items()},
    )


def _sweep_part(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in RUN_KEYS}


def _overridden(overrides: Sequence[str], ignored: Sequence[str]) -> Iterator[str]:
    """Yield the keys that the overrides set and that have no effect."""
    for override in overrides:
        key = override.split("=")[0].lstrip("+")
        if any(f"{key}.".startswith(f"{name}.") for name in ignored):
            yield key


def _notes(
    combinations: Mapping[str, Sequence[str]], ignored: Mapping[str, Iterable[str]]
) -> Iterator[str]:
    """Yield, per model, which keys it ignores and how many combinations are the same run."""
    for model, names in combinations.items():
        keys = list(ignored[model])
        why = f"{' and '.join(keys)} {'do' if len(keys) > 1 else 'does'} not apply to {model}"
        distinct = len(set(names))
        if distinct < len(names):
            same = f"{len(names)} combinations make {distinct} run{'s' if distinct > 1 else ''}"
            yield f"{why}: {same}" if keys else f"{same} of {model}; the others are duplicates"
        elif keys:
            yield f"{why}; ignored"


def data_sets(plan: Plan, names: Sequence[str]) -> list[str]:
    """Return the folder of one run for each distinct image store that the runs read."""
    first: dict[object, str] = {}
    for run in plan.select(names):
        stored = dataclasses.replace(run.config.data, crop=1.0)  # images are stored uncropped
        first.setdefault((stored, run.inputs.data), str(plan.sweep.run(run.name).folder))
    return list(first.values())


def shared_extractors(plan: Plan, names: Sequence[str]) -> list[str]:
    """Return the folder of one run for each feature extractor to compute before the runs.

    Empty unless two of the runs share a pass over the images: a single run computes its features
    itself.
    """
    groups = [group for group in group_by_pass(plan.select(names)) if len(group) > 1]
    runs = itertools.chain.from_iterable(map(distinct_extractors, groups))
    return [str(plan.sweep.run(run.name).folder) for run in runs]
