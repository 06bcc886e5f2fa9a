"""Tests of the sections of the page: their order, and what they show."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tests.report.fake_sweeps import experiment_sweep, three_class_sweep
from tests.report.page.fake_comparison import fake_content
from xray_hpc.report.page.blocks import (
    Answer,
    Chooser,
    Paragraph,
    Section,
    TableBlock,
    Warnings,
)
from xray_hpc.report.page.content import MAX_CURVES, PageContent, shown_runs
from xray_hpc.report.page.page_sections import page_sections
from xray_hpc.report.page.table import UNKNOWN, Cell, Table

ORDER = [
    *("answer", "ranking", "tied", "curves", "learning", "sweep", "confusion", "operating"),
    *("calibration", "misses", "shift", "subgroups", "data", "cost", "unfinished"),
    *("reproduce", "software"),
]


def section(sections: Sequence[Section], name: str) -> Section:
    return next(one for one in sections if one.id == name)


def tables(one: Section) -> list[Table]:
    return [block.table for block in one.blocks if isinstance(block, TableBlock)]


def test_page_sections_come_in_the_order_of_a_readers_questions(
    sections: Sequence[Section],
) -> None:
    assert [one.id for one in sections] == ORDER


def test_page_sections_without_content_are_left_out(content: PageContent) -> None:
    empty = dataclasses.replace(
        content.comparison, misses=pd.DataFrame(), shift=pd.DataFrame(), subgroups=pd.DataFrame()
    )
    finished = [run for run in content.runs if run.finished]
    changed = dataclasses.replace(content, comparison=empty, runs=finished, inserts={})
    names = {one.id for one in page_sections(changed)}
    assert set(ORDER) - names == {"misses", "shift", "subgroups", "data", "unfinished"}


def test_answer_states_the_winner_how_sure_and_the_warnings(
    sections: Sequence[Section], content: PageContent
) -> None:
    answer, warnings = section(sections, "answer").blocks
    assert isinstance(answer, Answer)
    assert isinstance(warnings, Warnings)
    assert answer.text == content.comparison.winners[0].answer
    facts = {fact.name: (fact.value, fact.detail) for fact in answer.facts}
    best = content.comparison.ranking.iloc[0]
    bounds = f"[{best['test_auc_low']:.3f}, {best['test_auc_high']:.3f}]"
    assert facts["test AUC"] == (f"{best['test_auc']:.3f}", bounds)
    assert facts["cannot be told apart"][0] == "4"
    assert facts["test images"] == ("200", "of 100 patients")
    assert [item.text for item in warnings.items] == [
        warning.text for warning in content.comparison.warnings
    ]


def test_ranking_shows_only_numbers_of_the_comparison(
    sections: Sequence[Section], content: PageContent
) -> None:
    (table,) = tables(section(sections, "ranking"))
    ranking = content.comparison.ranking
    assert len(table.rows) == len(ranking)
    for cells, (_, row) in zip(table.rows, ranking.iterrows(), strict=True):
        known = {value for value in row if isinstance(value, int | float)}
        assert {cell.order for cell in cells if isinstance(cell.order, float)} <= known
        details = [cell.detail.strip("[]").split(", ") for cell in cells if "[" in cell.detail]
        rounded = {f"{value:.3f}" for value in known}
        assert details
        assert all(set(bounds) <= rounded for bounds in details)


def test_ranking_marks_the_winner_and_the_runs_that_cannot_be_told_apart(
    sections: Sequence[Section],
) -> None:
    (table,) = tables(section(sections, "ranking"))
    column = table.heads.index("told apart")
    texts = [row[column].text for row in table.rows]
    assert texts[:6] == ["winner", "no", "no", "no", "no", "yes"]


def test_ranking_has_a_dash_for_an_interval_that_cannot_be_estimated(
    content: PageContent,
) -> None:
    ranking = content.comparison.ranking.copy()
    ranking.loc[0, ["test_auc_low", "test_auc_high"]] = None
    comparison = dataclasses.replace(content.comparison, ranking=ranking)
    changed = dataclasses.replace(content, comparison=comparison)
    (table,) = tables(section(page_sections(changed), "ranking"))
    assert table.rows[0][table.heads.index("test AUC")].detail == UNKNOWN
    assert table.has_unknown


def test_shown_runs_are_the_best_and_the_page_says_so(content: PageContent) -> None:
    ranking = pd.concat([content.comparison.ranking] * 3, ignore_index=True)
    ranking["rank"] = range(1, len(ranking) + 1)
    ranking["run"] = ranking["label"] = [f"run {i}" for i in ranking["rank"]]
    shown = shown_runs(ranking)
    assert list(shown.labels) == [f"run {i}" for i in range(1, MAX_CURVES + 1)]
    assert shown.note == "The best 30 of 54 runs are shown."


def test_shown_runs_have_unique_labels(content: PageContent) -> None:
    ranked = content.comparison.ranking.head(2).assign(label="ft")
    first, second = ranked["run"]
    assert shown_runs(ranked).domain == [f"ft ({first})", f"ft ({second})"]


def test_curves_have_checkboxes_of_the_runs_of_the_ranking(sections: Sequence[Section]) -> None:
    (chooser,) = [b for b in section(sections, "curves").blocks if isinstance(b, Chooser)]
    (table,) = tables(section(sections, "ranking"))
    assert [row[0].run for row in table.rows] == chooser.runs.domain


def test_reproduce_has_one_command_per_run(
    sections: Sequence[Section], content: PageContent
) -> None:
    (table,) = tables(section(sections, "reproduce"))
    commands = {row[0].text: row[1] for row in table.rows}
    assert len(commands) == len(content.runs)
    run = content.runs[-1]
    assert run.record is not None
    text = " ".join(["python -m xray_hpc.train", *run.record.overrides])
    assert commands[run.name] == Cell(text, code=True)


def test_unfinished_runs_have_reason_and_log(sections: Sequence[Section]) -> None:
    (table,) = tables(section(sections, "unfinished"))
    reasons = {row[2].text: (row[3].text, row[4].href) for row in table.rows}
    reason, log = reasons["failed"]
    assert reason == "bad data: image 3 is damaged"
    assert log.startswith("../runs/cnn-")
    assert set(reasons) == {"failed", "interrupted", "created"}


def test_several_data_sets_have_charts_of_their_own(tmp_path: Path) -> None:
    sections = page_sections(fake_content(experiment_sweep(tmp_path / "experiments")))
    names = [chart.name for chart in section(sections, "curves").charts()]
    assert {"roc_test_1", "roc_test_2", "pr_validation_2"} <= set(names)
    assert len(set(names)) == len(names)
    assert len(tables(section(sections, "ranking"))) == 2


def test_three_classes_have_a_panel_and_a_table_row_each(tmp_path: Path) -> None:
    sections = page_sections(fake_content(three_class_sweep(tmp_path / "lung")))
    roc = section(sections, "curves").charts()[0]
    panels = list(dict.fromkeys(row["class"] for row in roc.spec["datasets"]["curves"]))
    assert sorted(panels[:2]) == ["macro average", "micro average"]
    assert panels[2:] == ["Covid", "Normal", "Viral Pneumonia"]
    (table,) = tables(section(sections, "classes"))
    assert {row[1].text for row in table.rows} == {"Covid", "Normal", "Viral Pneumonia"}


def test_sections_say_how_many_runs_their_tables_show(sections: Sequence[Section]) -> None:
    texts = [b.text for b in section(sections, "operating").blocks if isinstance(b, Paragraph)]
    assert texts[-1] == "The best 10 of 18 runs are shown; metrics.csv has all."
