"""Find the flags of a trained run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from xray_hpc.data.dataset import Dataset
from xray_hpc.metrics import Floats, class_scores
from xray_hpc.records.run_flags import Flag
from xray_hpc.records.run_metrics import SplitMetrics

CONSTANT_RANGE = 1e-6  # scores within it are equal
MAX_TIED = 0.05
MIN_PSEUDO_R2 = 0.01
MIN_PROBABILITY = 1e-7  # of a class without training images, as Keras clips


def find_flags(
    data: Dataset,
    balance: str,
    history: pd.DataFrame,
    logits: Floats,
    validation: SplitMetrics,
    test: SplitMetrics,
) -> list[Flag]:
    """Return the flags of a run, the most serious first.

    - ``constant``: the validation scores of each class are equal. It implies the others.
    - ``at_chance``: the validation AUC is at most 0.5.
    - ``not_learning``: McFadden's (1974) pseudo-R², 1 - loss / loss of the null model, is below
      0.01 for the training loss of every epoch and for the validation loss of the selected one. The
      null model predicts the class frequencies of the (balanced) training images.
    - ``tied``: more than 5 % of the images of a split have the score of another image.

    Args:
        balance: ``train.balance``; otherwise than ``none`` it makes the classes equally frequent.
        logits: ``[N, K]`` of the validation images.
    """
    if np.ptp(class_scores(logits), axis=0).max() < CONSTANT_RANGE:
        return [Flag.CONSTANT]
    classes, splits = len(data.classes), data.splits
    counts = np.bincount(data.labels[splits["train"]], minlength=classes)
    frequencies = counts / counts.sum() if balance == "none" else np.full(classes, 1 / classes)
    trained = _null_loss(frequencies, frequencies)
    drawn = np.bincount(data.labels[splits["validation"]], minlength=classes)
    validated = _null_loss(frequencies, drawn / drawn.sum())
    share = 1 - MIN_PSEUDO_R2
    learned = history["train_loss"].min() <= share * trained or validation.loss <= share * validated
    found = {
        Flag.AT_CHANCE: validation.auc is not None and validation.auc <= 0.5,
        Flag.NOT_LEARNING: not learned,
        Flag.TIED: max(validation.tied, test.tied) > MAX_TIED,
    }
    return [flag for flag, applies in found.items() if applies]


def _null_loss(predicted: npt.NDArray[np.float64], shares: npt.NDArray[np.float64]) -> float:
    """Return the cross-entropy of always predicting ``predicted`` for classes of these shares."""
    return float(-(shares @ np.log(np.maximum(predicted, MIN_PROBABILITY))))
