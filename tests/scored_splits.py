"""Hypothesis strategies for labels and scores of a split."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from xray_hpc.metrics import probabilities

TWO = ("NORMAL", "PNEUMONIA")
THREE = ("Covid", "Normal", "Viral Pneumonia")
Split = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

# A few distinct scores, 0.5 among them, produce ties, where definitions differ.
P = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1))
FEW = settings(max_examples=30)  # scikit-learn takes milliseconds


@st.composite
def splits(draw: st.DrawFn, classes: int, *, every_class: bool = True) -> Split:
    """Draw labels [N] and probabilities [N, K]: of a sigmoid, or ratios of small integers."""
    labels = st.integers(0, classes - 1)
    y = draw(st.lists(labels, min_size=1, max_size=40))
    y_true = np.array(y + list(range(classes)) if every_class else y)
    if classes == 2:
        p = draw(st.lists(P, min_size=len(y_true), max_size=len(y_true)))
        return y_true, sigmoid(p)
    shares = st.lists(st.integers(1, 9), min_size=classes, max_size=classes)
    parts = np.array(draw(st.lists(shares, min_size=len(y_true), max_size=len(y_true))))
    return y_true, parts / parts.sum(axis=1, keepdims=True)


def sigmoid(p: Any) -> np.ndarray[Any, Any]:
    return probabilities(np.asarray(p, np.float64)[:, None])
