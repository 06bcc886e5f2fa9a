"""Settings of a sweep's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

SelectionRule = Literal[
    "val_loss",
    "val_brier",
    "val_auc",
    "val_average_precision",
    "val_accuracy",
    "val_balanced_accuracy",
    "val_mcc",
]
"""The metric of the validation images by which the best run is chosen, never one of the test."""
SELECTION_RULES: tuple[SelectionRule, ...] = get_args(SelectionRule)


@dataclass(frozen=True)
class ReportSettings:
    """What the comparison of a sweep's runs chooses and shows.

    Attributes:
        select: Metric of the validation images that chooses the best run. The lowest loss and
            Brier score are best, of the others the highest value.
        images: Embed X-rays of patients in the report; false leaves all of them out.
    """

    select: SelectionRule = "val_loss"
    images: bool = True
