"""Explain image files, one batch at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xray_hpc.explanations.explanation_figure import write_explanation
from xray_hpc.explanations.grad_cam import Heatmaps
from xray_hpc.metrics import Labels
from xray_hpc.models.model_card import ModelCard
from xray_hpc.prediction.predict_images import Pixels, Prediction

Explainer = Callable[[Pixels, Labels], Heatmaps]
BATCH = 16  # images
SMALLEST, LARGEST = 224, 512
"""Pixels of a side of a picture's squares; between them, they are as large as the model's input."""
MAX_NAME = 60  # characters of the image's name in that of its picture


class Explanation(NamedTuple):
    """A prediction and how it was explained.

    Attributes:
        prediction: the prediction, or the error of an image that has none.
        explained: the class that is explained; None for an error.
        picture: the file name of the picture; None for an error.
        empty: whether nothing in the image speaks for the class.
    """

    prediction: Prediction
    explained: str | None = None
    picture: str | None = None
    empty: bool = False


def explain_images(
    results: Iterable[tuple[Prediction, Pixels | None]],
    card: ModelCard,
    explainer: Explainer,
    chosen: int | None,
    folder: Path,
) -> Generator[Explanation, None, None]:
    """Yield an explanation for each image, in their order, and write its picture.

    Args:
        results: predictions and images, as of ``predict_with_images``.
        card: the model's card.
        explainer: from images ``[N, S, S, C]`` and N labels to heatmaps ``[N, S, S]`` in 0..1.
        chosen: the class to explain; None: the predicted one of each image.
        folder: the folder of the pictures.

    Raises:
        OSError: a picture cannot be written.
    """
    side = min(max(card.input_shape[0], SMALLEST), LARGEST)
    numbered = enumerate(results, start=1)
    while batch := list(islice(numbered, BATCH)):
        scored = [
            (image, card.classes.index(prediction.label) if chosen is None else chosen)
            for _, (prediction, image) in batch
            if prediction.label is not None and image is not None
        ]
        labels = [label for _, label in scored]
        heatmaps = explainer(np.stack([image for image, _ in scored]), labels) if scored else ()
        explained = iter(zip(heatmaps, labels, strict=True))
        for number, (prediction, image) in batch:
            if prediction.label is None or image is None:
                yield Explanation(prediction)
                continue
            heatmap, position = next(explained)
            picture = picture_name(number, prediction.path)
            write_explanation(folder / picture, image, heatmap, side)
            yield Explanation(prediction, card.classes[position], picture, not heatmap.any())


def picture_name(number: int, path: str) -> str:
    """Return the file name of a picture: the image's number in the command, and its own name."""
    stem = os.path.splitext(os.path.basename(path))[0]
    safe = re.sub(r"[^\w.-]+", "_", stem, flags=re.ASCII)
    return f"{number:04}_{safe[:MAX_NAME]}.png"
