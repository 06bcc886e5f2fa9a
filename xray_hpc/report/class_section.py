"""The report's section on classes: how well each is told from the others, and from which not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xray_hpc.report.formatting import count, ratio
from xray_hpc.report.markdown import escape, table
from xray_hpc.report.run_groups import Group
from xray_hpc.report.run_result import RunResult

FEW = 3  # so many runs of a data set are all shown; of more the best
MISTAKES = 10
SPLIT = "test"

MEANT = (
    "Precision is the share of the images called so that are, recall the share of those that are "
    "that are called so, F1 their harmonic mean; AUC is that of the class against the rest."
)


def classes_section(found: Sequence[Group]) -> list[str]:
    """The section's paragraphs: the classes' measures, then what was taken for what."""
    shown = [run for group in found for run in _few(group)]
    every = len(shown) == sum(len(group.runs) for group in found)
    best = "the best run by validation AUC" + (" on each data set" if len(found) > 1 else "")
    whose = "every run" if every else best
    heads = ("run", "class", "images", "precision", "recall", "F1", "AUC")
    rows = [row for run in shown for row in _classes(run)]
    parts = [
        "## Classes",
        f"How {whose} tells the test images apart. {MEANT}",
        table(heads, rows, left=2),
    ]
    for group in found:
        if not group.two_classes:
            parts += _mistakes(group.runs[0])
    return parts


def _few(group: Group) -> Sequence[RunResult]:
    return group.runs if len(group.runs) <= FEW else group.runs[:1]


def _classes(run: RunResult) -> Iterator[list[str]]:
    for name, of_class in run.measure(SPLIT, "per_class").items():
        measures = map(ratio, (of_class.precision, of_class.recall, of_class.f1, of_class.auc))
        yield [escape(run.name), escape(name), count(of_class.images), *measures]


def _mistakes(run: RunResult) -> list[str]:
    """What the run took for what, the most frequent first."""
    rows = run.measure(SPLIT, "confusion")
    mistakes = [
        (-n, run.classes[true], run.classes[called], n / sum(row))
        for true, row in enumerate(rows)
        for called, n in enumerate(row)
        if n and called != true
    ]
    if not mistakes:
        return [f"{escape(run.name)} took no test image for another class."]
    cells = [
        [escape(true), escape(called), count(-n), f"{share:.1%}"]
        for n, true, called, share in sorted(mistakes)[:MISTAKES]
    ]
    heads = ("true class", "taken for", "images", "of the class")
    return [f"What {escape(run.name)} took for what:", table(heads, cells, left=2)]
