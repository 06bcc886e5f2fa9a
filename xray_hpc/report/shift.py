"""How the images of the splits differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from xray_hpc.report.image_scores import ImageScores

COLUMNS = ("data", "quantity", "split", "class", "value")


def shift_table(data: str, splits: Sequence[ImageScores]) -> pd.DataFrame:
    """Return the prevalence of each class, its share of the images, in each split.

    Args:
        data: title of the data set.
        splits: a run's scores on the images of each split.
    """
    rows = []
    for images in splits:
        counts = np.bincount(images.y, minlength=len(images.classes))
        for name, share in zip(images.classes, counts / images.images, strict=True):
            rows.append((data, "prevalence", images.split, name, float(share)))
    return pd.DataFrame(rows, columns=list(COLUMNS))
