"""What ``run.json`` and ``metrics.json`` must hold before a report relies on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xray_hpc.errors import DataError
from xray_hpc.records.paths import SPLITS
from xray_hpc.records.run_progress import TrainingProgress
from xray_hpc.records.run_record import Attempt, RunRecord

MEASURES = (
    *("accuracy", "balanced_accuracy", "f1", "auc", "auc_micro", "sensitivity", "specificity"),
    *("false_negatives", "false_positives", "loss"),
)
COUNTS = ("images", "true_positives", "true_negatives")
OF_A_CLASS = ("images", "precision", "recall", "f1", "auc")
WHOLE_RUN = ("threshold", "best_epoch", "epochs", "parameters", "trainable_parameters")


def check_record(record: RunRecord, name: str) -> None:
    """Raise ``UserError`` unless the record is the run's own and its values are of their types."""
    if record.run != name:
        raise DataError(f"run.json is the record of '{record.run}'; this folder is a copy")
    error = record.error
    sound = {
        "model": isinstance(record.model, str) and "/" not in record.model,
        "seconds": record.seconds is None or is_number(record.seconds),
        "seconds_per_epoch": record.seconds_per_epoch is None
        or is_number(record.seconds_per_epoch),
        "replicas": record.replicas is None or is_number(record.replicas),
        "restarts": is_number(record.restarts),
        "gpus": _are_texts(record.gpus),
        "overrides": _are_texts(record.overrides),
        "versions": isinstance(record.versions, dict),
        "git": record.git is None or isinstance(record.git, dict),
        "error": error is None or isinstance(error, dict),
        "attempts": all(map(_is_attempt, record.attempts)),
    }
    for key in ("node", "job_id", "created", "started", "ended", "failure"):
        value = getattr(record, key)
        sound[key] = value is None or isinstance(value, str)
    for key, is_sound in sound.items():
        if not is_sound:
            raise DataError(f"run.json: {key} is {getattr(record, key)!r}")


def _is_attempt(one: Attempt) -> bool:
    texts = (one.job_id, one.queued, one.ended, one.failure)
    numbers = (
        *(one.epochs, one.cpus, one.memory, one.time_limit),
        *(one.peak_memory, one.cpu_seconds, one.gpu_use),
    )
    return (
        all(isinstance(text, str) for text in (one.started, one.node))
        and all(text is None or isinstance(text, str) for text in texts)
        and is_number(one.gpus)
        and all(number is None or is_number(number) for number in numbers)
        and (one.checkpoint is None or _are_two_numbers(one.checkpoint))
    )


def _are_two_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def sound(progress: TrainingProgress | None) -> TrainingProgress | None:
    """``progress`` where what it counts is numbers, else ``None``."""
    if progress is None:
        return None
    counted = (progress.done, progress.first, progress.seconds_per_epoch)
    return progress if all(map(is_number, counted)) else None


def check_metrics(metrics: Mapping[str, Any]) -> None:
    """Raise ``UserError`` that names the first thing in ``metrics.json`` that makes no sense."""
    if "classes" not in metrics:
        raise DataError("metrics.json has no classes")
    classes = metrics["classes"]
    if not _are_texts(classes) or len(set(classes)) < max(len(classes), 2):
        raise DataError(f"metrics.json: classes is {classes!r}, not two or more different names")
    for split in SPLITS:
        if not isinstance(metrics.get(split), dict):
            raise DataError(f"metrics.json has no {split}")
    for place, key, shown in _numbers(metrics, classes):
        if key not in place:
            raise DataError(f"metrics.json has no {shown}")
        if place[key] is not None and not is_number(place[key]):
            raise DataError(f"metrics.json: {shown} is {place[key]!r}, not a number")
    for split in SPLITS:
        _check_confusion(metrics[split], split, len(classes))


def _numbers(
    metrics: Mapping[str, Any], classes: Sequence[str]
) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """Every place where a number must be, with its key and how it is called."""
    for key in WHOLE_RUN:
        yield metrics, key, key
    for split in SPLITS:
        block = metrics[split]
        for key in (*MEASURES, *COUNTS):
            yield block, key, f"{split}.{key}"
        per_class = block.get("per_class")
        if not isinstance(per_class, dict):
            raise DataError(f"metrics.json has no {split}.per_class")
        if list(per_class) != list(classes):
            raise DataError(f"metrics.json: {split}.per_class is not of its classes")
        for name, of_class in per_class.items():
            for key in OF_A_CLASS:
                place = of_class if isinstance(of_class, dict) else {}
                yield place, key, f"{split}.per_class.{name}.{key}"


def _check_confusion(block: Mapping[str, Any], split: str, k: int) -> None:
    rows = block.get("confusion")
    if not (
        isinstance(rows, list)
        and len(rows) == k
        and all(isinstance(row, list) and len(row) == k for row in rows)
        and all(type(cell) is int and cell >= 0 for row in rows for cell in row)
    ):
        raise DataError(f"metrics.json: {split}.confusion is no {k} x {k} table of counts")
    if (counted := sum(map(sum, rows))) != block["images"]:
        raise DataError(
            f"metrics.json: {split}.confusion counts {counted} images of {block['images']}"
        )


def is_number(value: object) -> bool:
    """Whether ``value`` is an integer or a finite float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
