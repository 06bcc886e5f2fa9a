"""The sections on the scores: curves, confusion matrices, operating points, calibration."""

from __future__ import annotations

from typing import Any

import pandas as pd

from xray_hpc.report.page.blocks import Block, Charts, Chooser, Paragraph, Section, TableBlock
from xray_hpc.report.page.content import PageContent, ShownRuns
from xray_hpc.report.page.learning_charts import learning_charts
from xray_hpc.report.page.result_sections import data_sets_with_charts
from xray_hpc.report.page.roc_pr_charts import roc_pr_charts
from xray_hpc.report.page.score_charts import confusion_chart, reliability_chart
from xray_hpc.report.page.sweep_charts import importance_chart, map_chart, parallel_chart
from xray_hpc.report.page.table import Cell, Table, interval_cell, number_cell

MAX_TABLE_RUNS = 10  # in the tables of operating points and calibration; the CSVs have all
RULES = {
    "fixed": "fixed",
    "youden": "Youden's index",
    "sensitivity": "fixed sensitivity",
    "specificity": "fixed specificity",
}
RATES = ("sensitivity", "specificity", "ppv", "npv")
OPERATING = (
    "Thresholds are chosen on the validation images; the table shows what they realise on the test "
    "images, with 95 % intervals clustered by patient."
)


def curves_section(content: PageContent, runs: dict[str, ShownRuns]) -> Section:
    """Return ROC and precision-recall curves, with checkboxes that highlight runs."""
    blocks: list[Block] = []
    for _, shown, suffix, heading in data_sets_with_charts(content, runs):
        if charts := roc_pr_charts(content, shown, suffix):
            blocks += [*heading, Chooser(shown), Charts(charts), *_note(shown)]
    return Section("curves", "ROC and precision-recall curves", blocks)


def learning_section(content: PageContent, runs: dict[str, ShownRuns]) -> Section:
    """Return the learning curves."""
    blocks: list[Block] = []
    for _, shown, suffix, heading in data_sets_with_charts(content, runs):
        if charts := learning_charts(content, shown, suffix):
            blocks += [*heading, Chooser(shown), Charts(charts), *_note(shown)]
    return Section("learning", "Learning curves", blocks)


def sweep_section(content: PageContent, runs: dict[str, ShownRuns]) -> Section:
    """Return the map of learning rate and depth, and the importance of swept keys."""
    overall = map_chart(content)
    blocks: list[Block] = [Charts([overall])] if overall else []
    for data, _, suffix, heading in data_sets_with_charts(content, runs):
        charts = [parallel_chart(content, data, suffix), importance_chart(content, data, suffix)]
        if found := [chart for chart in charts if chart is not None]:
            blocks += [*heading, Charts(found)]
    return Section("sweep", "Swept values", blocks)


def confusion_section(content: PageContent, runs: dict[str, ShownRuns]) -> Section:
    """Return the confusion matrices of the best runs."""
    blocks: list[Block] = []
    for _, shown, suffix, heading in data_sets_with_charts(content, runs):
        if chart := confusion_chart(content, shown, suffix):
            blocks += [*heading, Charts([chart])]
    return Section("confusion", "Confusion matrices", blocks)


def operating_section(content: PageContent, runs: dict[str, ShownRuns]) -> Section:
    """Return what the thresholds chosen on validation images realise on test images."""
    metrics = content.comparison.metrics
    metrics = metrics[metrics["rule"].isin(list(RULES)) & metrics["metric"].isin(RATES)]
    blocks: list[Block] = []
    for number, (_, shown, _, heading) in enumerate(data_sets_with_charts(content, runs), 1):
        best = list(shown.labels)[:MAX_TABLE_RUNS]
        rows = [row for run in best for row in _operating_rows(metrics, run, shown.labels[run])]
        if not rows:
            continue
        heads = ["run", "threshold chosen by", "threshold", "validation sensitivity"]
        heads += ["validation specificity", *(f"test {_rate(rate)}" for rate in RATES)]
        table = Table(f"operating-table-{number}", heads, rows)
        blocks += [*heading, TableBlock(table), *_table_note(shown, "metrics.csv")]
    intro: list[Block] = [Paragraph(OPERATING)] if blocks else []
    return Section("operating", "Operating points", intro + blocks)


def _rate(name: str) -> str:
    return name.upper() if len(name) == 3 else name


def _operating_rows(metrics: pd.DataFrame, run: str, label: str) -> list[list[Cell]]:
    found = metrics[metrics["run"] == run]
    rows = []
    for rule, title in RULES.items():
        points = found[found["rule"] == rule]
        if points.empty:
            continue
        values = {(row["split"], row["metric"]): row for row in points.to_dict("records")}
        validation = (_value(values, "validation", rate) for rate in RATES[:2])
        rows.append(
            [
                Cell(label),
                Cell(title),
                number_cell(points["threshold"].iloc[0]),
                *(number_cell(value) for value in validation),
                *(
                    interval_cell(*(_value(values, "test", rate, part) for part in PARTS))
                    for rate in RATES
                ),
            ]
        )
    return rows


PARTS = ("value", "low", "high")


def _value(values: dict[Any, dict[Any, Any]], split: str, metric: str, part: str = "value") -> Any:
    return values.get((split, metric), {}).get(part)


def calibration_section(content: PageContent, runs: dict[str, ShownRuns]) -> Section:
    """Return reliability diagrams, and scores of calibration before and after scaling."""
    calibration = content.comparison.calibration
    calibration = calibration[calibration["split"] == "test"]
    blocks: list[Block] = []
    for number, (_, shown, suffix, heading) in enumerate(data_sets_with_charts(content, runs), 1):
        chart = reliability_chart(content, shown, suffix)
        parts: list[Block] = [Charts([chart])] if chart else []
        best = list(shown.labels)[:MAX_TABLE_RUNS]
        rows = [row for run in best for row in _calibration_rows(calibration, run, shown)]
        if rows:
            heads = ["run", "scores", "temperature", "Brier score", "ECE", "log-loss"]
            parts.append(TableBlock(Table(f"calibration-table-{number}", heads, rows)))
            parts += _table_note(shown, "calibration.csv")
        blocks += [*heading, *parts] if parts else []
    return Section("calibration", "Calibration", blocks)


def _calibration_rows(table: pd.DataFrame, run: str, shown: ShownRuns) -> list[list[Cell]]:
    return [
        [
            Cell(shown.labels[run]),
            Cell("temperature-scaled" if row["scaled"] else "as trained"),
            number_cell(row["temperature"]) if row["scaled"] else Cell(""),
            *(number_cell(row[name]) for name in ("brier", "ece", "loss")),
        ]
        for row in table[table["run"] == run].to_dict("records")
    ]


def classes_section(content: PageContent, runs: dict[str, ShownRuns]) -> Section:
    """Return the test metrics of each class against the rest; with more than two classes only."""
    table = content.comparison.classes
    blocks: list[Block] = []
    for number, (data, shown, _, heading) in enumerate(data_sets_with_charts(content, runs), 1):
        if table.empty:
            continue
        found = table[(table["data"] == data) & (table["split"] == "test")]
        if found["class"].nunique() < 3:
            continue
        metrics = list(dict.fromkeys(found["metric"]))
        best = list(shown.labels)[:MAX_TABLE_RUNS]
        rows = []
        for run in best:
            for name, values in found[found["run"] == run].groupby("class", sort=False):
                by_metric = values.set_index("metric")
                cells = [_class_cell(by_metric, metric) for metric in metrics]
                images = number_cell(values["images"].iloc[0], 0)
                rows.append([Cell(shown.labels[run]), Cell(str(name)), images, *cells])
        heads = ["run", "class", "images", *(metric.replace("_", " ") for metric in metrics)]
        table_block = TableBlock(Table(f"classes-table-{number}", heads, rows))
        blocks += [*heading, table_block, *_table_note(shown, "classes.csv")]
    return Section("classes", "Each class against the rest", blocks)


def _class_cell(by_metric: pd.DataFrame, metric: str) -> Cell:
    if metric not in by_metric.index:
        return number_cell(None)
    row = by_metric.loc[metric]
    return interval_cell(row["value"], row["low"], row["high"])


def _note(shown: ShownRuns) -> list[Block]:
    return [Paragraph(shown.note, note=True)] if shown.note else []


def _table_note(shown: ShownRuns, file: str) -> list[Block]:
    if shown.total <= MAX_TABLE_RUNS:
        return []
    text = f"The best {MAX_TABLE_RUNS} of {shown.total:,} runs are shown; {file} has all."
    return [Paragraph(text, note=True)]
