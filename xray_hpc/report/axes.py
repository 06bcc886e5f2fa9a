"""What the runs of a sweep differ in, and short labels that tell them apart; which is best."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xray_hpc.report.reading import Run

LEARNING_RATE = "train.learning_rate"
UNFREEZE = "model.unfreeze"
SEED = "seed"

# What a run computes; where its files are kept and their hashes are no swept values.
SECTIONS = ("data", "model", "augment", "train", "seed")
SHORT = {LEARNING_RATE: "lr"}


def swept_keys(runs: Iterable[Run]) -> list[str]:
    """Dotted config keys which differ between runs, in the config's order.

    The model's name is left out (it has a column of its own). A run without a readable config
    says nothing.
    """
    configs = [run.config for run in runs if run.config]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [
        key
        for key in keys
        if key.split(".")[0] in SECTIONS
        and key != "model.name"
        and len({repr(config.get(key)) for config in configs}) > 1
    ]


def compared_keys(runs: Sequence[Run]) -> list[str]:
    """The swept keys in which runs of one and the same model differ.

    These are what the sweep compares; the other swept keys follow from the choice of model.
    """
    by_model: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_model[run.model].append(run)
    found = {key for group in by_model.values() for key in swept_keys(group)}
    return [key for key in swept_keys(runs) if key in found]


def short(key: str) -> str:
    """A key's name for table heads and legends: ``train.learning_rate`` is ``lr``."""
    return SHORT.get(key, key.rpartition(".")[2])


def show_value(value: Any) -> str:
    """A config value as the command line has it: ``1e-05``, ``null``, ``true``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def labels(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, str]:
    """A label for each run's name: its model and its values of ``keys``.

    Runs that would share a label get their names added.
    """
    said = {run.name: _label(run.model, run.config, keys) for run in runs}
    times = Counter(said.values())
    return {
        name: label if times[label] == 1 else f"{label} ({name.rpartition('-')[2]})"
        for name, label in said.items()
    }


def _label(model: str, config: Mapping[str, Any], keys: Sequence[str]) -> str:
    values = [
        f"{short(key)} {show_value(config[key])}" for key in keys if config.get(key) is not None
    ]
    return ", ".join([model, *values])


def ranked(runs: Iterable[Run]) -> list[Run]:
    """Finished runs, best first: by validation AUC, then validation loss, then name."""

    def order(run: Run) -> tuple[float, float, str]:
        auc, loss = run.measure("validation", "auc"), run.measure("validation", "loss")
        return (
            float("inf") if auc is None else -auc,
            float("inf") if loss is None else loss,
            run.name,
        )

    return sorted((run for run in runs if run.finished), key=order)
