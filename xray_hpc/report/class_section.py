"""The report's section on per-class metrics and the most frequent misclassifications."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xray_hpc.report.dataset_groups import RunGroup
from xray_hpc.report.formatting import format_integer, format_ratio
from xray_hpc.report.markdown import escape, table
from xray_hpc.report.run_result import RunResult

MAX_RUNS_SHOWN = 3  # of larger groups only the best run is shown
MAX_CONFUSIONS = 10
SPLIT = "test"

DEFINITIONS = (
    "Precision = TP / (TP + FP), Recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN), each with "
    "the row's class as positive; AUC is one-vs-rest."
)


def class_section(groups: Sequence[RunGroup]) -> list[str]:
    """Return the section's paragraphs: a table of per-class metrics, then misclassifications."""
    shown = [run for group in groups for run in _shown_runs(group)]
    all_shown = len(shown) == sum(len(group.runs) for group in groups)
    best = "the best run by validation AUC" + (" on each data set" if len(groups) > 1 else "")
    heads = ("run", "class", "images", "precision", "recall", "F1", "AUC")
    rows = [row for run in shown for row in _class_rows(run)]
    parts = [
        "## Per-class metrics",
        f"Metrics of {'every run' if all_shown else best} on the test images. {DEFINITIONS}",
        table(heads, rows, left=2),
    ]
    for group in groups:
        if not group.is_binary:
            parts += _misclassifications(group.runs[0])
    return parts


def _shown_runs(group: RunGroup) -> Sequence[RunResult]:
    return group.runs if len(group.runs) <= MAX_RUNS_SHOWN else group.runs[:1]


def _class_rows(run: RunResult) -> Iterator[list[str]]:
    for name, metrics in run.metric(SPLIT, "per_class").items():
        ratios = (metrics.precision, metrics.recall, metrics.f1, metrics.auc)
        cells = [format_integer(metrics.images), *map(format_ratio, ratios)]
        yield [escape(run.name), escape(name), *cells]


def _misclassifications(run: RunResult) -> list[str]:
    """Return a table of pairs of true and predicted class, most frequent first."""
    pairs = [
        (-n, run.classes[true], run.classes[predicted], n / sum(row))
        for true, row in enumerate(run.metric(SPLIT, "confusion"))
        for predicted, n in enumerate(row)
        if n and predicted != true
    ]
    if not pairs:
        return [f"{escape(run.name)} classified every test image correctly."]
    cells = [
        [escape(true), escape(predicted), format_integer(-n), f"{share:.1%}"]
        for n, true, predicted, share in sorted(pairs)[:MAX_CONFUSIONS]
    ]
    heads = ("true class", "predicted class", "images", "share of true class")
    return [f"Most frequent misclassifications of {escape(run.name)}:", table(heads, cells, left=2)]
