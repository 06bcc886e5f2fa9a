"""``metrics.json``: the metrics of a finished run.

The K classes are sorted by name. Of two classes the second is the positive one. A metric is
``None`` where a split cannot tell it. :func:`xray_hpc.metrics.split_metrics` computes them; a field
that is added here and there is in every record, and in ``runs.csv`` and ``per_class.csv``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from xray_hpc.config.dataclass_conversion import check
from xray_hpc.records.json_record import read_json_record
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_flags import Flag


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class against the rest."""

    images: int  # of the class
    precision: float | None  # TP / (TP + FP); 0 where the class is never predicted
    recall: float | None  # TP / (TP + FN)
    f1: float | None  # 2 TP / (2 TP + FP + FN)
    auc: float | None  # area under the ROC curve


@dataclass(frozen=True)
class SplitMetrics:
    """The metrics of one split; see :class:`ClassMetrics` for the per-class formulas."""

    images: int
    accuracy: float  # share of images whose predicted label is the true one
    balanced_accuracy: float | None  # mean recall of the classes that have images
    f1: float | None  # mean F1 of the classes that have images
    # Area under the ROC curve: the probability that a positive image scores higher than a negative
    # one, ties counting half (Hanley and McNeil, 1982). With more than two classes the mean over
    # each class against the rest, and in auc_micro with all pairs of image and class pooled.
    auc: float | None
    auc_micro: float | None
    sensitivity: float | None  # TP / (TP + FN); this and the next five need two classes
    specificity: float | None  # TN / (TN + FP)
    false_negatives: int | None
    false_positives: int | None
    true_positives: int | None
    true_negatives: int | None
    loss: float  # cross-entropy in nats: mean of -log p of the true class
    # Share of images whose logit equals that of another image; with more than two classes the
    # largest of the classes. The AUC counts ties half, so that many of them hide the ranking.
    tied: float
    per_class: dict[str, ClassMetrics]
    confusion: list[list[int]]  # one row per true class and one column per predicted class

    def __post_init__(self) -> None:
        rows, size = self.confusion, len(self.per_class)
        square = [len(row) for row in rows] == [size] * size
        check(square, "confusion", rows, f"have {size} rows and {size} columns")
        complete = min(map(min, rows)) >= 0 and sum(map(sum, rows)) == self.images
        must = f"hold counts that add up to the {self.images} images"
        check(complete, "confusion", rows, must)


@dataclass(frozen=True)
class RunMetrics:
    """The contents of ``metrics.json``."""

    classes: list[str]
    threshold: float | None  # the second of two classes is predicted above it
    best_epoch: int  # epoch whose weights the model has, from 1
    epochs: int  # number of epochs that were trained
    stopped_early: bool  # whether training stopped before train.epochs
    parameters: int  # number of parameters of the model
    trainable_parameters: int  # number of those that were trained
    validation: SplitMetrics
    test: SplitMetrics
    flags: list[Flag]  # why the result needs a look, the most serious first

    def __post_init__(self) -> None:
        names = self.classes
        check(len(set(names)) == max(len(names), 2), "classes", names, "be two or more names")
        for split in ("validation", "test"):
            found = list(self.split(split).per_class)
            check(found == names, f"{split}.per_class", found, f"be of the classes {names}")

    def split(self, name: str) -> SplitMetrics:
        """Return the metrics of ``validation`` or ``test``."""
        return {"validation": self.validation, "test": self.test}[name]


_NOT_IN_TABLES = ("images", "true_positives", "true_negatives", "per_class", "confusion")
MEASURES = tuple(
    field.name for field in dataclasses.fields(SplitMetrics) if field.name not in _NOT_IN_TABLES
)
"""The metrics of a split that are columns of ``runs.csv``, in their order."""


def read_metrics(paths: RunPaths) -> RunMetrics:
    """Read ``metrics.json``; raise as :func:`read_json_record`."""
    return read_json_record(RunMetrics, paths.metrics)
