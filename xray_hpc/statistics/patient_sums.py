"""Sums over the images of each patient."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from xray_hpc.statistics.binary_metrics import Array, Floats

Codes: TypeAlias = npt.NDArray[np.intp]


def patient_codes(patients: Array) -> tuple[Codes, int]:
    """Return the code ``[N]`` of each image's patient, 0 to P-1, and the number of patients."""
    names, codes = np.unique(np.asarray(patients), return_inverse=True)
    return codes.reshape(-1), len(names)


def patient_sums(values: Array, codes: Codes, patients: int) -> Floats:
    """Return the sums ``[R, P]`` over each patient's images of values ``[R, N]``."""
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(patients))
    sums: Floats = np.add.reduceat(np.asarray(values, np.float64)[:, order], starts, axis=1)
    return sums
