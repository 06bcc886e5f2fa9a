"""The first sections: the answer, the ranking, and what cannot be told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from xray_hpc.report.comparison import Winner
from xray_hpc.report.metric_table import BASELINE
from xray_hpc.report.page.blocks import (
    Answer,
    Block,
    Charts,
    Fact,
    Heading,
    Paragraph,
    Section,
    TableBlock,
    WarningItem,
    Warnings,
)
from xray_hpc.report.page.chart import Chart
from xray_hpc.report.page.content import PageContent, ShownRuns
from xray_hpc.report.page.interval_charts import difference_chart, ranking_chart
from xray_hpc.report.page.sweep_charts import swept_columns
from xray_hpc.report.page.table import (
    Cell,
    Table,
    format_bounds,
    format_number,
    interval_cell,
    is_known,
    is_true,
    number_cell,
    text_cell,
)
from xray_hpc.report.swept_keys import short_name

MAX_WARNED_RUNS = 5
RANKING_METRICS = {
    "auc": "AUC",
    "average_precision": "average precision",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
    "mcc": "MCC",
}
NO_RESULT = "No run has finished yet, so there is nothing to compare."
RANKING = (
    "Runs are ordered by {rule} on the validation images, never by a test metric. Intervals cover "
    "95 % and are clustered by patient. Metrics with a threshold use the fixed one. Tick runs to "
    "highlight them in the curves below."
)


def data_sets_with_charts(
    content: PageContent, runs: dict[str, ShownRuns]
) -> Iterator[tuple[str, ShownRuns, str, list[Block]]]:
    """Yield title, shown runs, suffix of figure names, and the heading of each data set."""
    several = len(runs) > 1
    for number, (data, shown) in enumerate(runs.items(), 1):
        suffix = f"_{number}" if several else ""
        yield data, shown, suffix, [Heading(data)] if several else []


def answer_section(content: PageContent) -> Section:
    """Return the answer for each data set, and the warnings."""
    comparison = content.comparison
    blocks: list[Block] = [_answer(content, winner) for winner in comparison.winners]
    if not blocks:
        blocks.append(Paragraph(NO_RESULT))
    labels = content.labels()
    several = len(comparison.winners) > 1
    items = [
        WarningItem(
            warning.text,
            warning.data if several else "",
            _names([labels.get(run, run) for run in warning.runs]),
        )
        for warning in comparison.warnings
    ]
    if items:
        blocks.append(Warnings(items))
    return Section("answer", "The answer", blocks)


def _names(labels: Sequence[str]) -> str:
    more = len(labels) - MAX_WARNED_RUNS
    rest = f" and {more} more" if more > 0 else ""
    return "; ".join(labels[:MAX_WARNED_RUNS]) + rest


def _answer(content: PageContent, winner: Winner) -> Answer:
    ranked = content.ranked(winner.data)
    row = ranked[ranked["run"] == winner.run].iloc[0]
    facts = [
        Fact(f"test {name}", format_number(row.get(f"test_{metric}")), _bounds(row, metric))
        for metric, name in (("auc", "AUC"), ("accuracy", "accuracy"))
        if is_known(row.get(f"test_{metric}"))
    ]
    facts.append(Fact("runs compared", f"{len(ranked):,}", f"selected by {winner.rule}"))
    if len(ranked) > 1:
        tied = f"{len(winner.tied):,}"
        facts.append(Fact("cannot be told apart", tied, "from the winner, on test images"))
    metrics = content.comparison.metrics
    metrics = metrics[(metrics["data"] == winner.data) & (metrics["split"] == "test")]
    baseline = metrics[(metrics["run"] == BASELINE) & (metrics["metric"] == "accuracy")]
    if len(baseline):
        value = format_number(baseline["value"].iloc[0])
        facts.append(Fact("majority-class accuracy", value, "on the test images"))
    tested = metrics[metrics["run"] == winner.run]
    if len(tested):
        first = tested.iloc[0]
        patients = f"of {first['patients']:,.0f} patients" if is_known(first["patients"]) else ""
        facts.append(Fact("test images", f"{first['images']:,.0f}", patients))
    return Answer(winner.data, winner.label, winner.answer, facts)


def _bounds(row: pd.Series[Any], metric: str) -> str:
    return format_bounds(row.get(f"test_{metric}_low"), row.get(f"test_{metric}_high"))


def ranking_section(content: PageContent, runs: dict[str, ShownRuns]) -> Section:
    """Return the ranking of each data set as a table and a chart."""
    blocks: list[Block] = []
    charts = data_sets_with_charts(content, runs)
    shown = {data: (labels, suffix) for data, labels, suffix, _ in charts}
    for number, data in enumerate(content.data_sets(), 1):
        if len(content.data_sets()) > 1:
            blocks.append(Heading(data))
        table = ranking_table(content, data, f"ranking-table-{number}", shown.get(data))
        blocks.append(TableBlock(table))
        if data in shown:
            blocks += _charts(ranking_chart(content, data, *shown[data]))
            blocks += _notes(shown[data][0])
    settings = _settings_table(content)
    if blocks:
        blocks.insert(0, Paragraph(RANKING.format(rule=content.comparison.rule)))
    return Section("ranking", "Ranking", [*blocks, *settings])


def _charts(*charts: Chart | None) -> list[Block]:
    found = [chart for chart in charts if chart is not None]
    return [Charts(found)] if found else []


def _notes(runs: ShownRuns) -> list[Block]:
    return [Paragraph(runs.note, note=True)] if runs.note else []


def ranking_table(
    content: PageContent, data: str, name: str, shown: tuple[ShownRuns, str] | None
) -> Table:
    """Return the ranking of one data set; every number is in ``ranking.csv``."""
    ranked = content.ranked(data)
    swept = swept_columns(ranked)
    metrics = [m for m in RANKING_METRICS if _has(ranked, f"test_{m}")]
    validation = [m for m in ("auc",) if _has(ranked, f"validation_{m}")]
    seeds = ranked["seed"].nunique() > 1
    labels = shown[0].labels if shown else {}
    heads = ["rank", "run", *map(short_name, swept), *(["seed"] if seeds else [])]
    heads += [content.comparison.rule]
    heads += [f"validation {RANKING_METRICS[m]}" for m in validation]
    heads += [f"test {RANKING_METRICS[m]}" for m in metrics[:1]]
    heads += ["told apart", "p (Holm)"]
    heads += [f"test {RANKING_METRICS[m]}" for m in metrics[1:]]
    rows = []
    for row in ranked.to_dict("records"):
        first = row["rank"] == 1
        rows.append(
            [
                Cell(
                    f"{row['rank']:.0f}", order=float(row["rank"]), run=labels.get(row["run"], "")
                ),
                Cell(row["model"], detail=row["run"], order=row["label"]),
                *(text_cell(row[key]) for key in swept),
                *([text_cell(row["seed"])] if seeds else []),
                number_cell(row["selection"], 4),
                *(number_cell(row[f"validation_{m}"]) for m in validation),
                *(interval_cell(*_interval_of(row, f"test_{m}")) for m in metrics[:1]),
                Cell("winner" if first else "no" if is_true(row.get("tied")) else "yes"),
                Cell("") if first else number_cell(row.get("p_holm")),
                *(interval_cell(*_interval_of(row, f"test_{m}")) for m in metrics[1:]),
            ]
        )
    return Table(name, heads, rows, interactive=True)


def _has(ranked: pd.DataFrame, name: str) -> bool:
    return name in ranked and bool(ranked[name].notna().any())


def _interval_of(row: dict[Any, Any], name: str) -> tuple[Any, Any, Any]:
    return row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high")


def _settings_table(content: PageContent) -> list[Block]:
    """Return the mean and standard deviation over the seeds of each setting, if there are any."""
    settings = content.comparison.settings
    if settings.empty:
        return []
    names = [
        (split, metric)
        for split in ("validation", "test")
        for metric in RANKING_METRICS
        if _has(settings, f"{split}_{metric}_mean")
    ]
    several = settings["data"].nunique() > 1
    heads = [*(["data"] if several else []), "setting", "seeds"]
    heads += [f"{split} {RANKING_METRICS[metric]}" for split, metric in names]
    rows = [
        [
            *([Cell(row["data"])] if several else []),
            Cell(str(row["setting"])),
            number_cell(row["runs"], 0),
            *(
                _mean_cell(row[f"{split}_{metric}_mean"], row.get(f"{split}_{metric}_sd"))
                for split, metric in names
            ),
        ]
        for row in settings.to_dict("records")
    ]
    text = "Mean ± standard deviation over the seeds of each setting."
    table = Table("settings-table", heads, rows, interactive=True)
    return [Heading("Seeds"), Paragraph(text), TableBlock(table)]


def _mean_cell(mean: Any, deviation: Any) -> Cell:
    detail = f"± {deviation:.3f}" if is_known(deviation) else ""
    return Cell(format_number(mean), detail, float(mean) if is_known(mean) else None)


def tied_section(content: PageContent, runs: dict[str, ShownRuns]) -> Section:
    """Return the differences from the winner, and the runs that cannot be told apart from it."""
    blocks: list[Block] = []
    labels = content.labels()
    winners = {winner.data: winner for winner in content.comparison.winners}
    for data, shown, suffix, heading in data_sets_with_charts(content, runs):
        chart = difference_chart(content, data, shown, suffix)
        if chart is None:
            continue
        winner = winners[data]
        text = f"All other runs can be told apart from {winner.label} on the test images."
        if winner.tied:
            names = "; ".join(labels.get(run, run) for run in winner.tied[:12])
            more = len(winner.tied) - 12
            rest = f"; and {more:,} more (see the ranking)" if more > 0 else ""
            text = f"Cannot be told apart from {winner.label} on the test images: {names}{rest}."
        blocks += [*heading, Paragraph(text), Charts([chart]), *_notes(shown)]
    return Section("tied", "What cannot be told apart", blocks)
