"""``report.md``: the sweep in words, tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from xray_hpc.records.paths import SPLITS
from xray_hpc.report.class_section import classes_section
from xray_hpc.report.formatting import (
    count,
    duration,
    kept_epoch,
    misses,
    ratio,
    reason,
    standing,
    unfinished,
)
from xray_hpc.report.markdown import escape, link, picture, table
from xray_hpc.report.resource_section import used_section
from xray_hpc.report.run_groups import Group, groups, same_validation
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import compared_keys, short, show_value, value
from xray_hpc.text import format_count

CAPTIONS = {
    "roc_validation.png": "ROC on the validation images",
    "roc_test.png": "ROC on the test images",
    "confusion_test.png": (
        "What the best runs took the test images for: a row is a true class, a column what it was "
        "called; the shade is the share of the row"
    ),
    "accuracy.png": "Accuracy over the epochs",
    "loss.png": "Loss (cross-entropy) over the epochs",
    "auc.png": "Validation AUC over the epochs",
    "learning_rate_unfreeze.png": (
        "Validation AUC by learning rate and unfrozen layers; runs that differ only in their seed "
        "share a cell (mean), the best cell is bold, a hatched cell has no finished run"
    ),
}
FILES = {
    "runs.csv": "one row a run: swept values, status, measures, times, what it used and where",
    "per_class.csv": "precision, recall, F1 and AUC of every class, by every run",
    "epochs.csv": "accuracy, loss and validation AUC of every epoch of every run",
    "scores.csv": "the score of every validation and test image, by every run",
    "roc.csv": "the points of every ROC curve",
}
RELAUNCH = (
    "Launch the same command again: it runs what is missing, failed or was interrupted, and leaves "
    "alone what is finished or in flight. A run is lost when its record says that it runs, but "
    "nothing does any more. A damaged run is made anew when its folder is removed "
    "first."
)
COMPARED = (
    "Best first by validation AUC. Choose a run by its validation columns: the test columns say "
    "how good the chosen run is, and picking by them would flatter it. F1 is the mean of the "
    "classes' own. The CSV files and figures count epochs from 0."
)
APART = "Runs on different data are not ranked against each other."
MACRO = (
    "With more than two classes, AUC is the mean of the classes' own, each against the rest (macro "
    "one-vs-rest)."
)
NOT_ALIKE = (
    "These runs do not all validate on the same images, so that their validation columns compare "
    "only roughly."
)

Column = tuple[str, Callable[[RunResult], str]]


def sections(name: str, runs: Sequence[RunResult], logs: Mapping[str, str]) -> list[str]:
    """What ``report.md`` says of the runs.

    Args:
        name: the sweep's.
        runs: all of them, in launch order.
        logs: the log of each run that has one, relative to the report's folder.
    """
    found = groups(runs)
    parts = [f"# Sweep {escape(name)}", _summary(runs)]
    if found:
        parts += _comparison(runs, found)
        parts += _misses([run for group in found if group.two_classes for run in group.runs])
        parts += classes_section(found)
    others = unfinished(runs)
    if others:
        parts += ["## Runs without a result", _others(others, logs), RELAUNCH]
    return parts + used_section(runs)


def report(said: Sequence[str], figures: Sequence[str], data_files: Sequence[str]) -> str:
    """The text of ``report.md``.

    Args:
        said: the :func:`sections` on the runs.
        figures: file names beside the report, of those in ``CAPTIONS``.
        data_files: what lies in the sweep's ``data/``, relative to the report's folder.
    """
    parts = [*said]
    if figures:
        parts += ["## Figures"]
        parts += [f"{picture(CAPTIONS[file], file)}\n\n*{CAPTIONS[file]}.*" for file in figures]
    if data_files:
        parts += ["## Data", *_data(data_files)]
    parts += ["## Files", "\n".join(f"- {link(file, file)}: {FILES[file]}" for file in FILES)]
    return "\n\n".join(parts) + "\n"


def _summary(runs: Sequence[RunResult]) -> str:
    sets = {run.config.get("inputs.data") for run in runs if run.config}
    data = _data_set(runs) if len(sets) < 2 else f"The runs are on {len(sets)} data sets."
    said = [f"{standing(runs)}.", data, _machines(runs), _software(runs)]
    return " ".join(sentence for sentence in said if sentence)


def _data_set(runs: Sequence[RunResult]) -> str:
    """What the runs, which are on one data set, were trained and measured on."""

    def seen(key: str) -> list[Any]:
        values = {run.config.get(key) for run in runs if run.config}
        return sorted(values - {None}, key=lambda value: (str(type(value)), value))

    if not seen("data.source"):
        return ""
    said = [f"Data: {_or(map(escape, seen('data.root') or seen('data.source')))}"]
    if fingerprints := seen("inputs.data"):
        said.append(f"fingerprint `{str(fingerprints[0])[:12]}`")
    colors = _or("grey" if channels == 1 else "RGB" for channels in seen("data.channels"))
    sides = _or(f"{side} x {side}" for side in seen("data.image_size"))
    said.append(f"{sides} pixels, {colors}")
    said.append(f"validation split: {_or(escape(str(split)) for split in seen('data.split'))}")
    images = {
        split: sorted({run.measure(split, "images") for run in runs if run.finished})
        for split in SPLITS
    }
    if all(images.values()):
        validation, test = (_or(map(count, images[split])) for split in SPLITS)
        said.append(f"{validation} validation and {test} test images")
    finished = [run for run in runs if run.finished]
    return "; ".join(said) + "." + ("" if same_validation(finished) else f" {NOT_ALIKE}")


def _or(texts: Iterable[str]) -> str:
    return " or ".join(texts)


def _machines(runs: Sequence[RunResult]) -> str:
    records = [run.record for run in runs if run.record and run.record.seconds is not None]
    if not records:
        return ""
    nodes = sorted({record.node for record in records if record.node})
    gpus = sorted({gpu for record in records for gpu in record.gpus})
    total = sum(record.seconds or 0 for record in records)
    on = f" on {escape(', '.join(gpus))}" if gpus else " on CPUs"
    where = f" ({format_count(len(nodes), 'node')})" if len(nodes) > 1 else ""
    return f"Training took {duration(total)} in all{on}{where}."


def _software(runs: Sequence[RunResult]) -> str:
    records = [run.record for run in runs if run.record]
    said = []
    versions = sorted({str(v) for r in records if (v := r.versions.get("tensorflow"))})
    if versions:
        said.append(f"TensorFlow {escape(', '.join(versions))}")
    gits = [record.git for record in records if record.git and record.git.get("commit")]
    commits = sorted({str(git["commit"])[:12] for git in gits})
    if commits:
        dirty = " with uncommitted changes" if any(git.get("dirty") for git in gits) else ""
        said.append(f"commit {escape(', '.join(commits))}{dirty}")
    return f"Software: {'; '.join(said)}." if said else ""


def _comparison(runs: Sequence[RunResult], found: Sequence[Group]) -> list[str]:
    keys = compared_keys(runs)
    apart = len(found) > 1
    several = not all(group.two_classes for group in found)
    said = [COMPARED, APART if apart else "", MACRO if several else ""]
    parts = ["## Comparison", " ".join(sentence for sentence in said if sentence)]
    for group in found:
        if apart:
            parts += [f"### {escape(group.title)}: {escape(', '.join(group.classes))}"]
            parts += [_data_set(group.runs)]
        parts += [_compared(group, keys)]
    return parts


def _compared(group: Group, keys: Sequence[str]) -> str:
    swept = [key for key in keys if any(value(run, key) is not None for run in group.runs)]
    columns: list[Column] = [("run", _run), *(_swept(key) for key in swept)]
    columns += [
        _measure("validation", "auc", "AUC"),
        _measure("validation", "accuracy", "accuracy"),
    ]
    columns += [_measure("test", "auc", "AUC"), _measure("test", "accuracy", "accuracy")]
    if group.two_classes:
        columns += [_measure("test", rate, rate) for rate in ("sensitivity", "specificity")]
    columns.append(_measure("test", "f1", "F1"))
    columns.append(("kept epoch", kept_epoch))
    columns.append(
        ("parameters", lambda run: count(run.metrics.parameters if run.metrics else None))
    )
    columns.append(("time", lambda run: duration(run.record.seconds if run.record else None)))
    return _table(group.runs, columns)


def _table(runs: Iterable[RunResult], columns: Sequence[Column], left: int = 1) -> str:
    rows = ([cell(run) for _, cell in columns] for run in runs)
    return table([head for head, _ in columns], rows, left)


def _swept(key: str) -> Column:
    def cell(run: RunResult) -> str:
        found = value(run, key)
        return "" if found is None else escape(show_value(found))

    return (short(key), cell)


def _parameters(run: RunResult) -> str:
    return count(run.metrics.parameters if run.metrics else None)


def _measure(split: str, name: str, head: str) -> Column:
    return (f"{split} {head}", lambda run: ratio(run.measure(split, name)))


def _run(run: RunResult) -> str:
    return escape(run.name)


def _misses(runs: Sequence[RunResult]) -> list[str]:
    if not runs:
        return []
    thresholds = ", ".join(
        sorted({show_value(run.metrics and run.metrics.threshold) for run in runs})
    )
    positive = " or ".join(sorted({run.classes[1] for run in runs}))
    meant = (
        f"A false negative is a positive image ({escape(positive)}, the second class in sorted "
        "order) that the model calls negative, its score being no greater than the threshold; a "
        "false positive is the reverse."
    )
    columns: list[Column] = [("run", _run)]
    columns += [
        _missed(split, kind) for split in SPLITS for kind in ("false_negatives", "false_positives")
    ]
    return [f"## Misses at threshold {thresholds}", meant, _table(runs, columns)]


def _missed(split: str, kind: str) -> Column:
    return (f"{split} {kind.replace('_', ' ')}", lambda run: misses(run, split, kind))


def _others(others: Sequence[RunResult], logs: Mapping[str, str]) -> str:
    columns: list[Column] = [
        ("run", _run),
        ("status", lambda run: run.status),
        ("reason", lambda run: escape(reason(run))),
        ("log", lambda run: link("log", logs[run.name]) if run.name in logs else ""),
    ]
    return _table(others, columns, left=4)


def _data(files: Sequence[str]) -> list[str]:
    """What lies in each folder, a heading a folder where there are several."""
    folders: dict[PurePosixPath, list[str]] = {}
    for file in files:
        folders.setdefault(PurePosixPath(file).parent, []).append(file)
    parts = []
    for folder, held in folders.items():
        if len(folders) > 1:
            parts.append(f"### data/{escape(folder.name)}")
        texts = [file for file in held if not file.endswith(".png")]
        listed = ", ".join(link(PurePosixPath(file).name, file) for file in texts)
        parts += [f"What the data set holds: {listed}."] if listed else []
        parts += [picture(_words(file), file) for file in held if file.endswith(".png")]
    return parts


def _words(file: str) -> str:
    return PurePosixPath(file).stem.replace("_", " ")
