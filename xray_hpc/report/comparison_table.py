"""Render the comparison as a terminal table that fits a given width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from textwrap import wrap
from typing import NamedTuple

from xray_hpc.count_text import format_count
from xray_hpc.printable import printable
from xray_hpc.records.paths import SPLITS
from xray_hpc.report.dataset_groups import RunGroup, group_runs, share_validation_split
from xray_hpc.report.formatting import (
    flag_notes,
    format_best_epoch,
    format_duration,
    format_integer,
    format_ratio,
    status_reason,
    status_summary,
    unfinished_runs,
)
from xray_hpc.report.resource_section import total_usage
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import compared_keys, config_value, format_value, short_name

DEFAULT_WIDTH = 100
MAX_ROWS = 40  # of finished and of unfinished runs each; runs.csv has all
MAX_CELL_WIDTH = 24
MACRO_NOTE = "With more than two classes, AUC and F1 are macro averages (one-vs-rest)."
SPLIT_NOTE = "The runs use different validation splits; their validation columns compare roughly."


class TerminalColumn(NamedTuple):
    """A column; ``group`` is printed once above adjacent columns that share it."""

    head: str
    cell: Callable[[RunResult], str]
    group: str = ""
    left: bool = False


def comparison_table(runs: Sequence[RunResult], width: int = DEFAULT_WIDTH) -> str:
    """Return a table of finished runs, best first, then unfinished runs with their reasons.

    Each data set has a heading. No line is longer than ``width``.
    """
    groups = group_runs(runs)
    lines = [status_summary(runs), *wrap(total_usage(runs), width)]
    if groups:
        lines += _finished_lines(runs, groups, width)
    others = unfinished_runs(runs)
    if others:
        status = max(len(run.status) for run in others)
        name = max(len(run.name) for run in others)
        rows = [f"{run.status:{status}}  {run.name:{name}}  {status_reason(run)}" for run in others]
        lines += ["", *(_truncate(row, width) for row in rows[:MAX_ROWS])]
        if len(others) > MAX_ROWS:
            lines.append(_omitted(len(others) - MAX_ROWS))
    return "\n".join(lines)


def _finished_lines(runs: Sequence[RunResult], groups: Sequence[RunGroup], width: int) -> list[str]:
    limit = max(MAX_ROWS // len(groups), 1)
    shown = [run for group in groups for run in group.runs[:limit]]
    columns, dropped = _fit_columns(_columns(runs, groups), shown, width)
    group_heads, heads, *cells = _aligned_rows(columns, shown)
    rows = iter(cells)
    lines = ["", group_heads, heads]
    for group in groups:
        if len(groups) > 1:
            lines += ["", _truncate(f"{group.title}: {', '.join(group.classes)}", width)]
        lines += islice(rows, min(limit, len(group.runs)))
        if len(group.runs) > limit:
            lines.append(_omitted(len(group.runs) - limit))
    notes = []
    if not all(group.is_binary for group in groups):
        notes += wrap(MACRO_NOTE, width)
    if not all(share_validation_split(group.runs) for group in groups):
        notes += wrap(SPLIT_NOTE, width)
    for note in flag_notes([run for group in groups for run in group.runs]):
        notes += wrap(note, width)
    lines += ["", *notes] if notes else []
    if dropped:
        lines.append(f"(see runs.csv for: {', '.join(dropped)})")
    return lines


def _columns(runs: Sequence[RunResult], groups: Sequence[RunGroup]) -> list[TerminalColumn]:
    columns = [TerminalColumn("run", lambda run: run.name, left=True)]
    columns += [TerminalColumn(short_name(key), _swept_cell(key)) for key in compared_keys(runs)]
    for split in SPLITS:
        columns.append(_metric_column(split, "AUC", "auc"))
        columns.append(_metric_column(split, "acc", "accuracy"))
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
        *(column for column in reversed(columns) if column.head in ("spec", "sens", "F1")),
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
