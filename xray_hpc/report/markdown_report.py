"""Render ``report.md``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from xray_hpc.count_text import format_count
from xray_hpc.records.paths import SPLITS
from xray_hpc.report.comparison import Comparison
from xray_hpc.report.comparison_files import RANKING_PARQUET, RANKING_TEX
from xray_hpc.report.dataset_groups import share_validation_split
from xray_hpc.report.formatting import (
    estimate_text,
    format_duration,
    format_integer,
    named_runs,
    number_text,
    status_reason,
    status_summary,
    unfinished_runs,
)
from xray_hpc.report.markdown import escape, image, link, table
from xray_hpc.report.resource_section import resource_section
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.selection import LOWEST_IS_BEST, RULE_TITLES

COMPARISON_FILES = {
    "ranking.csv": "runs, best first, with their metrics, intervals and ties",
    RANKING_PARQUET: "the same for pandas, with types",
    RANKING_TEX: "the best runs as a table for LaTeX",
    "settings.csv": "mean and standard deviation over seeds",
    "metrics.csv": "metrics with intervals per run, split and threshold",
    "classes.csv": "metrics with intervals per class against the rest",
    "pairs.csv": "differences of the best run from all others, with tests",
    "pr.csv": "points of precision-recall curves",
    "confusion.csv": "confusion matrices",
    "calibration.csv": "calibration before and after temperature scaling",
    "reliability.csv": "bins of the reliability diagrams",
    "importance.csv": "how much of the variance each swept key explains",
    "misses.csv": "images that runs miss, those missed by most runs first",
    "subgroups.csv": "metrics of subgroups of images",
    "shift.csv": "differences between the splits",
}
FILES = {
    "report.html": "the whole comparison, with charts, in one page that opens offline",
    "runs.csv": "one row per run: swept values, status, metrics, times, resource usage, node",
    "per_class.csv": "precision, recall, F1 and AUC per run, split and class",
    "epochs.csv": "accuracy, loss and validation AUC per run and epoch",
    "scores.csv": "scores per run and image of the validation and test split",
    "roc.csv": "points of all ROC curves",
    **COMPARISON_FILES,
}
RELAUNCH = (
    "Re-running the launch command resumes the sweep: it starts runs that are missing, failed or "
    "interrupted, and skips those that are finished, running or queued. A run is lost if its "
    "record says that it is running but no process holds it. A damaged run is trained again. "
    "An unreadable run waits until its files can be read. A run that diverged (nan loss) would "
    "diverge again: launch with a lower train.learning_rate instead."
)
PAGE = "report.html"
RANKED_RUNS = 50  # of each data set; ranking.csv has all
TESTED = (
    "Test columns have 95 % intervals clustered by patient; the threshold is 0.5, of more than two "
    "classes the highest score. Tied runs cannot be told apart from the best by their test AUC."
)
SEPARATE_DATA = "Runs on different data sets are not ranked against each other."
MACRO = "With more than two classes, AUC is the macro average of the one-vs-rest AUCs."
DIFFERENT_SPLITS = (
    "These runs use different validation images, so their validation columns compare only roughly."
)

MarkdownColumn = tuple[str, Callable[[RunResult], str]]


def run_sections(
    name: str, runs: Sequence[RunResult], comparison: Comparison, logs: Mapping[str, str]
) -> list[str]:
    """Return the sections on the runs of the sweep ``name``; ``logs`` are paths by run name."""
    parts = [f"# Sweep {escape(name)}", *_answers(comparison), _summary(runs)]
    parts += _ranking(comparison)
    parts += _warnings(comparison)
    if others := unfinished_runs(runs):
        parts += ["## Runs without a result", _unfinished_table(others, logs), RELAUNCH]
    return parts + resource_section(runs)


def markdown_report(
    sections: Sequence[str],
    figures: Mapping[str, str],
    data_files: Sequence[str],
    tables: Sequence[str],
) -> str:
    """Return the text of ``report.md``.

    Args:
        sections: the :func:`run_sections`.
        figures: captions of figures by their paths, relative to the report's folder.
        data_files: files in the sweep's ``data/``, relative to the report's folder.
        tables: files of the comparison, keys of ``COMPARISON_FILES``.
    """
    parts = [*sections]
    if figures:
        parts += ["## Figures"]
        parts += [f"{image(text, file)}\n\n*{escape(text)}*" for file, text in figures.items()]
    if data_files:
        parts += ["## Data", *_data_section(data_files)]
    listed = [file for file in FILES if file not in COMPARISON_FILES or file in tables]
    parts += ["## Files", "\n".join(f"- {link(file, file)}: {FILES[file]}" for file in listed)]
    return "\n\n".join(parts) + "\n"


def _summary(runs: Sequence[RunResult]) -> str:
    fingerprints = {run.config.get("inputs.data") for run in runs if run.config}
    several = f"The runs use {len(fingerprints)} data sets."
    data = _data_summary(runs) if len(fingerprints) < 2 else several
    sentences = [f"{status_summary(runs)}.", data, _machine_summary(runs), _software_summary(runs)]
    return " ".join(filter(None, sentences))


def _data_summary(runs: Sequence[RunResult]) -> str:
    """Describe the data set of the runs, which all use the same one."""

    def distinct(key: str) -> list[Any]:
        values = {run.config.get(key) for run in runs if run.config}
        return sorted(values - {None}, key=lambda value: (str(type(value)), value))

    if not distinct("data.source"):
        return ""
    join = " or ".join
    parts = [f"Data: {join(map(escape, distinct('data.root') or distinct('data.source')))}"]
    if fingerprints := distinct("inputs.data"):
        parts.append(f"fingerprint `{str(fingerprints[0])[:12]}`")
    colors = join("grey" if channels == 1 else "RGB" for channels in distinct("data.channels"))
    sizes = join(f"{size} x {size}" for size in distinct("data.image_size"))
    parts.append(f"{sizes} pixels, {colors}")
    splits = join(escape(str(split)) for split in distinct("data.split"))
    parts.append(f"validation split: {splits}")
    finished = [run for run in runs if run.finished]
    if finished:
        counts = [sorted({run.metric(split, "images") for run in finished}) for split in SPLITS]
        validation, test = (join(map(format_integer, images)) for images in counts)
        parts.append(f"{validation} validation and {test} test images")
    note = "" if share_validation_split(finished) else f" {DIFFERENT_SPLITS}"
    return "; ".join(parts) + "." + note


def _machine_summary(runs: Sequence[RunResult]) -> str:
    records = [run.record for run in runs if run.record and run.record.seconds is not None]
    if not records:
        return ""
    nodes = sorted({record.node for record in records if record.node})
    gpus = sorted({gpu for record in records for gpu in record.gpus})
    total = sum(record.seconds or 0 for record in records)
    devices = f" on {escape(', '.join(gpus))}" if gpus else " on CPUs"
    places = f" ({format_count(len(nodes), 'node')})" if len(nodes) > 1 else ""
    return f"Total training time: {format_duration(total)}{devices}{places}."


def _software_summary(runs: Sequence[RunResult]) -> str:
    records = [run.record for run in runs if run.record]
    parts = []
    versions = sorted({str(v) for r in records if (v := r.versions.get("tensorflow"))})
    if versions:
        parts.append(f"TensorFlow {escape(', '.join(versions))}")
    gits = [record.git for record in records if record.git]
    commits = sorted({git.commit[:12] for git in gits})
    if commits:
        dirty = " with uncommitted changes" if any(git.dirty for git in gits) else ""
        parts.append(f"commit {escape(', '.join(commits))}{dirty}")
    return f"Software: {'; '.join(parts)}." if parts else ""


def _answers(comparison: Comparison) -> list[str]:
    several = len(comparison.winners) > 1
    answers = [
        f"**{escape(f'{winner.data}: {winner.answer}' if several else winner.answer)}**"
        for winner in comparison.winners
    ]
    details = f"{link('The page', PAGE)} has all charts and tables."
    return [*answers, details] if answers else []


def _ranking(comparison: Comparison) -> list[str]:
    ranking = comparison.ranking
    if ranking.empty:
        return []
    extreme = "lowest" if comparison.rule in LOWEST_IS_BEST else "highest"
    groups = [(str(data), table) for data, table in ranking.groupby("data", sort=False)]
    several, multiclass = len(groups) > 1, "test_auc_micro" in ranking
    rule = (
        f"Ranked by the {RULE_TITLES[comparison.rule]}, the {extreme} first; runs that differ in "
        "their seed alone are ranked by their mean."
    )
    sentences = [rule, TESTED, SEPARATE_DATA if several else "", MACRO if multiclass else ""]
    parts = ["## Ranking", " ".join(filter(None, sentences))]
    for data, ranked in groups:
        parts += [f"### {escape(data)}"] if several else []
        parts.append(_ranking_table(ranked.head(RANKED_RUNS), comparison.rule))
        if len(ranked) > RANKED_RUNS:
            parts.append(f"{link('ranking.csv', 'ranking.csv')} has all {len(ranked):,} runs.")
    return parts


def _ranking_table(ranking: pd.DataFrame, rule: str) -> str:
    metrics = {"auc": "AUC", "accuracy": "accuracy", "sensitivity": "sensitivity"}
    metrics |= {"specificity": "specificity"}
    metrics = {
        name: head
        for name, head in metrics.items()
        if f"test_{name}" in ranking and ranking[f"test_{name}"].notna().any()
    }
    heads = ["run", "settings", RULE_TITLES[rule], *(f"test {head}" for head in metrics.values())]
    rows = [
        [escape(row["run"]), escape(row["label"]), number_text(row["selection"])]
        + [estimate_text(row, f"test_{name}") for name in metrics]
        + ["tied" if row["tied"] else ""]
        for row in ranking.to_dict("records")
    ]
    return table([*heads, "tied"], rows, left=2)


def _warnings(comparison: Comparison) -> list[str]:
    several = len(comparison.winners) > 1
    lines = []
    for warning in comparison.warnings:
        data = f"{warning.data}: " if several and warning.data else ""
        names = f" ({named_runs(warning)})" if warning.runs else ""
        lines.append(f"- {escape(f'{data}{warning.text}{names}')}")
    return ["## Warnings", "\n".join(lines)] if lines else []


def _run_table(runs: Iterable[RunResult], columns: Sequence[MarkdownColumn], left: int = 1) -> str:
    """Return a table with a column of names and these columns."""
    rows = ([escape(run.name), *(cell(run) for _, cell in columns)] for run in runs)
    return table(["run", *(head for head, _ in columns)], rows, left)


def _unfinished_table(runs: Sequence[RunResult], logs: Mapping[str, str]) -> str:
    columns: list[MarkdownColumn] = [
        ("status", lambda run: run.status),
        ("reason", lambda run: escape(status_reason(run))),
        ("log", lambda run: link("log", logs[run.name]) if run.name in logs else ""),
    ]
    return _run_table(runs, columns, left=4)


def _data_section(files: Sequence[str]) -> list[str]:
    """List the files of each data set, under a heading each if there are several."""
    folders: dict[PurePosixPath, list[str]] = {}
    for file in files:
        folders.setdefault(PurePosixPath(file).parent, []).append(file)
    parts = []
    for folder, members in folders.items():
        if len(folders) > 1:
            parts.append(f"### data/{escape(folder.name)}")
        texts = [file for file in members if not file.endswith(".png")]
        links = ", ".join(link(PurePosixPath(file).name, file) for file in texts)
        parts += [f"Files that describe the data set: {links}."] if links else []
        pictures = [file for file in members if file.endswith(".png")]
        parts += [image(PurePosixPath(file).stem.replace("_", " "), file) for file in pictures]
    return parts
