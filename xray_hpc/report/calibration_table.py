"""Calibration of runs before and after temperature scaling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xray_hpc.metrics import class_scores
from xray_hpc.report.image_scores import Array, Floats, ImageScores
from xray_hpc.statistics.calibration import (
    bin_numbers,
    confidences,
    expected_calibration_error,
    fitted_temperature,
    mean_log_loss,
    reliability_bins,
    scaled_logits,
)
from xray_hpc.statistics.clustered_proportions import proportion_estimates

CALIBRATION = ("data", "run", "split", "scaled", "temperature", "brier", "ece", "loss")
RELIABILITY = (
    *("data", "run", "split", "scaled", "bin", "low", "high", "images", "mean_score"),
    *("positive_share", "positive_low", "positive_high"),
)
Rows = list[dict[str, Any]]


def calibration_tables(
    data: str, validation: Sequence[ImageScores], test: Sequence[ImageScores]
) -> tuple[Rows, Rows]:
    """Return the rows of the tables ``calibration`` and ``reliability``.

    With more than two classes, reliability is that of the predicted class: whether it is the true
    one, against its score.
    """
    temperatures = {
        name: fitted_temperature(images.y, images.class_logits(i))
        for images in validation
        for i, name in enumerate(images.runs)
    }
    summaries: Rows = []
    bins: Rows = []
    for images in (*validation, *test):
        for i, name in enumerate(images.runs):
            temperature = temperatures.get(name, np.nan)
            for scaled, logits in _logits(images.class_logits(i), temperature):
                row = {"data": data, "run": name, "split": images.split, "scaled": scaled}
                summaries.append(row | {"temperature": temperature} | _summary(images, logits))
                bins += [row | each for each in _bins(images, logits)]
    return summaries, bins


def _logits(logits: Floats, temperature: float) -> Iterator[tuple[bool, Floats]]:
    yield False, logits
    if not np.isnan(temperature):
        yield True, scaled_logits(logits, temperature)


def _judged(images: ImageScores, logits: Floats) -> tuple[Array, Floats]:
    """Return labels of 0 and 1 and the scores that reliability compares with them."""
    if images.is_binary:
        return images.y, class_scores(logits[:, 1])
    return confidences(images.y, logits)


def _summary(images: ImageScores, logits: Floats) -> dict[str, float]:
    judged = _judged(images, logits)
    truth = np.eye(len(images.classes))[images.y]
    squares = (class_scores(logits) - truth) ** 2
    return {
        "brier": float((squares[:, 1] if images.is_binary else squares.sum(axis=1)).mean()),
        "ece": expected_calibration_error(*judged),
        "loss": mean_log_loss(images.y, logits),
    }


def _bins(images: ImageScores, logits: Floats) -> Rows:
    y, scores = _judged(images, logits)
    bins = reliability_bins(y, scores)
    inside = bin_numbers(scores) == bins.bin[:, None]
    share = proportion_estimates(inside & (y == 1), inside, images.patients)
    columns = {**bins._asdict(), "positive_low": share.low, "positive_high": share.high}
    names, values = list(columns), zip(*columns.values(), strict=True)
    return [dict(zip(names, row, strict=True)) for row in values]
