"""Render the comparison as a terminal table that fits a given width."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from textwrap import wrap
from typing import Any, NamedTuple

from xray_hpc.count_text import format_count
from xray_hpc.printable import printable
from xray_hpc.report.comparison import Comparison
from xray_hpc.report.dataset_groups import RunGroup, group_runs
from xray_hpc.report.formatting import (
    format_best_epoch,
    format_duration,
    format_integer,
    format_ratio,
    named_runs,
    status_reason,
    status_summary,
    unfinished_runs,
)
from xray_hpc.report.resource_section import total_usage
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.selection import rule_metric
from xray_hpc.report.swept_keys import compared_keys, config_value, format_value, short_name

DEFAULT_WIDTH = 100
MAX_ROWS = 40  # of finished and of unfinished runs each; runs.csv has all
MAX_CELL_WIDTH = 24
MACRO_NOTE = "With more than two classes, AUC and F1 are macro averages (one-vs-rest)."
INTERVAL_NOTE = "Test AUC with its 95 % interval by patient; * cannot be told apart from the best."
DROPPED_FIRST = ("FP", "FN", "spec", "sens", "F1")  # of the metrics, where space is short
MAX_WARNINGS = 3  # report.md and the page have all


class TerminalColumn(NamedTuple):
    """A column; ``group`` is printed once above adjacent columns that share it."""

    head: str
    cell: Callable[[RunResult], str]
    group: str = ""
    left: bool = False


def comparison_table(
    runs: Sequence[RunResult], comparison: Comparison, width: int = DEFAULT_WIDTH
) -> str:
    """Return a table of finished runs, best first, then unfinished runs with their reasons.

    Each data set has a heading. Below are the answer and the most serious warnings. No line is
    longer than ``width``.
    """
    groups = ranked_groups(runs, comparison)
    lines = [status_summary(runs), *wrap(total_usage(runs), width)]
    if groups:
        lines += _finished_lines(runs, groups, comparison, width)
    others = unfinished_runs(runs)
    if others:
        status = max(len(run.status) for run in others)
        name = max(len(run.name) for run in others)
        rows = [f"{run.status:{status}}  {run.name:{name}}  {status_reason(run)}" for run in others]
        lines += ["", *(_truncate(row, width) for row in rows[:MAX_ROWS])]
        if len(others) > MAX_ROWS:
            lines.append(_omitted(len(others) - MAX_ROWS))
    return "\n".join([*lines, *_conclusion(comparison, width)])


def ranked_groups(runs: Sequence[RunResult], comparison: Comparison) -> list[RunGroup]:
    """Return the finished runs by data set, in the order of the ranking."""
    place = {name: i for i, name in enumerate(comparison.ranking["run"])}
    last = len(place)
    return [
        RunGroup(group.title, sorted(group.runs, key=lambda run: place.get(run.name, last)))
        for group in group_runs(runs)
    ]


def _conclusion(comparison: Comparison, width: int) -> list[str]:
    """Return the answer for each data set, and the most serious warnings."""
    lines = []
    for winner in comparison.winners:
        data = f"{winner.data}: " if len(comparison.winners) > 1 else ""
        lines += ["", *wrap(printable(data + winner.answer), width)]
    warnings = comparison.warnings
    for warning in warnings[:MAX_WARNINGS]:
        names = f" ({named_runs(warning)})" if warning.runs else ""
        lines += ["", *wrap(printable(f"Warning: {warning.text}{names}"), width)]
    if len(warnings) > MAX_WARNINGS:
        more = format_count(len(warnings) - MAX_WARNINGS, "more warning")
        lines += ["", f"... and {more} in report.md"]
    return lines


def _finished_lines(
    runs: Sequence[RunResult], groups: Sequence[RunGroup], comparison: Comparison, width: int
) -> list[str]:
    limit = max(MAX_ROWS // len(groups), 1)
    shown = [run for group in groups for run in group.runs[:limit]]
    columns, dropped = _fit_columns(_columns(runs, groups, comparison), shown, width)
    group_heads, heads, *cells = _aligned_rows(columns, shown)
    rows = iter(cells)
    lines = ["", group_heads, heads]
    for group in groups:
        if len(groups) > 1:
            lines += ["", _truncate(f"{group.title}: {', '.join(group.classes)}", width)]
        lines += islice(rows, min(limit, len(group.runs)))
        if len(group.runs) > limit:
            lines.append(_omitted(len(group.runs) - limit))
    notes = wrap(INTERVAL_NOTE, width)
    if not all(group.is_binary for group in groups):
        notes += wrap(MACRO_NOTE, width)
    lines += ["", *notes]
    if dropped:
        lines += wrap(f"(see runs.csv for: {', '.join(dropped)})", width)
    return lines


def _columns(
    runs: Sequence[RunResult], groups: Sequence[RunGroup], comparison: Comparison
) -> list[TerminalColumn]:
    columns = [TerminalColumn("run", lambda run: run.name, left=True)]
    columns += [TerminalColumn(short_name(key), _swept_cell(key)) for key in compared_keys(runs)]
    columns.append(_selection_column(comparison))
    if comparison.rule != "val_auc":
        columns.append(_metric_column("validation", "AUC", "auc"))
    columns.append(_interval_column(comparison))
    columns.append(_metric_column("test", "acc", "accuracy"))
    if not all(group.is_binary for group in groups):
        columns.append(_metric_column("test", "F1", "f1"))
    if any(group.is_binary for group in groups):
        columns.append(_metric_column("test", "sens", "sensitivity"))
        columns.append(_metric_column("test", "spec", "specificity"))
        columns.append(_metric_column("test", "FN", "false_negatives", format_integer))
        columns.append(_metric_column("test", "FP", "false_positives", format_integer))
    columns.append(TerminalColumn("best epoch", format_best_epoch))
    columns.append(TerminalColumn("time", lambda run: format_duration(run.training_seconds)))
    return columns


def _metric_column(
    split: str, head: str, name: str, formatter: Callable[[float | None], str] = format_ratio
) -> TerminalColumn:
    return TerminalColumn(head, lambda run: formatter(run.metric(split, name)), group=split)


def _selection_column(comparison: Comparison) -> TerminalColumn:
    """Return the column of the values by which runs are ranked."""
    values = dict(zip(comparison.ranking["run"], comparison.ranking["selection"], strict=True))

    def cell(run: RunResult) -> str:
        value = values.get(run.name, math.nan)
        return format_ratio(None if math.isnan(value) else value)

    head = rule_metric(comparison.rule).replace("_", " ").replace("auc", "AUC")
    return TerminalColumn(head, cell, "validation")


def _interval_column(comparison: Comparison) -> TerminalColumn:
    rows: Mapping[str, Mapping[Any, Any]] = {
        row["run"]: row for row in comparison.ranking.to_dict("records")
    }

    def cell(run: RunResult) -> str:
        row = rows.get(run.name)
        if row is None or math.isnan(row["test_auc_low"]):
            return format_ratio(run.metric("test", "auc"))
        mark = "*" if row["tied"] else " "
        return "{test_auc:.3f} ({test_auc_low:.3f}-{test_auc_high:.3f})".format_map(row) + mark

    return TerminalColumn("AUC", cell, "test")


def _swept_cell(key: str) -> Callable[[RunResult], str]:
    def cell(run: RunResult) -> str:
        value = config_value(run, key)
        return "-" if value is None else _truncate(format_value(value), MAX_CELL_WIDTH)

    return cell


def _fit_columns(
    columns: list[TerminalColumn], runs: Sequence[RunResult], width: int
) -> tuple[list[TerminalColumn], list[str]]:
    """Drop columns, the least informative first, until the rows fit; also return their heads."""
    remaining, dropped = list(columns), []
    fixed = [column for column in columns if not column.group]
    candidates = [
        *fixed[-2:],
        *(column for column in reversed(columns) if column.head in DROPPED_FIRST),
        *reversed(fixed[1:-2]),
    ]
    for column in candidates:
        if max(map(len, _aligned_rows(remaining, runs))) <= width:
            break
        remaining.remove(column)
        dropped.append(column.head)
    return remaining, dropped


def _aligned_rows(columns: Sequence[TerminalColumn], runs: Sequence[RunResult]) -> list[str]:
    """Return the line of group heads, the line of heads, and a line per run."""
    cells = [
        [printable(text) for text in (column.head, *map(column.cell, runs))] for column in columns
    ]
    widths = [max(map(len, cell)) for cell in cells]
    rows = [
        "  ".join(
            text.ljust(width) if column.left else text.rjust(width)
            for column, text, width in zip(columns, row, widths, strict=True)
        ).rstrip()
        for row in zip(*cells, strict=True)
    ]
    return [_group_heads(columns, widths), *rows]


def _group_heads(columns: Sequence[TerminalColumn], widths: Sequence[int]) -> str:
    line, start, previous = "", 0, ""
    for column, width in zip(columns, widths, strict=True):
        if column.group and column.group != previous:
            indent = max(width - len(column.head), 0)
            line = line.ljust(start + indent) + column.group
        previous, start = column.group, start + width + 2
    return line


def _omitted(n: int) -> str:
    return f"... and {format_count(n, 'more run')} in runs.csv"


def _truncate(text: str, width: int) -> str:
    text = printable(text)
    return text if len(text) <= width else text[: width - 3] + "..."
