"""Rank the runs of a data set, and summarize the seeds of each setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from xray_hpc.records.paths import SPLITS
from xray_hpc.report.metric_table import wide_metrics
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.selection import rank_by_setting, rule_metric, setting_labels
from xray_hpc.report.swept_keys import SEED, config_value

HEAD = ("data", "rank", "run", "label", "setting", "model")


def ranking_table(
    data: str,
    runs: Sequence[RunResult],
    metrics: pd.DataFrame,
    labels: Mapping[str, str],
    keys: Sequence[str],
    rule: str,
) -> pd.DataFrame:
    """Return the table ``ranking`` without the comparison of pairs.

    Args:
        runs: the finished runs of the data set.
        metrics: its rows of the table ``metrics``.
        labels: the label of each run.
        keys: the swept keys.
        rule: the selection rule.
    """
    wide = wide_metrics(metrics)
    column = f"validation_{rule_metric(rule)}"
    values = wide[column] if column in wide else pd.Series(np.nan, index=wide.index)
    selection = {run.name: float(values.get(run.name, np.nan)) for run in runs}
    settings = setting_labels(runs, keys)
    order = rank_by_setting(selection, settings, rule)
    by_name = {run.name: run for run in runs}
    ranked = [by_name[name] for name in order]
    columns = {
        "data": data,
        "rank": np.arange(1, len(order) + 1),
        "run": order,
        "label": [labels[name] for name in order],
        "setting": [settings[name] for name in order],
        "model": [run.model for run in ranked],
        **{key: [config_value(run, key) for run in ranked] for key in keys if key != SEED},
        "seed": [config_value(run, SEED) for run in ranked],
        "selection": [selection[name] for name in order],
    }
    return pd.DataFrame(columns).join(wide, on="run")


def with_pairs(ranking: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Add ``tied``, and ``difference`` and ``p_holm`` of the test AUC to the winner's."""
    areas = pairs[pairs["metric"] == "auc"].set_index("second")
    found = areas.reindex(ranking["run"])
    distinguishable = found["distinguishable"].to_numpy()
    compared = ranking["run"].isin(areas.index).to_numpy()
    return ranking.assign(
        tied=compared & ~np.equal(distinguishable, True),
        difference=-found["difference"].to_numpy(dtype=float) + 0.0,
        p_holm=found["p_holm"].to_numpy(dtype=float),
    )


def setting_table(ranking: pd.DataFrame) -> pd.DataFrame:
    """Return the mean and standard deviation over the seeds of each setting, best first.

    It is empty if no setting has several runs. The standard deviation has ``n - 1`` degrees of
    freedom, and is empty for one run.
    """
    metrics = [
        name
        for name in map(str, ranking.columns)
        if name.startswith(tuple(f"{split}_" for split in SPLITS))
        and not name.endswith(("_low", "_high"))
    ]
    groups = ranking.groupby("setting", sort=False)
    heads = groups.agg(
        data=("data", "first"),
        runs=("run", "size"),
        seeds=("seed", lambda found: "; ".join(str(seed) for seed in sorted(found.dropna()))),
    )
    if heads["runs"].max() < 2:
        return pd.DataFrame()
    columns = {}
    for metric in metrics:
        columns[f"{metric}_mean"] = groups[metric].mean()
        columns[f"{metric}_sd"] = groups[metric].std(ddof=1)
    table = heads.join(pd.DataFrame(columns)).reset_index()
    return table[["data", "setting", "runs", "seeds", *columns]]
