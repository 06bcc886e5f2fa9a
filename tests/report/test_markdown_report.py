"""The report's text: what it says of which sweep."""

from __future__ import annotations

from pathlib import Path

from tests.report.drawing import runs_of
from tests.report.synthetic import Drawn, experiments, three_classes, write_run
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.markdown_report import NOT_ALIKE, report, sections
from xray_hpc.report.run_result import RunResult


def said(runs: list[RunResult]) -> str:
    return report(sections("s", runs, {}), [], [])


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("#")]


def test_a_pipe_in_a_reason_does_not_break_the_table() -> None:
    run = RunResult("ft|1", "ft", "failed", error="a | b\nc")
    text = report(sections("odd", [run], {"ft|1": "../runs/ft|1/log"}), [], [])
    assert r"| ft\|1 | failed | a \| b c | [log](../runs/ft%7C1/log) |" in text


def test_no_finished_run_leaves_out_the_comparison() -> None:
    text = said([RunResult("ft-1", "ft", "missing", error="there is no folder")])
    assert headings(text) == ["# Sweep s", "## Runs without a result", "## Files"]


def test_data_sets_have_a_heading_and_a_description_each(tmp_path: Path) -> None:
    text = said(runs_of(experiments(tmp_path / "experiments")))
    assert headings(text)[1:5] == [
        "## Comparison",
        "### demo, 2 classes: NORMAL, PNEUMONIA",
        "### demo, 3 classes: Covid, Normal, Viral Pneumonia",
        "## Misses at threshold 0.5",
    ]
    assert "The runs are on 2 data sets." in text
    assert "Runs on different data are not ranked against each other." in text
    assert (
        "Data: demo; fingerprint `c0ffee123456`; 96 x 96 pixels, grey; validation split: patient; "
        "50 validation and 66 test images."
    ) in text
    assert "96 x 96 or 176 x 176 pixels, grey or RGB;" in text
    assert text.count(NOT_ALIKE) == 1  # experiment=reduced takes a part of the images


def test_more_than_two_classes_have_no_misses_but_their_mistakes(tmp_path: Path) -> None:
    text = said(runs_of(three_classes(tmp_path / "three")))
    assert headings(text) == [
        *("# Sweep s", "## Comparison", "## Classes", "## What the runs used", "## Files"),
    ]
    assert "AUC is the mean of the classes' own, each against the rest" in text
    assert "sensitivity" not in text


def test_one_data_set_is_described_once_whatever_its_runs_saw_of_it(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path)
    for size in (96, 224):
        write_run(sweep, "ft", Drawn(), data__image_size=size)
    text = said(runs_of(sweep))
    assert "; 96 x 96 or 224 x 224 pixels, grey; validation split: patient; 60 val" in text
    assert NOT_ALIKE not in text
    assert "###" not in text


def test_the_positive_class_is_named(sweep: SweepPaths) -> None:
    assert "a positive image (PNEUMONIA, the second class in sorted order)" in said(runs_of(sweep))


def test_figures_of_the_data_are_shown_and_tables_linked() -> None:
    files = ["../data/ab12/class bars.png", "../data/ab12/index.csv"]
    text = report([], [], files)
    assert "![class bars](../data/ab12/class%20bars.png)" in text
    assert "What the data set holds: [index.csv](../data/ab12/index.csv)." in text


def test_several_data_folders_have_a_heading_each() -> None:
    files = ["../data/ab12/class_bars.png", "../data/cd34/class_bars.png", "../data/cd34/index.csv"]
    text = report([], [], files)
    assert headings(text)[:3] == ["## Data", "### data/ab12", "### data/cd34"]
