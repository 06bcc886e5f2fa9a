"""Charts of the swept values: the learning-rate and unfreeze map, axes in parallel, importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from xray_hpc.report.lr_unfreeze_grid import Grid, lr_unfreeze_grid
from xray_hpc.report.page.chart import ACCENT, INK, Chart, panels, specification
from xray_hpc.report.page.content import PageContent
from xray_hpc.report.page.table import format_number, is_known
from xray_hpc.report.swept_keys import format_value, short_name

CELL_WIDTH, CELL_HEIGHT = 58, 44
MAX_AXES = 7
MAX_LINES = 300  # of the parallel coordinates, the best
SCHEME: Literal["viridis"] = "viridis"


def map_chart(content: PageContent) -> Chart | None:
    """Return the validation AUC by learning rate and unfreeze depth, if both were swept."""
    grid = lr_unfreeze_grid(content.runs)
    if grid is None:
        return None
    caption = (
        "Validation AUC by learning rate and number of unfrozen layers. A cell is the mean over "
        "the seeds (n is their number), the frame marks the best cell, and empty cells have no "
        "finished run."
    )
    spec = _map(grid, caption)
    return Chart("learning_rate_unfreeze", "Learning rate and unfreeze depth", caption, spec)


def _map(grid: Grid, description: str) -> dict[str, Any]:
    import altair as alt

    rows = [
        {
            **{"panel": panel.title, "depth": format_value(cell.depth)},
            **{"rate": format_value(cell.rate), "auc": round(cell.auc, 5), "runs": cell.runs},
            "text": f"{cell.auc:.3f}",
            "n": f"n = {cell.runs}" if cell.runs > 1 else "",
            "best": cell == panel.best,
        }
        for panel in grid.panels
        for cell in panel.cells
    ]
    aucs = [cell.auc for panel in grid.panels for cell in panel.cells]
    middle = (min(aucs) + max(aucs)) / 2
    rates, flat = [format_value(rate) for rate in grid.rates], alt.Axis(labelAngle=0)
    base = alt.Chart().encode(
        x=alt.X("rate:O", title="Learning rate", sort=rates, axis=flat),
        y=alt.Y("depth:O", title="Unfrozen layers", sort=[format_value(d) for d in grid.depths]),
    )
    legend = alt.Legend(title="AUC", format=".3f", gradientLength=110)
    color = alt.Color("auc:Q", scale=alt.Scale(scheme=SCHEME), legend=legend)
    tooltip = [
        alt.Tooltip("rate:O", title="Learning rate"),
        alt.Tooltip("depth:O", title="Unfrozen layers"),
        alt.Tooltip("auc:Q", title="Validation AUC", format=".4f"),
        alt.Tooltip("runs:Q", title="Runs"),
    ]
    cells = base.mark_rect(stroke="white").encode(color=color, tooltip=tooltip)
    frame = base.transform_filter("datum.best").mark_rect(fill=None, stroke="black", strokeWidth=3)
    ink: Any = alt.condition(f"datum.auc > {middle}", alt.value("black"), alt.value("white"))
    text = base.mark_text(fontSize=12, dy=-1).encode(text="text:N", color=ink)
    number = base.mark_text(fontSize=9.5, dy=12).encode(text="n:N", color=ink)
    chart: Any = alt.layer(cells, frame, text, number, data=alt.NamedData("cells")).properties(
        width=CELL_WIDTH * len(grid.rates), height=CELL_HEIGHT * len(grid.depths)
    )
    columns = max(1, 640 // (CELL_WIDTH * len(grid.rates) + 60))
    chart = chart.facet(panels("panel", rows), columns=columns)
    return specification(chart, description, {"cells": rows})


def swept_columns(ranked: pd.DataFrame) -> list[str]:
    """Return the columns of the ranking with swept values that vary."""
    names = list(ranked.columns)
    first, last = names.index("model"), names.index("seed")
    return [name for name in names[first + 1 : last] if ranked[name].nunique(dropna=False) > 1]


def parallel_chart(content: PageContent, data: str, suffix: str) -> Chart | None:
    """Return the swept values of each run as a line through parallel axes."""
    ranked = content.ranked(data).head(MAX_LINES)
    keys = [key for key in ("model", *swept_columns(ranked)) if ranked[key].nunique() > 1]
    keys = keys[: MAX_AXES - 1]
    if len(keys) < 2 or ranked["selection"].notna().sum() < 2:
        return None
    rule = content.comparison.rule
    axes = [*keys, "selection"]
    heads = {key: short_name(key).replace("_", " ") for key in keys} | {"selection": rule}
    positions = {axis: axis_positions(ranked[axis].tolist()) for axis in axes}
    lines = [
        {
            **{"run": row["label"], "axis": heads[axis], "selection": round(row["selection"], 6)},
            **{"position": positions[axis][axis_text(row[axis])]},
        }
        for row in ranked.to_dict("records")
        for axis in axes
        if is_known(row["selection"])
    ]
    ticks = [
        {"axis": heads[axis], "position": position, "text": text}
        for axis in axes
        for text, position in _labelled(positions[axis], continuous=axis == "selection").items()
    ]
    caption = (
        f"Each line is a run; its color is the value that runs are selected by ({rule}, on "
        "validation images)."
    )
    order = [heads[axis] for axis in axes]
    spec = _parallel(lines, ticks, order, rule, caption)
    return Chart(f"parallel_coordinates{suffix}", "Swept values", caption, spec)


def axis_text(value: Any) -> str:
    """Return the label of a value on its axis."""
    if value is None or value != value:
        return "none"
    return format_value(value)


def axis_positions(values: Sequence[Any]) -> dict[str, float]:
    """Return positions from 0 to 1 on an axis by the text of the value.

    Numbers are evenly spaced in their order up to eight of them, else in proportion; texts are in
    alphabetical order, and a missing value is first.
    """
    known = {axis_text(value): value for value in values}
    numbers = {text: v for text, v in known.items() if is_known(v) and not isinstance(v, bool)}
    if len(numbers) > 8:
        low, high = min(numbers.values()), max(numbers.values())
        span = (high - low) or 1
        spaced = {text: round((v - low) / span, 4) for text, v in numbers.items()}
        return {text: spaced.get(text, 0.0) for text in known}
    texts = sorted(known, key=lambda text: (text in numbers, numbers.get(text, 0), text))
    return {text: round(i / max(len(texts) - 1, 1), 4) for i, text in enumerate(texts)}


def _labelled(positions: Mapping[str, float], *, continuous: bool) -> dict[str, float]:
    """Return the values to label: the extremes of many, else all."""
    if len(positions) <= 8 and not continuous:
        return dict(positions)
    ends = (min(positions, key=positions.__getitem__), max(positions, key=positions.__getitem__))
    return {_short(end): positions[end] for end in ends}


def _short(text: str) -> str:
    try:
        return format_number(float(text))
    except ValueError:
        return text


def _parallel(
    lines: list[dict[str, Any]],
    ticks: list[dict[str, Any]],
    order: list[str],
    rule: str,
    description: str,
) -> dict[str, Any]:
    import altair as alt

    x = alt.X(
        "axis:N",
        sort=order,
        title=None,
        axis=alt.Axis(
            orient="top", labelAngle=0, domain=False, ticks=False, grid=True, labelFontSize=12
        ),
        scale=alt.Scale(type="point", padding=0.4),
    )
    y = alt.Y("position:Q", axis=None, scale=alt.Scale(domain=[-0.03, 1.03]))
    base = alt.Chart().encode(x=x, y=y)
    legend = alt.Legend(title=rule, format=".3f", gradientLength=120)
    color = alt.Color("selection:Q", scale=alt.Scale(scheme=SCHEME, reverse=True), legend=legend)
    line = base.mark_line(strokeWidth=1.6, opacity=0.75).encode(
        color=color, detail="run:N", tooltip=[alt.Tooltip("run:N"), alt.Tooltip("selection:Q")]
    )
    halo = base.mark_text(align="left", dx=6, stroke="white", strokeWidth=4, fontSize=11)
    text = base.mark_text(align="left", dx=6, fontSize=11, color=INK)
    layers = [line.properties(data=alt.NamedData("lines"))]
    layers += [
        mark.encode(text="text:N").properties(data=alt.NamedData("ticks")) for mark in (halo, text)
    ]
    chart = alt.layer(*layers).properties(width=max(110 * len(order), 330), height=240)
    return specification(chart, description, {"lines": lines, "ticks": ticks})


def importance_chart(content: PageContent, data: str, suffix: str) -> Chart | None:
    """Return the importance of each swept key."""
    import altair as alt

    table = content.comparison.importance
    table = table[(table["data"] == data) & table["importance"].notna()]
    if table.empty:
        return None
    rows = [
        {"key": str(row["key"]), "importance": round(float(row["importance"]), 4)}
        for row in table.sort_values("importance", ascending=False, kind="stable").to_dict(
            "records"
        )
    ]
    caption = (
        f"Share of the variance of {content.comparison.rule} over the runs that each swept key "
        "explains."
    )
    base = alt.Chart(alt.NamedData("rows")).encode(
        y=alt.Y("key:N", sort=None, title=None),
        x=alt.X("importance:Q", title="Importance", scale=alt.Scale(domain=[0, 1])),
    )
    bars = base.mark_bar(color=ACCENT, height=14)
    text = base.mark_text(align="left", dx=5, color=INK).encode(
        text=alt.Text("importance:Q", format=".2f")
    )
    chart = alt.layer(bars, text).properties(width=300, height=24 * len(rows) + 8)
    spec = specification(chart, caption, {"rows": rows})
    return Chart(f"importance{suffix}", "Importance of the swept keys", caption, spec)
