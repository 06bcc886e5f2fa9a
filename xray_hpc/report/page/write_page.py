"""Write ``report.html`` and ``figures/`` of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from xray_hpc.records.atomic_files import write_text
from xray_hpc.records.paths import RunPaths
from xray_hpc.report.comparison import Comparison
from xray_hpc.report.formatting import status_summary
from xray_hpc.report.page.content import PageContent
from xray_hpc.report.page.figures import write_figures
from xray_hpc.report.page.miss_pictures import read_miss_pictures
from xray_hpc.report.page.page_sections import page_sections
from xray_hpc.report.page.render_page import render_page
from xray_hpc.report.run_result import RunResult

PAGE = "report.html"
FIGURES = "figures"


MAX_PICTURES = 6  # of a winner and split
MAX_GALLERIES = 2  # of winners


def page_content(
    sweep: str,
    comparison: Comparison,
    runs: Sequence[RunResult],
    folders: Mapping[str, RunPaths],
    epochs: pd.DataFrame,
    roc: pd.DataFrame,
    *,
    logs: Mapping[str, str] | None = None,
    images: bool = True,
    inserts: Mapping[str, str] | None = None,
) -> PageContent:
    """Return the content of a page, with the pictures of the winners' worst misses.

    Args:
        sweep: name of the sweep.
        comparison: the compared runs.
        runs: all runs in launch order.
        folders: the folders of the runs by name.
        epochs: see :class:`PageContent`, as ``roc``, ``logs`` and ``inserts``.
        roc: points of ROC curves.
        logs: paths of log files.
        images: whether to embed X-rays.
        inserts: sections that other modules render.
    """
    by_name = {run.name: run for run in runs}
    winners = [by_name[winner.run] for winner in comparison.winners[:MAX_GALLERIES]]
    pictures = {
        run.name: read_miss_pictures(folders[run.name], run.model, run.classes, MAX_PICTURES)
        for run in (winners if images else [])
    }
    return PageContent(sweep, comparison, runs, epochs, roc, logs or {}, inserts or {}, pictures)


def write_page(folder: Path, content: PageContent) -> dict[str, str]:
    """Write the page and its figures into the report's ``folder``.

    Returns:
        The captions of the figures that Markdown can show, by their paths in ``folder``.

    Equal content gives equal bytes.

    Raises:
        OSError: a file cannot be written.
    """
    sections = page_sections(content)
    figures = write_figures(
        folder / FIGURES, [chart for section in sections for chart in section.charts()]
    )
    page = render_page(content.sweep, f"{status_summary(content.runs)}.", sections)
    write_text(folder / PAGE, page)
    return {
        path.relative_to(folder).as_posix(): chart.caption
        for path, chart in figures.items()
        if path.suffix == ".png"
    }
