"""Tests of the text of ``report.md``."""

from __future__ import annotations

from pathlib import Path

from tests.report.fake_runs import FakeRun, write_run
from tests.report.fake_sweeps import experiment_sweep, read_runs, three_class_sweep
from tests.report.test_compare import grid
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_flags import Flag
from xray_hpc.report.compare import compare_runs
from xray_hpc.report.markdown_report import (
    DIFFERENT_SPLITS,
    MACRO,
    SEPARATE_DATA,
    markdown_report,
    run_sections,
)
from xray_hpc.report.run_result import RunResult


def report_text(runs: list[RunResult]) -> str:
    return markdown_report(run_sections("s", runs, compare_runs(runs), {}), {}, [], [])


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("#")]


def test_pipe_in_a_reason_is_escaped() -> None:
    run = RunResult("ft|1", "ft", "failed", error="a | b\nc")
    sections = run_sections("odd", [run], compare_runs([run]), {"ft|1": "../runs/ft|1/log"})
    text = markdown_report(sections, {}, [], [])
    assert r"| ft\|1 | failed | a \| b c | [log](../runs/ft%7C1/log) |" in text


def test_report_without_finished_runs_has_no_comparison() -> None:
    text = report_text([RunResult("ft-1", "ft", "missing", error="folder is missing")])
    assert headings(text) == ["# Sweep s", "## Runs without a result", "## Files"]


def test_each_data_set_has_a_heading_and_a_summary(tmp_path: Path) -> None:
    text = report_text(read_runs(experiment_sweep(tmp_path / "experiments")))
    assert headings(text)[1:5] == [
        *("## Ranking", "### demo, 2 classes", "### demo, 3 classes", "## Warnings")
    ]
    assert "The runs use 2 data sets." in text
    assert SEPARATE_DATA in text


def test_flagged_runs_are_named_in_a_warning(sweep: SweepPaths) -> None:
    runs = read_runs(sweep)
    assert "at chance" not in report_text(runs)
    assert runs[0].metrics is not None
    runs[0].metrics.flags[:] = [Flag.AT_CHANCE]
    (line,) = [line for line in report_text(runs).splitlines() if "at chance" in line]
    assert line.startswith("- 1 of 3 runs is at chance: ")
    assert line.endswith(f"({runs[0].name})")


def test_multiclass_report_has_no_false_negatives_section(tmp_path: Path) -> None:
    text = report_text(read_runs(three_class_sweep(tmp_path / "three")))
    assert headings(text) == [
        *("# Sweep s", "## Ranking", "## Warnings", "## Resource usage", "## Files")
    ]
    assert MACRO in text
    assert "sensitivity" not in text


def test_single_data_set_is_summarized_once(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    for size in (96, 224):
        write_run(sweep, "ft", FakeRun(), data__image_size=size)
    text = report_text(read_runs(sweep))
    assert "; 96 x 96 or 224 x 224 pixels, grey; validation split: patient; 60 val" in text
    assert DIFFERENT_SPLITS not in text
    assert "###" not in text


def test_report_starts_with_the_answer_and_lists_files_of_the_comparison() -> None:
    runs = grid([1.0, 3.0])
    comparison = compare_runs(runs)
    sections = run_sections("s", runs, comparison, {})
    text = markdown_report(sections, {}, [], ["ranking.csv"])
    assert text.split("\n\n")[1] == f"**{comparison.winners[0].answer}**"
    assert "- [ranking.csv](ranking.csv): " in text
    assert "(settings.csv)" not in text


def test_data_section_embeds_images_and_links_tables() -> None:
    files = ["../data/ab12/class bars.png", "../data/ab12/index.csv"]
    text = markdown_report([], {}, files, [])
    assert "![class bars](../data/ab12/class%20bars.png)" in text
    assert "Files that describe the data set: [index.csv](../data/ab12/index.csv)." in text


def test_each_data_folder_has_a_heading() -> None:
    files = ["../data/ab12/class_bars.png", "../data/cd34/class_bars.png", "../data/cd34/index.csv"]
    text = markdown_report([], {}, files, [])
    assert headings(text)[:3] == ["## Data", "### data/ab12", "### data/cd34"]
