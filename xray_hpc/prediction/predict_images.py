"""Decode image files and score them, one batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from xray_hpc.data.decode import UnreadableImageError, decode
from xray_hpc.data.named_images import ImageFile
from xray_hpc.metrics import class_scores, predicted_labels
from xray_hpc.models.model_card import ModelCard
from xray_hpc.thread_map import bounded_thread_map

Pixels: TypeAlias = npt.NDArray[np.uint8]
Scorer: TypeAlias = Callable[[Pixels], npt.NDArray[np.float64]]

MAX_BATCH = 64
MAX_BATCH_PIXELS = 2**21  # 41 images of 224 x 224: the activations fit into any memory


@dataclass(frozen=True)
class Prediction:
    """The scores, logits (both of the K classes) and predicted label of one file, or an error."""

    path: str
    scores: tuple[float, ...] | None
    logits: tuple[float, ...] | None
    label: str | None
    error: str | None


def predict_images(
    files: Sequence[ImageFile],
    card: ModelCard,
    score: Scorer,
    threshold: float | None,
    workers: int,
) -> Generator[Prediction, None, None]:
    """Yield a prediction for each file, in their order; see :func:`predict_with_images`."""
    with closing(predict_with_images(files, card, score, threshold, workers)) as results:
        for prediction, _ in results:
            yield prediction


def predict_with_images(
    files: Sequence[ImageFile],
    card: ModelCard,
    score: Scorer,
    threshold: float | None,
    workers: int,
) -> Generator[tuple[Prediction, Pixels | None], None, None]:
    """Yield the prediction and the image of each file, in their order.

    For an unreadable file they are its error and None.

    Args:
        files: the images, decoded exactly as for training and at most two batches ahead.
        score: the model, from raw pixels ``uint8 [B, S, S, C]`` to logits ``[B, K]``. All
            batches have the same size B, so the end of the last one may hold earlier images.
        threshold: see ``predicted_labels``.
    """
    batch = np.zeros((batch_size(card, len(files)), *card.input_shape), np.uint8)

    def read(file: ImageFile) -> Pixels | str:
        return file.error or read_image(file.path, card)

    with closing(bounded_thread_map(read, files, workers, 2 * len(batch))) as read_images:
        results = zip(files, read_images, strict=True)
        while items := list(islice(results, len(batch))):
            images = [image for _, image in items if not isinstance(image, str)]
            if images:
                batch[: len(images)] = images
                logits = iter(score(batch))
            for file, image in items:
                if isinstance(image, str):
                    yield Prediction(file.path, None, None, None, image), None
                else:
                    yield _prediction(file.path, next(logits), card.classes, threshold), image


def batch_size(card: ModelCard, images: int) -> int:
    """Return the batch size for a number of images of the model's size."""
    height, width, _ = card.input_shape
    return max(1, min(images, MAX_BATCH, MAX_BATCH_PIXELS // (height * width)))


def read_image(path: str, card: ModelCard) -> Pixels | str:
    """Return the network's input for one file, ``[S, S, C]``, or why the file cannot be read."""
    try:
        pixels = decode(Path(path), card.image_size, card.channels, card.clahe, card.range)
    except UnreadableImageError as error:
        return " ".join(error.reason.split())
    except OSError as error:
        return (error.strerror or str(error)).lower()
    side = card.input_shape[0]
    edge = (card.image_size - side) // 2
    return pixels[edge : edge + side, edge : edge + side]


def _prediction(
    path: str, logits: npt.NDArray[np.float64], classes: Sequence[str], threshold: float | None
) -> Prediction:
    if not np.isfinite(logits).all():
        return Prediction(path, None, None, None, "the model's score is not finite")
    scores = class_scores(logits)
    label = classes[int(predicted_labels(scores[None], threshold)[0])]
    return Prediction(path, tuple(scores.tolist()), tuple(logits.tolist()), label, None)
