"""Write ``report.html`` and ``figures/`` of a report."""

from __future__ import annotations

from pathlib import Path

from xray_hpc.records.atomic_files import write_text
from xray_hpc.report.formatting import status_summary
from xray_hpc.report.page.content import PageContent
from xray_hpc.report.page.figures import write_figures
from xray_hpc.report.page.page_sections import page_sections
from xray_hpc.report.page.render_page import render_page

PAGE = "report.html"
FIGURES = "figures"


def write_page(folder: Path, content: PageContent) -> list[Path]:
    """Write the page and its figures into the report's ``folder``; return their paths.

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
    return [folder / PAGE, *figures]
