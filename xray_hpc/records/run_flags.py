"""Flags of a finished run: signs that it learned nothing, or that its ranking is unreliable.

The training judges them on the validation images (ties also on the test images) and writes them to
``metrics.json``, where status and report find them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum


class Flag(str, Enum):
    """Why the result of a finished run needs a look; see ``MEANINGS``."""

    CONSTANT = "constant"
    AT_CHANCE = "at_chance"
    NOT_LEARNING = "not_learning"
    TIED = "tied"

    @property
    def label(self) -> str:
        """The flag in words."""
        return self.value.replace("_", " ")


MEANINGS = {
    Flag.CONSTANT: "all validation images have the same score; lower train.learning_rate",
    Flag.AT_CHANCE: "the validation AUC is not above 0.5; change train.learning_rate or "
    "train.epochs",
    Flag.NOT_LEARNING: "the loss is not below that of predicting the class frequencies; "
    "raise train.epochs, or change train.learning_rate",
    Flag.TIED: "more than 5 % of the images of a split have the score of another image, which the "
    "AUC counts half",
}


def describe_flags(flags: Sequence[Flag]) -> str:
    """Return the flags in words: ``at chance, not learning``."""
    return ", ".join(flag.label for flag in flags)
