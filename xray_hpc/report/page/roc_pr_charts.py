"""Charts of ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xray_hpc.records.paths import SPLITS
from xray_hpc.report.page.chart import (
    GUIDE,
    OTHERS,
    SHOWN,
    Chart,
    highlighted,
    not_highlighted,
    panels,
    run_color,
    run_dash,
    run_legend,
    specification,
)
from xray_hpc.report.page.content import PageContent, ShownRuns
from xray_hpc.report.page.curves import thin_curve
from xray_hpc.report.page.table import format_interval

if TYPE_CHECKING:
    pass

SIDE = 290  # pixels of a panel of two classes
CLASS_SIDE = 210  # pixels of a panel of one of several classes
MAX_PANELS = 6
AVERAGE = " average"  # of the one-vs-rest curves of several classes; these panels come first
TICKS = [0, 0.2, 0.4, 0.6, 0.8, 1]


def roc_pr_charts(content: PageContent, runs: ShownRuns, suffix: str) -> list[Chart]:
    """Return the ROC and precision-recall curves of the shown runs, test images first."""
    charts = []
    for split in reversed(SPLITS):
        labels = _legend_labels(content, runs, split, "auc")
        if rows := list(_roc_rows(content.roc, runs, split)):
            caption = f"ROC curves on the {split} images, with the AUC; the dashed line is chance."
            spec = _curves(rows, runs, labels, roc=True, description=caption)
            charts.append(Chart(f"roc_{split}{suffix}", f"ROC, {split} images", caption, spec))
        if rows := list(_pr_rows(content.comparison.pr, runs, split)):
            labels = _legend_labels(content, runs, split, "average_precision")
            caption = f"Precision-recall curves on the {split} images, with the average precision."
            spec = _curves(rows, runs, labels, roc=False, description=caption)
            title = f"Precision-recall, {split} images"
            charts.append(Chart(f"pr_{split}{suffix}", title, caption, spec))
    return charts


def _roc_rows(roc: pd.DataFrame, runs: ShownRuns, split: str) -> Iterator[dict[str, Any]]:
    for (run, score_of), points in _curves_of(roc, runs, split):
        x, y, thresholds = (points[name].to_numpy() for name in ("fpr", "tpr", "thresholds"))
        yield from _rows(runs.labels[run], score_of, x, y, thresholds)


def _pr_rows(pr: pd.DataFrame, runs: ShownRuns, split: str) -> Iterator[dict[str, Any]]:
    for (run, score_of), points in _curves_of(pr, runs, split):
        ordered = points.sort_values(["recall", "threshold"], ascending=[False, True])
        x, y, thresholds = (ordered[n].to_numpy() for n in ("recall", "precision", "threshold"))
        yield from _rows(runs.labels[run], score_of, x, y, thresholds)


def _curves_of(
    points: pd.DataFrame, runs: ShownRuns, split: str
) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield the points of each shown run and class; the better run first."""
    chosen = points[(points["split"] == split) & points["run"].isin(list(runs.labels))]
    chosen = chosen.astype({"run": object, "score_of": object})  # they may be categories
    chosen = chosen.fillna({"score_of": ""})
    names = dict.fromkeys(chosen["score_of"])
    classes = sorted(names, key=lambda name: not str(name).endswith(AVERAGE))[:MAX_PANELS]
    by_run = dict(iter(chosen.groupby("run", sort=False)))
    for run in runs.labels:
        for score_of in classes if run in by_run else ():
            found = by_run[run][by_run[run]["score_of"] == score_of]
            if len(found):
                yield (run, str(score_of)), found


def _rows(
    run: str, score_of: str, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], thresholds: Any
) -> Iterator[dict[str, Any]]:
    for order, i in enumerate(thin_curve(x, y)):
        threshold = float(thresholds[i])
        yield {
            **{"run": run, "class": score_of, "i": order},
            **{"x": round(float(x[i]), 4), "y": round(float(y[i]), 4)},
            "threshold": round(threshold, 4) if np.isfinite(threshold) else None,
        }


def _legend_labels(
    content: PageContent, runs: ShownRuns, split: str, metric: str
) -> dict[str, str]:
    """Return the legend's text for each label: the metric, its interval, and the label."""
    table = content.comparison.metrics
    table = table[(table["split"] == split) & (table["metric"] == metric) & (table["rule"] == "")]
    found = table.drop_duplicates("run").set_index("run")[["value", "low", "high"]]
    known = {run: tuple(found.loc[run]) for run in runs.labels if run in found.index}
    return {
        label: f"{format_interval(*known[run])}  {label}" if run in known else label
        for run, label in runs.labels.items()
    }


def _curves(
    rows: list[dict[str, Any]],
    runs: ShownRuns,
    labels: dict[str, str],
    *,
    roc: bool,
    description: str,
) -> dict[str, Any]:
    import altair as alt

    several = len({row["class"] for row in rows}) > 1
    side = CLASS_SIDE if several else SIDE
    names = ("False positive rate", "True positive rate") if roc else ("Recall", "Precision")
    base = alt.Chart().encode(
        x=_axis(alt.X("x:Q"), names[0]), y=_axis(alt.Y("y:Q"), names[1]), order="i:Q"
    )
    interpolate: Any = "linear" if roc else "step-after"
    grey = not_highlighted(base).mark_line(
        color=OTHERS, strokeWidth=0.9, opacity=0.7, interpolate=interpolate
    )
    legend = run_legend()
    legend.labelExpr = "labels[datum.label] || datum.label"
    lines = highlighted(base).mark_line(strokeWidth=1.9, interpolate=interpolate)
    lines = lines.encode(color=run_color(runs, legend), strokeDash=run_dash(runs, legend))
    points = highlighted(base).mark_point(opacity=0, size=50, filled=True)
    tooltip = [
        alt.Tooltip("run:N", title="Run"),
        alt.Tooltip("x:Q", title=names[0], format=".3f"),
        alt.Tooltip("y:Q", title=names[1], format=".3f"),
        alt.Tooltip("threshold:Q", title="Threshold", format=".3f"),
    ]
    layers = [grey.encode(detail="run:N"), lines, points.encode(detail="run:N", tooltip=tooltip)]
    if roc:
        layers.insert(0, _chance())
    chart: Any = alt.layer(*layers, data=alt.NamedData("curves")).properties(
        width=side, height=side
    )
    if several:
        chart = chart.facet(panels("class", rows), columns=3)
    shown = {SHOWN: runs.highlighted, "labels": labels}
    return specification(chart, description, {"curves": rows}, **shown)


def _axis(channel: Any, title: str) -> Any:
    import altair as alt

    return channel.title(title).scale(domain=[0, 1]).axis(alt.Axis(values=TICKS, format=".1f"))


def _chance() -> Any:
    import altair as alt

    line = alt.Chart(alt.InlineData(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
    return line.mark_line(color=GUIDE, strokeWidth=1, strokeDash=[4, 3]).encode(x="x:Q", y="y:Q")
