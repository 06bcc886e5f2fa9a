"""Charts of confusion matrices and calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from xray_hpc.report.page.chart import (
    ACCENT,
    CONTRAST,
    GUIDE,
    Chart,
    panels,
    specification,
    wrapped,
)
from xray_hpc.report.page.content import PageContent, ShownRuns
from xray_hpc.report.page.table import is_known

MAX_MATRICES = 6
MAX_CLASSES_WITH_TEXT = 12
MAX_RELIABILITY = 4
SCALINGS = {False: "as trained", True: "temperature-scaled"}


def confusion_chart(content: PageContent, runs: ShownRuns, suffix: str) -> Chart | None:
    """Return the confusion matrices of the best runs on the test images."""
    table = content.comparison.confusion
    table = table[(table["split"] == "test") & table["rule"].isin(["fixed", ""])]
    best = [run for run in runs.labels if (table["run"] == run).any()][:MAX_MATRICES]
    if not best:
        return None
    rows = [row for run in best for row in _matrix(table[table["run"] == run], runs.labels[run])]
    caption = (
        "Confusion matrices of the best runs on the test images at the fixed threshold. Rows are "
        "true classes, columns predicted classes; the shade is the share of the row."
    )
    spec = _confusion(rows, caption)
    return Chart(f"confusion_test{suffix}", "Confusion matrices, test images", caption, spec)


def _matrix(table: pd.DataFrame, label: str) -> Iterator[dict[str, Any]]:
    totals = table.groupby("true", sort=False)["images"].sum()
    for row in table.to_dict("records"):
        total = int(totals[row["true"]])
        share = int(row["images"]) / total if total else 0.0
        yield {
            **{
                "run": wrapped(label, 28),
                "true": str(row["true"]),
                "predicted": str(row["predicted"]),
            },
            **{"images": int(row["images"]), "share": round(share, 4)},
        }


def _confusion(rows: list[dict[str, Any]], description: str) -> dict[str, Any]:
    import altair as alt

    classes = list(dict.fromkeys(row["true"] for row in rows))
    names = alt.Axis(labelAngle=0 if len(classes) <= 4 else -90, labelLimit=110, ticks=False)
    base = alt.Chart().encode(
        x=alt.X("predicted:N", sort=classes, title="Predicted", axis=names),
        y=alt.Y("true:N", sort=classes, title="True", axis=alt.Axis(labelLimit=110, ticks=False)),
    )
    legend = alt.Legend(title="Share", format=".0%", gradientLength=90)
    color = alt.Color("share:Q", scale=alt.Scale(scheme="blues", domain=[0, 1]), legend=legend)
    tooltip = [
        *(alt.Tooltip(f"{name}:N", title=name) for name in ("run", "true", "predicted")),
        alt.Tooltip("images:Q", title="images", format=","),
        alt.Tooltip("share:Q", title="share of the true class", format=".1%"),
    ]
    layers: list[Any] = [base.mark_rect(stroke="white").encode(color=color, tooltip=tooltip)]
    ink: Any = alt.condition("datum.share > 0.55", alt.value("white"), alt.value("black"))
    few = len(classes) <= 6
    if len(classes) <= MAX_CLASSES_WITH_TEXT:
        count = base.mark_text(fontSize=13 if few else 9, dy=-6 if few else 0)
        layers.append(count.encode(text=alt.Text("images:Q", format=","), color=ink))
    if few:
        share = base.mark_text(fontSize=10, dy=10)
        layers.append(share.encode(text=alt.Text("share:Q", format=".1%"), color=ink))
    side = (84 if len(classes) == 2 else 66 if few else 26) * len(classes)
    chart: Any = alt.layer(*layers, data=alt.NamedData("cells"))
    chart = chart.properties(width=side, height=side)
    columns = max(1, min(3, 660 // (side + 100)))
    chart = chart.facet(panels("run", rows), columns=columns)
    return specification(chart, description, {"cells": rows})


def reliability_chart(content: PageContent, runs: ShownRuns, suffix: str) -> Chart | None:
    """Return reliability diagrams of the best runs on test images, before and after scaling."""
    table = content.comparison.reliability
    table = table[(table["split"] == "test") & (table["images"] > 0)]
    best = [run for run in runs.labels if (table["run"] == run).any()][:MAX_RELIABILITY]
    if not best:
        return None
    rows = [
        {
            **{"run": wrapped(runs.labels[run], 40), "scaled": SCALINGS[bool(row["scaled"])]},
            **{"x": round(row["mean_score"], 4), "y": round(row["positive_share"], 4)},
            "low": round(row["positive_low"], 4) if is_known(row["positive_low"]) else None,
            "high": round(row["positive_high"], 4) if is_known(row["positive_high"]) else None,
            "images": int(row["images"]),
        }
        for run in best
        for row in table[table["run"] == run].to_dict("records")
    ]
    caption = (
        "Share of positive images by mean score on the test images, with 95 % intervals; on the "
        "diagonal the scores are calibrated. The temperature was fitted on validation images."
    )
    spec = _reliability(rows, caption)
    return Chart(f"calibration_test{suffix}", "Reliability, test images", caption, spec)


def _reliability(rows: list[dict[str, Any]], description: str) -> dict[str, Any]:
    import altair as alt

    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2f")
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("x:Q", title="Mean score", scale=scale, axis=axis)
    y = alt.Y("y:Q", title="Share of positive images", scale=scale, axis=axis)
    domain = list(SCALINGS.values())
    legend = alt.Legend(orient="bottom", title=None, symbolSize=90)
    color = alt.Color(
        "scaled:N", scale=alt.Scale(domain=domain, range=[CONTRAST, ACCENT]), legend=legend
    )
    shapes = alt.Scale(domain=domain, range=["circle", "triangle-up"])
    dashes = alt.Scale(domain=domain, range=[[1, 0], [5, 3]])
    base = alt.Chart().encode(x=x, color=color)
    diagonal = alt.Chart(alt.InlineData(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
    diagonal = diagonal.mark_line(color=GUIDE, strokeWidth=1, strokeDash=[4, 3])
    rules = base.mark_rule(strokeWidth=1).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    lines = base.mark_line(strokeWidth=1.6).encode(
        y=y, strokeDash=alt.StrokeDash("scaled:N", scale=dashes, legend=legend)
    )
    points = base.mark_point(filled=True, size=55, opacity=1).encode(
        y=y,
        shape=alt.Shape("scaled:N", scale=shapes, legend=legend),
        tooltip=[
            alt.Tooltip("scaled:N", title="scores"),
            alt.Tooltip("x:Q", title="mean score", format=".3f"),
            alt.Tooltip("y:Q", title="share of positives", format=".3f"),
            alt.Tooltip("images:Q", title="images", format=","),
        ],
    )
    layers = [diagonal.encode(x="x:Q", y="y:Q"), rules, lines, points]
    chart: Any = alt.layer(*layers, data=alt.NamedData("bins")).properties(width=250, height=250)
    chart = chart.facet(panels("run", rows), columns=2)
    return specification(chart, description, {"bins": rows})
