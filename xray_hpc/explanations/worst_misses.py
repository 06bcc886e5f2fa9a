"""The worst misses of a run: the images that it misclassified with the most confidence."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import pandas as pd

from xray_hpc.data.augmentation_parameters import center_crop
from xray_hpc.data.dataset import Dataset
from xray_hpc.explanations.explanation_figure import write_explanation
from xray_hpc.explanations.grad_cam import GradCam
from xray_hpc.metrics import (
    Counts,
    Floats,
    class_scores,
    decision_threshold,
    logit_names,
    predicted_labels,
)
from xray_hpc.records.atomic_files import write_csv
from xray_hpc.records.paths import RunPaths
from xray_hpc.shared_folder import make_subfolder

MOST = 8
"""How many images of each split are explained."""


def find_worst_misses(labels: Counts, predicted: Counts, logits: Floats) -> Counts:
    """Return the positions of at most ``MOST`` misclassified images, the worst first.

    The worst has the lowest logit of its true class, which is the highest loss. Of equal ones, the
    first in the order of the split is first.

    Args:
        labels: ``[N]``, the true labels.
        predicted: ``[N]``, the predicted ones.
        logits: ``[N, K]``.
    """
    missed = np.flatnonzero(labels != predicted)
    order = np.argsort(logits[missed, labels[missed]], kind="stable")
    return missed[order][:MOST]


def write_worst_misses(
    paths: RunPaths,
    name: str,
    model: keras.Model,
    data: Dataset,
    logits: Mapping[str, Floats],
) -> None:
    """Write ``{name}_worst_misses.csv`` and, for each of its rows, a picture with its Grad-CAM.

    The heatmap is that of the predicted class: what misled the model. The table is written last,
    so where it is, its pictures are complete.

    Args:
        paths: the run.
        name: the model's name, a key of ``registry.MODELS``.
        model: the trained model, on raw pixels.
        data: the data set.
        logits: ``[N, K]`` of the images of each split.

    Raises:
        OSError: a file cannot be written.
    """
    grad_cam = GradCam(model)
    make_subfolder(paths.figures)
    make_subfolder(paths.worst_miss_figures)
    tables = [
        _write_split(paths, split, grad_cam, data, split_logits)
        for split, split_logits in logits.items()
    ]
    write_csv(paths.worst_misses(name), pd.concat(tables, ignore_index=True))


def _write_split(
    paths: RunPaths, split: str, grad_cam: GradCam, data: Dataset, logits: Floats
) -> pd.DataFrame:
    """Draw the worst misses of one split and return their rows of the table."""
    rows = data.splits[split]
    labels = data.labels[rows]
    predicted = predicted_labels(class_scores(logits), decision_threshold(data.classes))
    worst = find_worst_misses(labels, predicted, logits)
    side = grad_cam.input_side
    images = center_crop(data.images[rows[worst]], side)
    heatmaps = grad_cam(images, predicted[worst])
    pictures = [
        paths.worst_miss_figures / f"{split}_{rank}.png" for rank in range(1, len(worst) + 1)
    ]
    for picture, image, heatmap in zip(pictures, images, heatmaps, strict=True):
        write_explanation(picture, image, heatmap)
    names = logit_names(data.classes)
    columns = dict(zip(names, logits[worst].T[-len(names) :], strict=True))
    scores = {key.replace("logit", "y_scores", 1): class_scores(x) for key, x in columns.items()}
    return pd.DataFrame(
        {
            "split": split,
            "rank": range(1, len(worst) + 1),
            "file": [data.files[row] for row in rows[worst]],
            "patient": [data.patients[row] for row in rows[worst]],
            "y_true": labels[worst],
            "predicted": predicted[worst],
            **scores,
            **columns,
            "image": [picture.relative_to(paths.folder).as_posix() for picture in pictures],
        }
    )
