"""The sections of the page in their order."""

from __future__ import annotations

from xray_hpc.report.page.blocks import Section
from xray_hpc.report.page.content import MAX_DATA_SETS, PageContent, shown_runs
from xray_hpc.report.page.data_sections import (
    data_section,
    misses_section,
    shift_section,
    subgroups_section,
)
from xray_hpc.report.page.result_sections import answer_section, ranking_section, tied_section
from xray_hpc.report.page.run_sections import (
    cost_section,
    reproduce_section,
    software_section,
    unfinished_section,
)
from xray_hpc.report.page.score_sections import (
    calibration_section,
    classes_section,
    confusion_section,
    curves_section,
    learning_section,
    operating_section,
    sweep_section,
)


def page_sections(content: PageContent) -> list[Section]:
    """Return the sections with content, in the order of a reader's questions."""
    data_sets = content.data_sets()[:MAX_DATA_SETS]
    runs = {data: shown_runs(content.ranked(data)) for data in data_sets}
    sections = [
        answer_section(content),
        ranking_section(content, runs),
        tied_section(content, runs),
        curves_section(content, runs),
        learning_section(content, runs),
        sweep_section(content, runs),
        confusion_section(content, runs),
        classes_section(content, runs),
        operating_section(content, runs),
        calibration_section(content, runs),
        misses_section(content, runs),
        shift_section(content),
        subgroups_section(content, runs),
        data_section(content),
        cost_section(content),
        unfinished_section(content),
        reproduce_section(content),
        software_section(content),
    ]
    return [section for section in sections if section.blocks]
