"""How every figure of the report looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xray_hpc.report.run_result import RunResult
from xray_hpc.text import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette without its yellow, which is lost on white, and with Paul Tol's wine.
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#000000", "#882255"),
)
REST = "#B5B5B5"  # the runs that are not among the named
OTHERS = 200  # so many of those are drawn; more make a mere stain
GUIDE = "#8A8A8A"
DPI = 200

LOOK = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.title_fontsize": 8,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.use": True,
}


@contextmanager
def look() -> Iterator[None]:
    """Draw in the report's style, whatever the user's matplotlibrc says."""
    from matplotlib import style  # takes a second: not where only colours are chosen

    with style.context(["default", LOOK]):
        yield


def run_colors(runs: Sequence[RunResult]) -> dict[str, str]:
    """A colour for each of the first ``len(PALETTE)`` runs, by name, for every figure."""
    return {run.name: color for run, color in zip(runs, PALETTE, strict=False)}


def rest_label(drawn: int) -> str:
    """What a legend calls the runs without a colour."""
    return format_count(drawn, "other run") if drawn < OTHERS else f"{OTHERS} of the other runs"


def square(axes: Axes) -> None:
    """The unit square of two rates, with equal scales and a little air for the lines."""
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xticks=ticks, yticks=ticks, aspect="equal")
