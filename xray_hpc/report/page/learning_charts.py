"""Charts of learning curves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from xray_hpc.report.page.chart import (
    OTHERS,
    SHOWN,
    Chart,
    highlighted,
    not_highlighted,
    run_color,
    run_dash,
    run_legend,
    specification,
)
from xray_hpc.report.page.content import PageContent, ShownRuns
from xray_hpc.report.page.table import is_known

WIDTH, HEIGHT = 270, 230
QUANTITIES = {
    "loss": ("Loss (cross-entropy)", {"train_loss": "training", "val_loss": "validation"}),
    "accuracy": ("Accuracy", {"train_accuracy": "training", "val_accuracy": "validation"}),
    "auc": ("AUC", {"val_auc": "validation"}),
}


def learning_charts(content: PageContent, runs: ShownRuns, suffix: str) -> list[Chart]:
    """Return loss, accuracy and validation AUC of the shown runs per epoch."""
    best = {run.name: run.metrics.best_epoch for run in content.runs if run.metrics}
    charts = []
    for quantity, (title, columns) in QUANTITIES.items():
        rows = list(_rows(content.epochs, columns, runs, best))
        if not rows:
            continue
        caption = f"{title} per epoch; the dot is the epoch of the final weights."
        spec = _learning_chart(rows, runs, title, caption)
        charts.append(Chart(f"{quantity}{suffix}", title, caption, spec))
    return charts


def _rows(
    epochs: pd.DataFrame, columns: dict[str, str], runs: ShownRuns, best: dict[str, int]
) -> Iterator[dict[str, Any]]:
    chosen = epochs[epochs["run"].isin(list(runs.labels))]
    for column, split in columns.items():
        if column not in chosen:
            continue
        for run, epoch, value in chosen[["run", "epoch", column]].itertuples(index=False):
            if is_known(value):
                yield {
                    **{"run": runs.labels[run], "split": split, "epoch": int(epoch)},
                    **{"value": round(float(value), 5), "final": int(epoch) == best.get(run)},
                }


def _learning_chart(
    rows: list[dict[str, Any]], runs: ShownRuns, title: str, description: str
) -> dict[str, Any]:
    import altair as alt

    x = alt.X("epoch:Q", title="Epoch", axis=alt.Axis(tickMinStep=1, format="d", tickCount=6))
    x = x.scale(zero=False, nice=False)
    y = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False))
    base = alt.Chart().encode(x=x, y=y)
    grey = not_highlighted(base).mark_line(color=OTHERS, strokeWidth=0.9, opacity=0.7)
    legend = run_legend()
    color, dash = run_color(runs, legend), run_dash(runs, legend)
    lines = highlighted(base).mark_line(strokeWidth=1.8).encode(color=color, strokeDash=dash)
    tooltip = [
        alt.Tooltip("run:N", title="Run"),
        alt.Tooltip("epoch:Q", title="Epoch"),
        alt.Tooltip("value:Q", title=title, format=".4f"),
    ]
    size: Any = alt.condition("datum.final", alt.value(60), alt.value(50))
    opacity: Any = alt.condition("datum.final", alt.value(1), alt.value(0))
    points = (
        highlighted(base)
        .mark_point(filled=True)
        .encode(color=run_color(runs, legend), size=size, opacity=opacity, tooltip=tooltip)
    )
    layers = [grey.encode(detail="run:N"), lines, points]
    chart: Any = alt.layer(*layers, data=alt.NamedData("epochs"))
    chart = chart.properties(width=WIDTH, height=HEIGHT)
    chart = chart.facet(alt.Facet("split:N", title=None, sort=["training", "validation"]))
    return specification(chart, description, {"epochs": rows}, **{SHOWN: runs.highlighted})
