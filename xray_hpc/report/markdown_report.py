"""Render ``report.md``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from xray_hpc.count_text import format_count
from xray_hpc.records.paths import SPLITS
from xray_hpc.records.run_flags import MEANINGS, Flag, describe_flags
from xray_hpc.report.class_section import class_section
from xray_hpc.report.dataset_groups import RunGroup, group_runs, share_validation_split
from xray_hpc.report.formatting import (
    format_best_epoch,
    format_duration,
    format_errors,
    format_integer,
    format_ratio,
    status_reason,
    status_summary,
    unfinished_runs,
)
from xray_hpc.report.markdown import escape, image, link, table
from xray_hpc.report.resource_section import resource_section
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import compared_keys, config_value, format_value, short_name

FILES = {
    "report.html": "the whole comparison, with charts, in one page that opens offline",
    "runs.csv": "one row per run: swept values, status, metrics, times, resource usage, node",
    "per_class.csv": "precision, recall, F1 and AUC per run, split and class",
    "epochs.csv": "accuracy, loss and validation AUC per run and epoch",
    "scores.csv": "scores per run and image of the validation and test split",
    "roc.csv": "points of all ROC curves",
}
RELAUNCH = (
    "Re-running the launch command resumes the sweep: it starts runs that are missing, failed or "
    "interrupted, and skips those that are finished, running or queued. A run is lost if its "
    "record says that it is running but no process holds it. A damaged run is trained again. "
    "An unreadable run waits until its files can be read. A run that diverged (nan loss) would "
    "diverge again: launch with a lower train.learning_rate instead."
)
FLAGGED = "Judged on the validation images, ties also on the test images:"
RANKING = (
    "Runs are ranked by validation AUC. Select a run by its validation columns; the test columns "
    "then estimate the performance of the selected run, and selecting by them would overestimate "
    "it. F1 is the macro average over the classes."
)
SEPARATE_DATA = "Runs on different data sets are not ranked against each other."
MACRO = "With more than two classes, AUC is the macro average of the one-vs-rest AUCs."
DIFFERENT_SPLITS = (
    "These runs use different validation images, so their validation columns compare only roughly."
)

MarkdownColumn = tuple[str, Callable[[RunResult], str]]


def run_sections(name: str, runs: Sequence[RunResult], logs: Mapping[str, str]) -> list[str]:
    """Return the sections on the runs of the sweep ``name``; ``logs`` are paths by run name."""
    groups = group_runs(runs)
    parts = [f"# Sweep {escape(name)}", _summary(runs)]
    if groups:
        parts += _comparison(runs, groups)
        parts += _flagged([run for group in groups for run in group.runs if run.flags])
        parts += _errors([run for group in groups if group.is_binary for run in group.runs])
        parts += class_section(groups)
    if others := unfinished_runs(runs):
        parts += ["## Runs without a result", _unfinished_table(others, logs), RELAUNCH]
    return parts + resource_section(runs)


def markdown_report(
    sections: Sequence[str], figures: Mapping[str, str], data_files: Sequence[str]
) -> str:
    """Return the text of ``report.md``.

    Args:
        sections: the :func:`run_sections`.
        figures: captions of figures by their paths, relative to the report's folder.
        data_files: files in the sweep's ``data/``, relative to the report's folder.
    """
    parts = [*sections]
    if figures:
        parts += ["## Figures"]
        parts += [f"{image(text, file)}\n\n*{escape(text)}*" for file, text in figures.items()]
    if data_files:
        parts += ["## Data", *_data_section(data_files)]
    parts += ["## Files", "\n".join(f"- {link(file, file)}: {FILES[file]}" for file in FILES)]
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


def _comparison(runs: Sequence[RunResult], groups: Sequence[RunGroup]) -> list[str]:
    keys = compared_keys(runs)
    several = len(groups) > 1
    multiclass = not all(group.is_binary for group in groups)
    sentences = [RANKING, SEPARATE_DATA if several else "", MACRO if multiclass else ""]
    parts = ["## Comparison", " ".join(filter(None, sentences))]
    for group in groups:
        if several:
            parts += [f"### {escape(group.title)}: {escape(', '.join(group.classes))}"]
            parts += [_data_summary(group.runs)]
        parts += [_comparison_table(group, keys)]
    return parts


def _comparison_table(group: RunGroup, keys: Sequence[str]) -> str:
    swept = [key for key in keys if any(config_value(run, key) is not None for run in group.runs)]
    columns = [_swept_column(key) for key in swept]
    for split in SPLITS:
        columns.append(_metric_column(split, "auc", "AUC"))
        columns.append(_metric_column(split, "accuracy", "accuracy"))
    if group.is_binary:
        columns += [_metric_column("test", rate, rate) for rate in ("sensitivity", "specificity")]
    columns.append(_metric_column("test", "f1", "F1"))
    columns.append(("best epoch", format_best_epoch))
    columns.append(
        ("parameters", lambda run: format_integer(getattr(run.metrics, "parameters", None)))
    )
    columns.append(("time", lambda run: format_duration(run.training_seconds)))
    return _run_table(group.runs, columns)


def _run_table(runs: Iterable[RunResult], columns: Sequence[MarkdownColumn], left: int = 1) -> str:
    """Return a table with a column of names and these columns."""
    rows = ([escape(run.name), *(cell(run) for _, cell in columns)] for run in runs)
    return table(["run", *(head for head, _ in columns)], rows, left)


def _swept_column(key: str) -> MarkdownColumn:
    def cell(run: RunResult) -> str:
        value = config_value(run, key)
        return "" if value is None else escape(format_value(value))

    return (short_name(key), cell)


def _metric_column(split: str, name: str, head: str) -> MarkdownColumn:
    return (f"{split} {head}", lambda run: format_ratio(run.metric(split, name)))


def _flagged(runs: Sequence[RunResult]) -> list[str]:
    if not runs:
        return []
    flags = [flag for flag in Flag if any(flag in run.flags for run in runs)]
    meanings = "\n".join(f"- {flag.label}: {MEANINGS[flag]}" for flag in flags)
    columns: list[MarkdownColumn] = [("flags", lambda run: describe_flags(run.flags))]
    return ["## Flagged runs", FLAGGED, meanings, _run_table(runs, columns, left=2)]


def _errors(runs: Sequence[RunResult]) -> list[str]:
    if not runs:
        return []
    thresholds = sorted({format_value(run.metrics and run.metrics.threshold) for run in runs})
    positive = " or ".join(sorted({run.classes[1] for run in runs}))
    definition = (
        f"A false negative is a positive image ({escape(positive)}, the second class in sorted "
        "order) whose score does not exceed the threshold; a false positive is a negative image "
        "whose score does."
    )
    kinds = ("false_negatives", "false_positives")
    columns = [_error_column(split, kind) for split in SPLITS for kind in kinds]
    heading = f"## False negatives and false positives at threshold {', '.join(thresholds)}"
    return [heading, definition, _run_table(runs, columns)]


def _error_column(split: str, kind: str) -> MarkdownColumn:
    return (f"{split} {kind.replace('_', ' ')}", lambda run: format_errors(run, split, kind))


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
