"""Select and group runs by their columns and config keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from xray_hpc.errors import ConfigError
from xray_hpc.records.paths import SPLITS
from xray_hpc.records.run_metrics import MEASURES
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.sweep_results import SweepResults
from xray_hpc.report.swept_keys import config_value, format_value
from xray_hpc.run_filter import check_key, parse_filter

SHOWN = ("validation_loss", "validation_auc", "test_auc", "test_accuracy")


def select_runs(results: SweepResults, where: str) -> SweepResults:
    """Return the results of the runs that fulfill the expression ``where``.

    Raises:
        ConfigError: the expression is malformed, has an unknown key, or matches no run.
    """
    wanted = parse_filter(where)
    wanted.check_keys(known_keys(results))

    def keep(run: RunResult, row: Any) -> bool:
        values = {"sweep": results.sweep_of[run.name]} | dict(row)
        return wanted.matches({key: _value(run, values, key) for key in wanted.keys})

    selected = results.where(keep)
    if not selected.results:
        raise ConfigError(f"no run fulfills '{where}'")
    return selected


def known_keys(results: SweepResults) -> list[str]:
    """Return the columns of the runs, and the keys of their configs and overrides."""
    keys = dict.fromkeys(["sweep", *results.run_rows[0]])
    for run in results.results:
        keys |= dict.fromkeys([*run.config, *run.overrides])
    return list(keys)


def group_means(results: SweepResults, keys: Sequence[str]) -> pd.DataFrame:
    """Return the mean and the standard deviation of metrics over finished runs with equal ``keys``.

    The columns are the keys, ``runs``, and ``{split}_{metric}_mean`` and ``..._sd``. The standard
    deviation is that of a sample (n - 1); a single run has none.

    Raises:
        ConfigError: a key is unknown, or no run is finished.
    """
    for key in keys:
        check_key(key, known_keys(results))
    metrics = [f"{split}_{name}" for split in SPLITS for name in MEASURES]
    rows = [
        {f"{i}": format_value(_value(run, row, key)) for i, key in enumerate(keys)}
        | {name: row[name] for name in metrics}
        for run, row in zip(results.results, _with_sweep(results), strict=True)
        if run.finished
    ]
    if not rows:
        raise ConfigError("no run is finished; --by compares finished runs")
    frame = pd.DataFrame(rows)
    frame[metrics] = frame[metrics].astype("float64")
    groups = frame.groupby([f"{i}" for i in range(len(keys))], sort=False)
    columns: dict[str, Any] = {"runs": groups.size()}
    for name in metrics:
        columns[f"{name}_mean"] = groups[name].mean()
        columns[f"{name}_sd"] = groups[name].std()
    found = pd.DataFrame(columns).reset_index()
    return found.rename(columns={f"{i}": key for i, key in enumerate(keys)})


def means_text(means: pd.DataFrame, keys: Sequence[str]) -> str:
    """Return a table of :func:`group_means` for a terminal, with the metrics ``SHOWN``."""
    heads = [*keys, "runs", *SHOWN]
    rows = [
        [
            *(str(row[key]) for key in keys),
            str(row["runs"]),
            *(_spread(row, name) for name in SHOWN),
        ]
        for row in means.to_dict("records")
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    left = len(keys)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in (heads, *rows)
    )


def _spread(row: dict[Any, Any], name: str) -> str:
    mean, deviation = row[f"{name}_mean"], row[f"{name}_sd"]
    if math.isnan(mean):
        return "-"
    return f"{mean:.3f}" + ("" if math.isnan(deviation) else f" ± {deviation:.3f}")


def _with_sweep(results: SweepResults) -> list[dict[str, Any]]:
    return [{"sweep": results.sweep_of[row["run"]]} | row for row in results.run_rows]


def _value(run: RunResult, row: Any, key: str) -> Any:
    return row[key] if key in row else config_value(run, key)
