"""Choose the best run by a metric of its validation images, never by one of its test images.

The default is the log-loss. It is a proper scoring rule: a model lowers it only by better
probabilities, and it still differs between runs whose AUC or accuracy has reached its ceiling. On
chest X-rays whose test images come from elsewhere, no metric of a plain validation split orders
runs as the test does: over 22 fine-tuned models the rank correlation with the test AUC was 0.07 for
validation AUC and 0.05 for log-loss. The report therefore says which runs the test cannot tell
apart from the chosen one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import SEED, run_labels

LOWEST_IS_BEST = ("val_loss", "val_brier")
RULE_TITLES = {
    "val_loss": "validation log-loss",
    "val_brier": "validation Brier score",
    "val_auc": "validation AUC",
    "val_average_precision": "validation average precision",
    "val_accuracy": "validation accuracy",
    "val_balanced_accuracy": "validation balanced accuracy",
    "val_mcc": "validation Matthews correlation",
}
# What a run computes. Where it is stored, and its seed, make no other setting.
SETTING_SECTIONS = ("data", "model", "augment", "train", "inputs")


def rule_metric(rule: str) -> str:
    """Return the metric of a rule: ``loss`` of ``val_loss``."""
    return rule.removeprefix("val_")


def rank_by_setting(
    values: Mapping[str, float], settings: Mapping[str, str], rule: str
) -> list[str]:
    """Return the names of runs, best first.

    Runs that differ only in their seed are one setting. Settings are ordered by the mean of their
    values, so that a lucky seed does not win, and runs within a setting by their own. Undefined
    values come last, equal ones by name.

    Args:
        values: the value of the rule of each run; NaN if undefined.
        settings: the setting of each run.
    """
    sign = 1 if rule in LOWEST_IS_BEST else -1
    members: dict[str, list[float]] = {}
    for name, value in values.items():
        members.setdefault(settings[name], []).append(_last_if_undefined(sign * value))
    means = {setting: float(np.mean(found)) for setting, found in members.items()}

    def order(name: str) -> tuple[float, str, float, str]:
        setting = settings[name]
        return means[setting], setting, _last_if_undefined(sign * values[name]), name

    return sorted(values, key=order)


def setting_labels(runs: Sequence[RunResult], keys: Sequence[str]) -> dict[str, str]:
    """Return the setting of each run, as a label of its model and its values of ``keys``."""
    by_config: dict[frozenset[tuple[str, str]], list[RunResult]] = {}
    for run in runs:
        texts = run.config_texts.items()
        config = frozenset(pair for pair in texts if pair[0].split(".")[0] in SETTING_SECTIONS)
        # Without a readable config a run is a setting of its own.
        by_config.setdefault(config or frozenset({("run", run.name)}), []).append(run)
    labels = run_labels([found[0] for found in by_config.values()], [k for k in keys if k != SEED])
    return {run.name: labels[found[0].name] for found in by_config.values() for run in found}


def _last_if_undefined(value: float) -> float:
    return math.inf if math.isnan(value) else value
