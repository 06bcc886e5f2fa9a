"""Scored images of patients, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from scipy.special import logit


@dataclass(frozen=True)
class Scored:
    """Labels, scores with ties, and patients of the same images; both classes have images."""

    y: npt.NDArray[Any]
    scores: npt.NDArray[np.float64]
    patients: npt.NDArray[Any]

    @property
    def logits(self) -> npt.NDArray[np.float64]:
        return np.asarray(logit(self.scores))


@st.composite
def scored(draw: st.DrawFn, max_images: int = 30) -> Scored:
    size = draw(st.integers(2, max_images))
    labels = draw(st.lists(st.integers(0, 1), min_size=size - 2, max_size=size - 2))
    steps = draw(st.lists(st.integers(1, 19), min_size=size, max_size=size))
    patients = draw(st.lists(st.integers(0, size), min_size=size, max_size=size))
    return Scored(np.array([0, 1, *labels]), np.array(steps) / 20, np.array(patients))
