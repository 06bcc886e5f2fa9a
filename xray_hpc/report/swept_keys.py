"""Find the config keys in which the runs of a sweep differ, and label runs by them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from xray_hpc.config.sweep_settings import decides_result
from xray_hpc.report.run_result import RunResult

LEARNING_RATE = "train.learning_rate"
UNFREEZE = "model.unfreeze"
SEED = "seed"
EXPERIMENT = "experiment"

# Sections that define what a run computes. Paths and input hashes are not swept values.
SECTIONS = ("data", "model", "augment", "train", "seed")
# Overrides that do not describe a run: where it is executed and stored. The model has its own
# column, and the axes of a `sweep` file are overrides themselves.
IGNORED_OVERRIDES = ("cluster", "results", "cache", "name", "hydra", "sweep", "model")
# An override without a dot selects a config group. These groups set only keys below them; others,
# such as an experiment or a data set (which brings a scale), may set any key.
OWN_SECTION_ONLY = ("augment", "train", "seed")
SHORT_NAMES = {LEARNING_RATE: "lr"}
VIEWS = "augment.views"  # null in config.yaml: new views in each epoch
FEATURES = "train.features"  # resolved from the model; changes no result that is shown


def swept_keys(runs: Sequence[RunResult]) -> list[str]:
    """Return what the runs differ in: config groups first, then dotted keys in config order.

    The model's name is left out, because it has a column of its own. Runs without a readable
    config are ignored.
    """
    known = [run for run in runs if run.config]
    differing = _differing_keys(known)
    overrides = _swept_overrides(known, differing)
    return [*(key for key in overrides if key not in differing), *differing]


def compared_keys(runs: Sequence[RunResult]) -> list[str]:
    """Return the :func:`swept_keys` that the command line varied.

    Also returned are keys that differ between runs of the same model and the same overrides, for
    example because a file in ``conf/`` changed before the sweep was resumed.
    """
    known = [run for run in runs if run.config]
    differing = _differing_keys(known)
    overrides = _swept_overrides(known, differing)
    groups = [key for key in overrides if key not in differing]
    return groups + [
        key
        for key in differing
        if key in overrides or (key != FEATURES and _is_unexplained(key, known, overrides))
    ]


def config_value(run: RunResult, key: str) -> Any:
    """Return the run's value of a config key or its option of a config group.

    ``None`` means that the key does not apply to the run. A run without a config has the value of
    its planned overrides.
    """
    value, override = run.config.get(key), run.overrides.get(key)
    if key == VIEWS and key in run.config and value is None:
        return "per_epoch"
    if value is not None or (key in run.config and override != "null"):
        return value
    return override


def _differing_keys(runs: Sequence[RunResult]) -> list[str]:
    texts = [run.config_texts for run in runs]
    # Set operations skip the keys that all runs share, which are nearly all in a large sweep.
    candidates = {key for text in texts for key, _ in text.items() ^ texts[0].items()}
    return [
        key
        for key in dict.fromkeys(key for run in runs for key in run.config)
        if key in candidates
        and key.split(".")[0] in SECTIONS
        and key != "model.name"
        and decides_result(key)
        and len({text.get(key, "None") for text in texts}) > 1
    ]


def _swept_overrides(runs: Sequence[RunResult], differing: Sequence[str]) -> list[str]:
    """Return override keys whose values differ between runs and change their configs."""
    return [
        override
        for override in dict.fromkeys(override for run in runs for override in run.overrides)
        if (override.startswith("model.") or override.split(".")[0] not in IGNORED_OVERRIDES)
        and decides_result(override)
        and len({run.overrides.get(override) for run in runs}) > 1
        and any(_may_set(override, key) for key in differing)
    ]


def _may_set(override: str, key: str) -> bool:
    if "." in override or override in OWN_SECTION_ONLY:
        return key == override or key.startswith(f"{override}.")
    return True


def _is_unexplained(key: str, runs: Sequence[RunResult], overrides: Sequence[str]) -> bool:
    """Return whether ``key`` differs between runs of equal model and equal relevant overrides."""
    relevant = [override for override in overrides if _may_set(override, key)]
    values = defaultdict(set)
    for run in runs:
        group = (run.model, *(run.overrides.get(override) for override in relevant))
        values[group].add(run.config_texts.get(key, "None"))
    return any(len(distinct) > 1 for distinct in values.values())


def short_name(key: str) -> str:
    """Return a key's name in table heads and legends: ``lr`` for ``train.learning_rate``."""
    return SHORT_NAMES.get(key, key.rpartition(".")[2])


def format_value(value: Any) -> str:
    """Format a config value as on the command line: ``1e-05``, ``null``, ``true``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def run_labels(runs: Sequence[RunResult], keys: Sequence[str]) -> dict[str, str]:
    """Return a unique label for each run's name: its model and its values of ``keys``.

    An experiment appears by its name alone, or not at all if the model has the same name. The hash
    of the run is appended where labels would be equal.
    """
    labels = {run.name: _label(run, keys) for run in runs}
    counts = Counter(labels.values())
    return {
        name: label if counts[label] == 1 else f"{label} ({name.rpartition('-')[2]})"
        for name, label in labels.items()
    }


def _label(run: RunResult, keys: Sequence[str]) -> str:
    parts = [run.model]
    for key in keys:
        value = config_value(run, key)
        if value is None or (key == EXPERIMENT and value == run.model):
            continue
        parts.append(value if key == EXPERIMENT else f"{short_name(key)} {format_value(value)}")
    return ", ".join(parts)
