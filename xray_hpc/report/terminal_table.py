"""The comparison in the terminal: aligned columns, best run first, no wider than asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from textwrap import wrap

from xray_hpc.report.formatting import (
    count,
    duration,
    kept_epoch,
    ratio,
    reason,
    standing,
    unfinished,
)
from xray_hpc.report.resource_section import in_all
from xray_hpc.report.run_groups import Group, groups, same_validation
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import compared_keys, short, show_value, value
from xray_hpc.text import format_count

WIDTH = 100
ROWS = 40  # of finished and of other runs; the rest are in runs.csv
CELL = 24
MACRO = "AUC and F1 of more than two classes are means over the classes, each against the rest."
NOT_ALIKE = "The runs do not all validate on the same images: compare those columns only roughly."


@dataclass(frozen=True)
class Column:
    """``group`` stands over neighbouring columns of the same group."""

    head: str
    cell: Callable[[RunResult], str]
    group: str = ""
    left: bool = False


def comparison(runs: Sequence[RunResult], width: int = WIDTH) -> str:
    """Finished runs, best first, then the others with the reason; lines of at most ``width``.

    Runs on different data are under a heading each.
    """
    found = groups(runs)
    lines = [standing(runs), *wrap(in_all(runs), width)]
    if found:
        lines += _compared(runs, found, width)
    others = unfinished(runs)
    if others:
        status = max(len(run.status) for run in others)
        name = max(len(run.name) for run in others)
        said = [f"{run.status:{status}}  {run.name:{name}}  {reason(run)}" for run in others]
        lines += ["", *(_cut(line, width) for line in said[:ROWS])]
        if len(others) > ROWS:
            lines.append(_more(len(others) - ROWS))
    return "\n".join(lines)


def _compared(runs: Sequence[RunResult], found: Sequence[Group], width: int) -> list[str]:
    most = max(ROWS // len(found), 1)
    shown = [run for group in found for run in group.runs[:most]]
    columns, dropped = _that_fit(_columns(runs, found), shown, width)
    *heads, rows = _aligned(columns, shown)[:2], iter(_aligned(columns, shown)[2:])
    lines = ["", *heads[0]]
    for group in found:
        if len(found) > 1:
            lines += ["", _cut(f"{group.title}: {', '.join(group.classes)}", width)]
        lines += islice(rows, min(most, len(group.runs)))
        if len(group.runs) > most:
            lines.append(_more(len(group.runs) - most))
    notes = [
        note
        for note, applies in (
            (MACRO, not all(group.two_classes for group in found)),
            (NOT_ALIKE, not all(same_validation(group.runs) for group in found)),
        )
        if applies
    ]
    lines += [""] * bool(notes) + [line for note in notes for line in wrap(note, width)]
    if dropped:
        lines.append(f"(also in runs.csv: {', '.join(dropped)})")
    return lines


def _columns(runs: Sequence[RunResult], found: Sequence[Group]) -> list[Column]:
    two, more = (any(group.two_classes is wanted for group in found) for wanted in (True, False))
    columns = [Column("run", lambda run: run.name, left=True)]
    columns += [Column(short(key), _swept(key)) for key in compared_keys(runs)]
    columns += [
        _measure("validation", "AUC", "auc", ratio),
        _measure("validation", "acc", "accuracy", ratio),
        _measure("test", "AUC", "auc", ratio),
        _measure("test", "acc", "accuracy", ratio),
    ]
    if more:
        columns.append(_measure("test", "F1", "f1", ratio))
    if two:
        columns += [
            _measure("test", "sens", "sensitivity", ratio),
            _measure("test", "spec", "specificity", ratio),
            _measure("test", "FN", "false_negatives", count),
            _measure("test", "FP", "false_positives", count),
        ]
    columns.append(Column("kept epoch", kept_epoch))
    columns.append(Column("time", lambda run: duration(run.record.seconds if run.record else None)))
    return columns


def _measure(split: str, head: str, name: str, shown: Callable[[float | None], str]) -> Column:
    return Column(head, lambda run: shown(run.measure(split, name)), group=split)


def _swept(key: str) -> Callable[[RunResult], str]:
    def cell(run: RunResult) -> str:
        found = value(run, key)
        return "-" if found is None else _cut(show_value(found), CELL)

    return cell


def _that_fit(
    columns: list[Column], runs: Sequence[RunResult], width: int
) -> tuple[list[Column], list[str]]:
    """Leave columns out, the least telling first, until the rows fit; and name those."""
    kept, dropped = list(columns), []
    fixed = [column for column in columns if not column.group]
    by_worth = [
        *fixed[-2:],
        *(column for column in reversed(columns) if column.head in ("spec", "sens", "F1")),
        *(column for column in reversed(fixed[1:-2])),
    ]
    for column in by_worth:
        if max(map(len, _aligned(kept, runs))) <= width:
            break
        kept.remove(column)
        dropped.append(column.head)
    return kept, dropped


def _aligned(columns: Sequence[Column], runs: Sequence[RunResult]) -> list[str]:
    cells = [[column.head, *(column.cell(run) for run in runs)] for column in columns]
    widths = [max(map(len, cell)) for cell in cells]
    rows = [
        "  ".join(
            text.ljust(width) if column.left else text.rjust(width)
            for column, text, width in zip(columns, row, widths, strict=True)
        ).rstrip()
        for row in zip(*cells, strict=True)
    ]
    return [_groups(columns, widths), *rows]


def _groups(columns: Sequence[Column], widths: Sequence[int]) -> str:
    """The line over the heads: each group's name where its columns begin."""
    line, at, before = "", 0, ""
    for column, width in zip(columns, widths, strict=True):
        if column.group and column.group != before:
            indent = max(width - len(column.head), 0)
            line = line.ljust(at + indent) + column.group
        before, at = column.group, at + width + 2
    return line


def _more(n: int) -> str:
    return f"... and {format_count(n, 'more run')} in runs.csv"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
