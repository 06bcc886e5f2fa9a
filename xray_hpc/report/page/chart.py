"""The charts of the page: their common style, and their Vega-Lite specifications."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xray_hpc.printable import printable_lines
from xray_hpc.report.page.content import ShownRuns

if TYPE_CHECKING:
    import altair as alt

Rows = Sequence[Mapping[str, Any]]

# The palette of Okabe and Ito (2008), with Paul Tol's wine instead of yellow, which is faint on
# white. The dashes distinguish runs of the same color, and lines printed in grey.
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#000000", "#882255"),
)
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
INK, MUTED, GUIDE, OTHERS = "#1F2933", "#52606D", "#8A94A0", "#BCC4CD"
ACCENT, CONTRAST = PALETTE[0], PALETTE[1]
SHOWN = "shown"
"""The parameter with the labels of the highlighted runs, which the page's script sets."""

# vl-convert brings Liberation Sans; browsers without it have Arial, which has the same metrics.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
CONFIG: dict[str, Any] = {
    "background": "white",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        **{"gridColor": "#E4E7EB", "domainColor": GUIDE, "tickColor": GUIDE},
        **{"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 12},
        **{"titleFontWeight": "normal", "labelLimit": 320},
    },
    "legend": {
        **{"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 11},
        **{"labelLimit": 320, "symbolStrokeWidth": 2.5, "symbolSize": 220},
        "titleFontWeight": "normal",
    },
    "header": {
        **{"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "labelLimit": 240},
        "titleFontWeight": "normal",
    },
    # One font: vl-convert writes two in any order, and equal charts give equal bytes.
    "title": {"color": INK, "fontSize": 13, "anchor": "start", "fontWeight": "normal"},
}


@dataclass(frozen=True)
class Chart:
    """A chart of the page, and a figure in ``figures/``.

    Attributes:
        name: name of the file without suffix, and the element's id.
        title: heading of the chart.
        caption: what it shows, in one or two sentences.
        spec: the Vega-Lite specification.
    """

    name: str
    title: str
    caption: str
    spec: Mapping[str, Any]


def specification(
    chart: alt.TopLevelMixin,
    description: str,
    datasets: Mapping[str, Rows],
    **parameters: Any,
) -> dict[str, Any]:
    """Return the Vega-Lite specification of an Altair chart, the same for the same chart.

    Its texts are printable: vl-convert aborts the process at characters that XML lacks.

    Args:
        chart: a chart whose data are names (``alt.NamedData``).
        description: the text for readers who do not see the chart.
        datasets: the data by name.
        parameters: values that expressions of the chart name.
    """
    spec: dict[str, Any] = chart.to_dict()
    # Altair's own settings are a theme that a notebook of the same process may have changed.
    spec["config"] = CONFIG
    spec["description"] = description
    # Beside those of InlineData, to which Altair gives their hashes as names.
    spec.setdefault("datasets", {}).update({name: list(rows) for name, rows in datasets.items()})
    spec["padding"] = 6
    if parameters:  # set here, because Altair copies a chart several times to add them
        spec["params"] = [{"name": name, "value": value} for name, value in parameters.items()]
    printed: dict[str, Any] = _printable(spec)
    return printed


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable_lines(value)
    if isinstance(value, dict):
        return {printable_lines(str(key)): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value


def run_color(runs: ShownRuns, legend: alt.Legend | None) -> alt.Color:
    """Return the encoding of the field ``run`` as a color that is the same in all charts."""
    import altair as alt

    colors = [PALETTE[i % len(PALETTE)] for i in range(len(runs.labels))]
    return alt.Color(
        "run:N", scale=alt.Scale(domain=runs.domain, range=colors), legend=legend, title=None
    )


def run_dash(runs: ShownRuns, legend: alt.Legend | None) -> alt.StrokeDash:
    """Return the encoding of the field ``run`` as a dash pattern, the same in all charts."""
    import altair as alt

    # Neighbours differ, because their colors may look alike in grey; runs of the same color do too.
    dashes = [DASHES[(i + i // len(PALETTE)) % len(DASHES)] for i in range(len(runs.labels))]
    return alt.StrokeDash(
        "run:N", scale=alt.Scale(domain=runs.domain, range=dashes), legend=legend, title=None
    )


def run_legend() -> alt.Legend:
    """Return a legend below a chart, with the highlighted runs only."""
    import altair as alt

    return alt.Legend(
        orient="bottom",
        direction="vertical",
        columns=1,
        symbolType="stroke",
        values=alt.ExprRef(SHOWN),
        labelLimit=420,
    )


def wrapped(label: str, width: int) -> str:
    """Return a label in up to three lines of ``width`` characters, for :func:`panels`."""
    return "\n".join(textwrap.wrap(label, width, max_lines=3, placeholder="…"))


def panels(field: str, rows: Rows) -> alt.Facet:
    """Return the encoding of a field of :func:`wrapped` labels as panels in the rows' order."""
    import altair as alt

    order = list(dict.fromkeys(row[field] for row in rows))
    header = alt.Header(labelExpr="split(datum.label, '\\n')", labelLineHeight=14)
    return alt.Facet(f"{field}:N", title=None, sort=order, header=header)


def highlighted(chart: alt.Chart) -> alt.Chart:
    """Return the chart with the data of highlighted runs only."""
    return chart.transform_filter(f"indexof({SHOWN}, datum.run) >= 0")


def not_highlighted(chart: alt.Chart) -> alt.Chart:
    """Return the chart with the data of the other runs only."""
    return chart.transform_filter(f"indexof({SHOWN}, datum.run) < 0")
