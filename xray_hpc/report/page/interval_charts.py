"""Charts of values with intervals: the ranking, differences, and subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xray_hpc.report.page.chart import (
    ACCENT,
    CONTRAST,
    GUIDE,
    INK,
    MUTED,
    Chart,
    panels,
    specification,
)
from xray_hpc.report.page.content import PageContent, ShownRuns
from xray_hpc.report.page.table import is_known, is_true

if TYPE_CHECKING:
    pass

WIDTH = 430
ROW = 20  # pixels per run
WINNER, TIED, OTHER = "winner", "cannot be told apart", "differs"
GROUPS = (WINNER, TIED, OTHER)
COLORS = (CONTRAST, ACCENT, MUTED)
NO_BOUNDS = {"low": None, "high": None}
SHAPES = ("diamond", "circle", "square")


def ranking_chart(content: PageContent, data: str, runs: ShownRuns, suffix: str) -> Chart | None:
    """Return the test AUC of the shown runs with intervals, in the order of the ranking."""
    ranked = {row["run"]: row for row in content.ranked(data).to_dict("records")}
    rows = []
    for run, label in runs.labels.items():
        row = ranked[run]
        group = WINNER if row["rank"] == 1 else TIED if is_true(row.get("tied")) else OTHER
        validation = {"validation": _value(row, "validation_auc")}
        rows.append(_row(label, group, row, "test_auc") | validation)
    if not any(row["value"] is not None for row in rows):
        return None
    caption = (
        "Test AUC with 95 % intervals clustered by patient, best run by the selection rule first; "
        "the tick is the validation AUC."
    )
    chart = _intervals(runs.domain, "AUC", groups=GROUPS, validation=True)
    spec = specification(chart, caption, {"rows": rows})
    return Chart(f"ranking{suffix}", "Test AUC of the ranked runs", caption, spec)


def difference_chart(content: PageContent, data: str, runs: ShownRuns, suffix: str) -> Chart | None:
    """Return the differences in test AUC between the winner and the other shown runs."""
    pairs = content.comparison.pairs
    pairs = pairs[(pairs["data"] == data) & (pairs["metric"] == "auc")]
    found = {pair["second"]: pair for pair in pairs.to_dict("records")}
    rows = []
    for run, label in runs.labels.items():
        if run in found:
            pair = found[run]
            group = OTHER if bool(pair["distinguishable"]) else TIED
            row = {"run": label, "group": group, "p": _value(pair, "p_holm")}
            rows.append(row | _interval(pair["difference"], pair["low"], pair["high"]))
    if not rows:
        return None
    caption = (
        "Winner minus the other run in test AUC, with 95 % intervals clustered by patient. Blue "
        "circles cannot be told apart from the winner at an adjusted p value (Holm) of 0.05."
    )
    domain = [row["run"] for row in rows]
    title = "Difference in test AUC (above 0: the winner is better)"
    tooltip = [("p:Q", "p (Holm)")]
    chart = _zero_line() + _intervals(domain, title, groups=GROUPS[1:], tooltip=tooltip)
    spec = specification(chart, caption, {"rows": rows})
    return Chart(f"differences{suffix}", "Differences from the winner", caption, spec)


def subgroup_chart(content: PageContent, data: str, run: str, suffix: str) -> Chart | None:
    """Return the winner's metrics on the subgroups of the test images."""
    table = content.comparison.subgroups
    table = table[(table["data"] == data) & (table["run"] == run) & (table["split"] == "test")]
    rows = [
        {
            "run": f"{row['column']}: {row['subgroup']} (n = {row['images']:,.0f})",
            "panel": str(row["metric"]).replace("_", " "),
            "group": TIED,
        }
        | _interval(row["value"], row["low"], row["high"])
        for row in table.to_dict("records")
    ]
    rows = [row for row in rows if row["value"] is not None]
    if not rows:
        return None
    caption = "The winner on subgroups of the test images, with 95 % intervals by patient."
    domain = list(dict.fromkeys(str(row["run"]) for row in rows))
    count = len({row["panel"] for row in rows})
    width = WIDTH if count == 1 else 150
    chart = _intervals(domain, None, width=width)
    chart = chart.facet(panels("panel", rows), columns=3)
    spec = specification(chart, caption, {"rows": rows})
    return Chart(f"subgroups{suffix}", "Subgroups of the test images", caption, spec)


def _row(label: str, group: str, row: Mapping[Any, Any], metric: str) -> dict[str, Any]:
    bounds = (row.get(f"{metric}{part}") for part in ("", "_low", "_high"))
    return {"run": label, "group": group, **_interval(*bounds)}


def _interval(value: Any, low: Any, high: Any) -> dict[str, Any]:
    known = is_known(low) and is_known(high)
    bounds = {"low": _rounded(low), "high": _rounded(high)} if known else NO_BOUNDS
    return {"value": _rounded(value), **bounds}


def _value(row: Mapping[Any, Any], name: str) -> float | None:
    return _rounded(row.get(name))


def _rounded(value: Any) -> float | None:
    return round(float(value), 5) if is_known(value) else None


def _intervals(
    domain: Sequence[str],
    title: str | None,
    *,
    groups: Sequence[str] = (),
    validation: bool = False,
    width: int = WIDTH,
    tooltip: Sequence[tuple[str, str]] = (),
) -> Any:
    """Return points with horizontal intervals, one line for each name in ``domain``."""
    import altair as alt

    x = alt.X("value:Q", title=title, scale=alt.Scale(zero=False))
    y = alt.Y("run:N", sort=list(domain), title=None, axis=alt.Axis(grid=False, ticks=False))
    base = alt.Chart().encode(y=y)
    color: Any = alt.value(ACCENT)
    shape: Any = alt.value("circle")
    if groups:
        legend = alt.Legend(orient="bottom", title=None, symbolStrokeWidth=0)
        colors, shapes = COLORS[-len(groups) :], SHAPES[-len(groups) :]
        scale = alt.Scale(domain=groups, range=colors)
        color = alt.Color("group:N", scale=scale, legend=legend)
        shape = alt.Shape("group:N", scale=alt.Scale(domain=groups, range=shapes), legend=legend)
    rules = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.6)
    rules = rules.encode(x=alt.X("low:Q", title=title), x2="high:Q", color=color)
    points = base.mark_point(filled=True, size=62, opacity=1)
    tips = [
        alt.Tooltip("run:N", title="Run"),
        *(alt.Tooltip(f"{n}:Q", format=".3f", title=n) for n in ("value", "low", "high")),
        *(alt.Tooltip(name, format=".3g", title=head) for name, head in tooltip),
    ]
    points = points.encode(x=x, color=color, shape=shape, tooltip=tips)
    layers = [rules, points]
    if validation:
        ticks = base.transform_filter("isValid(datum.validation)")
        ticks = ticks.mark_tick(color=INK, thickness=1.5, size=11).encode(x="validation:Q")
        layers.insert(0, ticks)
    height = max(ROW * len(domain), 2 * ROW)
    return alt.layer(*layers, data=alt.NamedData("rows")).properties(width=width, height=height)


def _zero_line() -> Any:
    import altair as alt

    line = alt.Chart(alt.InlineData(values=[{"value": 0}]))
    return line.mark_rule(color=GUIDE, strokeDash=[4, 3]).encode(x="value:Q")
