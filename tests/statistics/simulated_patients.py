"""Scored images of patients with a known truth, for simulations of coverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

Numbers = npt.NDArray[Any]
LARGE = 400_000
"""Images from which the true values are computed."""


class Images(NamedTuple):
    """Labels, logits and patients, each ``[N]``."""

    y: Numbers
    logits: Numbers
    patients: Numbers


@dataclass(frozen=True)
class Scenario:
    """How images are drawn.

    Attributes:
        images: number of images.
        per_patient: mean number of a patient, 1 to 10 (a truncated geometric distribution).
        correlation: of the logits of one patient's images.
        mixed: share of patients whose images have labels of their own.
        auc: the true area under the ROC curve.
    """

    images: int
    per_patient: float
    correlation: float
    mixed: float
    auc: float


PREVALENCE, SLOPE = 0.625, 1.3  # scores are over-confident

SCENARIOS = {
    "independent images": Scenario(624, 1.0001, 0.0, 0.0, 0.96),
    "1.6 a patient": Scenario(624, 1.56, 0.5, 0.0, 0.96),
    "5 a patient": Scenario(624, 6.0, 0.5, 0.0, 0.96),
    "5 a patient, labels mixed": Scenario(624, 6.0, 0.5, 0.5, 0.96),
    "5 a patient, correlation .8": Scenario(624, 6.0, 0.8, 0.0, 0.96),
    "5 a patient, AUC .99": Scenario(624, 6.0, 0.5, 0.0, 0.99),
    "150 images, AUC .98": Scenario(150, 1.56, 0.5, 0.0, 0.98),
    "66 images": Scenario(66, 1.56, 0.5, 0.0, 0.96),
    "66 images, AUC .99": Scenario(66, 1.56, 0.5, 0.0, 0.99),
}


def draw_images(rng: np.random.Generator, scenario: Scenario, images: int | None = None) -> Images:
    """Draw images with normal noise by patient and image; logits are posterior, times a slope."""
    size = images or scenario.images
    counts = rng.geometric(1 / scenario.per_patient, size=2 * size + 100)
    patients = np.repeat(np.arange(len(counts)), np.where(counts <= 10, counts, 0))[:size]
    label = rng.random(len(counts)) < PREVALENCE
    mixed = rng.random(len(counts)) < scenario.mixed
    y = np.where(mixed[patients], rng.random(size) < PREVALENCE, label[patients])
    share = scenario.correlation
    noise = share**0.5 * rng.standard_normal(len(counts))[patients]
    noise += (1 - share) ** 0.5 * rng.standard_normal(size)
    distance = 2**0.5 * norm.ppf(scenario.auc)
    prior = np.log(PREVALENCE / (1 - PREVALENCE))
    logits = SLOPE * (distance * (distance * y + noise - distance / 2) + prior)
    return Images(y.astype(int), logits, patients)
