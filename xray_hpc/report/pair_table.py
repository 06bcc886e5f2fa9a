"""Compare the winner with every other run on the same test images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from xray_hpc.report.image_scores import ImageScores
from xray_hpc.statistics.clustered_auc import auc_components, auc_differences
from xray_hpc.statistics.clustered_proportions import accuracy_differences
from xray_hpc.statistics.multiclass import ranking_influences
from xray_hpc.statistics.paired_difference import Difference, holm, normal_difference
from xray_hpc.statistics.patient_sums import patient_codes, patient_sums

COLUMNS = (
    *("data", "first", "second", "metric", "difference", "low", "high", "statistic", "p"),
    *("p_holm", "distinguishable"),
)
SIGNIFICANCE = 0.05


def pair_table(data: str, images: Sequence[ImageScores], winner: str) -> pd.DataFrame:
    """Return the differences in AUC and accuracy: the winner's value minus that of each other run.

    The p values of each metric are adjusted for the number of comparisons (Holm 1979). Runs on
    other test images than the winner's are left out.
    """
    here = [one for one in images if winner in one.runs]
    if not here or len(here[0].runs) < 2:
        return pd.DataFrame(columns=list(COLUMNS))
    stack = here[0]
    first = list(stack.runs).index(winner)
    others = [i for i in range(len(stack.runs)) if i != first]
    right = stack.predicted == stack.y
    differences = {
        "auc": _auc_differences(stack, first),
        "accuracy": accuracy_differences(right, first, stack.patients),
    }
    names = [stack.runs[i] for i in others]
    tables = []
    for metric, each in differences.items():
        found = {field: values[others] for field, values in each._asdict().items()}
        adjusted = holm(found["p"])
        columns = {
            **{"data": data, "first": winner, "second": names, "metric": metric},
            **{"difference": found["value"], **found},
            **{"p_holm": adjusted, "distinguishable": adjusted < SIGNIFICANCE},
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def _auc_differences(images: ImageScores, first: int) -> Difference:
    """Return the differences of the AUC, of more than two classes of its macro average."""
    if images.is_binary:
        components = auc_components(images.y, images.logits, images.patients)
        return auc_differences(components, first)
    found = [ranking_influences(images.y, run)["auc"] for run in images.logits]
    values = np.array([value for value, _ in found])
    codes, size = patient_codes(images.patients)
    sums = patient_sums(np.stack([each for _, each in found]), codes, size)
    squares = ((sums[first] - sums) ** 2).sum(axis=1)
    return normal_difference(values[first] - values, squares * size / max(size - 1, 1))
