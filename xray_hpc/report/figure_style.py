"""The common style of the report's figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xray_hpc.count_text import format_count
from xray_hpc.report.run_result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The palette of Okabe and Ito, with Paul Tol's wine instead of yellow, which is faint on white.
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#000000", "#882255"),
)
OTHER_RUNS_COLOR = "#B5B5B5"
MAX_OTHER_RUNS = 200  # more lines are indistinguishable
GUIDE_COLOR = "#8A8A8A"
DPI = 200

RC_PARAMS = {
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
def report_style() -> Iterator[None]:
    """Apply the report's style, independent of the user's matplotlibrc."""
    # Matplotlib takes a second to import; callers may only want colors.
    from xray_hpc.figure_files import default_style

    with default_style(RC_PARAMS):
        yield


def run_colors(runs: Sequence[RunResult]) -> dict[str, str]:
    """Assign a color to each of the first ``len(PALETTE)`` runs, by name."""
    return {run.name: color for run, color in zip(runs, PALETTE, strict=False)}


def other_runs_label(drawn: int) -> str:
    """Return the legend entry of the runs without a color of their own."""
    if drawn < MAX_OTHER_RUNS:
        return format_count(drawn, "other run")
    return f"{MAX_OTHER_RUNS} of the other runs"


def set_unit_square(axes: Axes) -> None:
    """Set both axes to 0..1 with equal scales and a small margin for the lines."""
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xticks=ticks, yticks=ticks, aspect="equal")
