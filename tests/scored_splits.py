"""Hypothesis strategies for labels and logits of a split."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from xray_hpc.metrics import class_logits

TWO = ("NORMAL", "PNEUMONIA")
THREE = ("Covid", "Normal", "Viral Pneumonia")
Split = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

# A few distinct logits produce ties, where definitions differ. In float32 the score of 61 is 1.
X = st.one_of(st.sampled_from([-61.0, -1.0, 0.0, 1.0, 60.0, 61.0]), st.floats(-100, 100, width=32))
FEW = settings(max_examples=30)  # scikit-learn takes milliseconds


@st.composite
def splits(draw: st.DrawFn, classes: int, *, every_class: bool = True) -> Split:
    """Draw labels [N] and logits [N, K]: of a sigmoid, or of ratios of small integers."""
    labels = st.integers(0, classes - 1)
    y = draw(st.lists(labels, min_size=1, max_size=40))
    y_true = np.array(y + list(range(classes)) if every_class else y)
    if classes == 2:
        x = draw(st.lists(X, min_size=len(y_true), max_size=len(y_true)))
        return y_true, class_logits(np.array(x)[:, None])
    shares = st.lists(st.integers(1, 9), min_size=classes, max_size=classes)
    parts = np.array(draw(st.lists(shares, min_size=len(y_true), max_size=len(y_true))))
    return y_true, softmax(parts / parts.sum(axis=1, keepdims=True))


def sigmoid(p: Any) -> np.ndarray[Any, Any]:
    """Return the logits [N, 2] of a sigmoid with the outputs ``p`` [N]."""
    p = np.asarray(p, np.float64)
    return class_logits((np.log(p) - np.log1p(-p))[:, None])


def softmax(p: Any) -> np.ndarray[Any, Any]:
    """Return the logits [N, K] of a softmax with the outputs ``p`` [N, K]."""
    return class_logits(np.log(np.asarray(p, np.float64)))
