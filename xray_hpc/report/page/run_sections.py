"""The last sections: cost, runs without a result, how to reproduce, software."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from xray_hpc.report.formatting import status_reason, status_summary, unfinished_runs
from xray_hpc.report.page.blocks import Block, Heading, Items, Paragraph, Section, TableBlock
from xray_hpc.report.page.content import PageContent
from xray_hpc.report.page.table import UNKNOWN, Cell, Table
from xray_hpc.report.resource_section import COLUMNS, DEFINITIONS, RECOMMENDATIONS, total_usage
from xray_hpc.report.right_sizing import recommendations
from xray_hpc.report.run_result import RunResult

COMMAND = "python -m xray_hpc.train"
REPRODUCE = (
    "Each command trains one run again, from the commit and the versions below and with the same "
    "data. Results are equal to the bit on the same kind of machine."
)


def cost_section(content: PageContent) -> Section:
    """Return what the runs used of the machines, and recommended requests."""
    attempted = [run for run in content.runs if run.usage.attempts]
    if not attempted:
        return Section("cost", "Cost")
    columns = [
        column
        for column in COLUMNS
        if any(column.value(run.usage) is not None for run in attempted)
    ]
    rows = [
        [
            Cell(run.name),
            *(_usage_cell(column.formatter, column.value(run.usage)) for column in columns),
        ]
        for run in attempted
    ]
    table = Table("cost-table", ["run", *(c.head for c in columns)], rows, interactive=True)
    total = total_usage(attempted)
    sentences = [f"Total: {total}." if total else "", DEFINITIONS]
    blocks: list[Block] = [Paragraph(" ".join(filter(None, sentences))), TableBlock(table)]
    if lines := recommendations(content.runs):
        blocks += [Heading("Requests"), Paragraph(RECOMMENDATIONS), Items(lines)]
    return Section("cost", "Cost", blocks)


def _usage_cell(formatter: object, value: float | None) -> Cell:
    assert callable(formatter)
    return Cell(UNKNOWN if value is None else formatter(value), order=value)


def unfinished_section(content: PageContent) -> Section:
    """Return the runs without a result, with the reason."""
    runs = unfinished_runs(content.runs)
    if not runs:
        return Section("unfinished", "Runs without a result")
    rows = [
        [
            Cell(run.name),
            Cell(run.model),
            Cell(run.status),
            Cell(status_reason(run)),
            Cell("log" if run.name in content.logs else "", href=content.logs.get(run.name, "")),
        ]
        for run in runs
    ]
    heads = ["run", "model", "status", "reason", "log"]
    blocks: list[Block] = [Paragraph(f"{status_summary(content.runs)}.")]
    blocks += [TableBlock(Table("unfinished-table", heads, rows, interactive=len(rows) > 10))]
    return Section("unfinished", "Failed, missing and stopped runs", blocks)


def reproduce_section(content: PageContent) -> Section:
    """Return a command for each run."""
    rows = [[Cell(run.name), Cell(reproduce_command(run), code=True)] for run in content.runs]
    table = Table("reproduce-table", ["run", "command"], rows, interactive=len(rows) > 10)
    return Section("reproduce", "Reproduce a run", [Paragraph(REPRODUCE), TableBlock(table)])


def reproduce_command(run: RunResult) -> str:
    """Return the command that trains the run again."""
    overrides = run.record.overrides if run.record else []
    pairs = overrides or [f"{key}={value}" for key, value in run.overrides.items()]
    return " ".join([COMMAND, *map(shlex.quote, pairs)])


def software_section(content: PageContent) -> Section:
    """Return the versions of the software, the commits and the machines of the runs."""
    records = [run.record for run in content.runs if run.record]
    rows = []
    for name in dict.fromkeys(name for record in records for name in record.versions):
        versions = _distinct(record.versions.get(name) for record in records)
        rows.append([Cell(name), Cell(versions)])
    commits = _distinct(
        record.git.commit[:12] + (" with uncommitted changes" if record.git.dirty else "")
        for record in records
        if record.git
    )
    gpus = _distinct(gpu for record in records for gpu in record.gpus)
    nodes = _distinct(record.node for record in records)
    rows += [
        [Cell(name), Cell(value)]
        for name, value in (("commit", commits), ("GPUs", gpus), ("nodes", nodes))
        if value
    ]
    table = TableBlock(Table("software-table", ["software or machine", "version or name"], rows))
    return Section("software", "Software and machines", [table] if rows else [])


def _distinct(values: Iterable[str | None]) -> str:
    return ", ".join(sorted({str(value) for value in values if value}))
