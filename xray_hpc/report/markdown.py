"""``report.md``: the sweep in words, tables and figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import quote

from xray_hpc.report.axes import compared_keys, ranked, short, show_value
from xray_hpc.report.reading import Run
from xray_hpc.report.wording import (
    best_epoch,
    count,
    duration,
    misses,
    number_of,
    ratio,
    reason,
    standing,
    unfinished,
)
from xray_hpc.runs.paths import SPLITS

CAPTIONS = {
    "roc_validation.png": "ROC on the validation images",
    "roc_test.png": "ROC on the test images",
    "accuracy.png": "Accuracy over the epochs",
    "loss.png": "Loss (binary cross-entropy) over the epochs",
    "learning_rate_unfreeze.png": (
        "Validation AUC by learning rate and unfrozen layers; runs that differ only in their seed "
        "share a cell (mean), the best cell is bold, a hatched cell has no finished run"
    ),
}
FILES = {
    "runs.csv": "one row a run: swept values, status, measures, times, where it ran",
    "epochs.csv": "accuracy and loss of every epoch of every run",
    "scores.csv": "the score of every validation and test image, by every run",
    "roc.csv": "the points of every ROC curve",
}
RELAUNCH = (
    "Launch the same command again: it runs what is missing, failed or was interrupted, and leaves "
    "alone what is finished or in flight. A damaged run is made anew when its folder is removed "
    "first."
)

Column = tuple[str, Callable[[Run], str]]


def report(
    name: str,
    runs: Sequence[Run],
    figures: Sequence[str],
    data_files: Sequence[str],
    logs: Mapping[str, str],
) -> str:
    """The text of ``report.md``.

    Args:
        name: the sweep's.
        runs: all of them, in launch order.
        figures: file names beside the report, of those in ``CAPTIONS``.
        data_files: what lies in the sweep's ``data/``, relative to the report's folder.
        logs: the log of each run that has one, relative to the report's folder.
    """
    best = ranked(runs)
    parts = [f"# Sweep {escape(name)}", _summary(runs)]
    if best:
        parts += ["## Comparison", _COMPARED, _comparison(runs, best)]
        parts += [f"## Misses at threshold {_threshold(best)}", _MISSED, _misses(best)]
    others = unfinished(runs)
    if others:
        parts += ["## Runs without a result", _others(others, logs), RELAUNCH]
    if figures:
        parts += ["## Figures"]
        parts += [f"![{CAPTIONS[file]}]({file})\n\n*{CAPTIONS[file]}.*" for file in figures]
    if data_files:
        parts += ["## Data", *_data(data_files)]
    parts += ["## Files", _files()]
    return "\n\n".join(parts) + "\n"


_COMPARED = (
    "Best first by validation AUC. Choose a run by its validation columns: the test columns say "
    "how good the chosen run is, and picking by them would flatter it. The CSV "
    "files and figures count epochs from 0."
)
_MISSED = (
    "A false negative is a positive image (label 1, the second class in sorted order) that the "
    "model calls negative, its score being no greater than the threshold; a false positive is the "
    "reverse."
)


def escape(text: str) -> str:
    """``text`` as Markdown shows it unchanged, in a table cell too."""
    text = re.sub(r"([\\`*\[\]<>|#~&])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\_", text)


def link(text: str, path: str) -> str:
    """A link to a relative path, whatever characters it has."""
    return f"[{escape(text)}]({quote(path)})"


def table(runs: Iterable[Run], columns: Sequence[Column], left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns are aligned left, the others right."""
    lines = [[escape(head) for head, _ in columns]]
    lines += [["---"] * left + ["--:"] * (len(columns) - left)]
    lines += [[cell(run) for _, cell in columns] for run in runs]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _summary(runs: Sequence[Run]) -> str:
    said = [f"{standing(runs)}.", _data_set(runs), _machines(runs), _software(runs)]
    return " ".join(sentence for sentence in said if sentence)


def _data_set(runs: Sequence[Run]) -> str:
    configs = [run.config for run in runs if run.config]
    data = {
        tuple(kv for kv in c.items() if kv[0].startswith(("data.", "inputs.data"))) for c in configs
    }
    if len(data) != 1:
        return "The runs differ in their data (see runs.csv)." if data else ""
    config = configs[0]
    source, root = config.get("data.source"), config.get("data.root")
    said = [f"Data: {escape(str(source if root is None else root))}"]
    if fingerprint := config.get("inputs.data"):
        said.append(f"fingerprint `{str(fingerprint)[:12]}`")
    side, channels = config.get("data.image_size"), config.get("data.channels")
    said.append(f"{side} x {side} pixels, {'grey' if channels == 1 else 'RGB'}")
    said.append(f"validation split: {escape(str(config.get('data.split')))}")
    images = {tuple(run.measure(split, "images") for split in SPLITS) for run in ranked(runs)}
    if len(images) == 1:
        validation, test = images.pop()
        said.append(f"{count(validation)} validation and {count(test)} test images")
    return "; ".join(said) + "."


def _machines(runs: Sequence[Run]) -> str:
    records = [run.record for run in runs if run.record and run.record.seconds is not None]
    if not records:
        return ""
    nodes = sorted({record.node for record in records if record.node})
    gpus = sorted({gpu for record in records for gpu in record.gpus})
    total = sum(record.seconds or 0 for record in records)
    on = f" on {escape(', '.join(gpus))}" if gpus else " on CPUs"
    where = f" ({number_of(len(nodes), 'node')})" if len(nodes) > 1 else ""
    return f"Training took {duration(total)} in all{on}{where}."


def _software(runs: Sequence[Run]) -> str:
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


def _threshold(best: Sequence[Run]) -> str:
    return ", ".join(sorted({show_value(run.metrics.get("threshold")) for run in best}))


def _swept(key: str) -> Column:
    return (short(key), lambda run: _swept_value(run, key))


def _swept_value(run: Run, key: str) -> str:
    value = run.config.get(key)
    return "" if value is None else escape(show_value(value))


def _measure(split: str, name: str, head: str) -> Column:
    return (f"{split} {head}", lambda run: ratio(run.measure(split, name)))


def _missed(split: str, kind: str) -> Column:
    return (f"{split} {kind.replace('_', ' ')}", lambda run: misses(run, split, kind))


def _run(run: Run) -> str:
    return escape(run.name)


def _comparison(runs: Sequence[Run], best: Sequence[Run]) -> str:
    measures = (("auc", "AUC"), ("accuracy", "accuracy"))
    rates = (("sensitivity", "sensitivity"), ("specificity", "specificity"))
    columns: list[Column] = [("run", _run), *(_swept(key) for key in compared_keys(runs))]
    columns += [_measure("validation", name, head) for name, head in measures]
    columns += [_measure("test", name, head) for name, head in (*measures, *rates)]
    columns.append(("best epoch", best_epoch))
    columns.append(("parameters", lambda run: count(run.metrics.get("parameters"))))
    columns.append(("time", lambda run: duration(run.record.seconds if run.record else None)))
    return table(best, columns)


def _misses(best: Sequence[Run]) -> str:
    kinds = ("false_negatives", "false_positives")
    return table(best, [("run", _run), *(_missed(s, kind) for s in SPLITS for kind in kinds)])


def _others(others: Sequence[Run], logs: Mapping[str, str]) -> str:
    columns: list[Column] = [
        ("run", _run),
        ("status", lambda run: run.status),
        ("reason", lambda run: escape(reason(run))),
        ("log", lambda run: link("log", logs[run.name]) if run.name in logs else ""),
    ]
    return table(others, columns, left=4)


def _data(files: Sequence[str]) -> list[str]:
    texts = [file for file in files if not file.endswith(".png")]
    pictures = [file for file in files if file.endswith(".png")]
    listed = ", ".join(link(PurePosixPath(file).name, file) for file in texts)
    shown = [f"![{escape(_words(file))}]({quote(file)})" for file in pictures]
    return ([f"What the data set holds: {listed}."] if listed else []) + shown


def _words(file: str) -> str:
    return PurePosixPath(file).stem.replace("_", " ")


def _files() -> str:
    return "\n".join(f"- {link(file, file)}: {what}" for file, what in FILES.items())
