"""Image files to scores and labels, a batch at a time, however many there are."""

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
from xray_hpc.data.image_files import ImageFile
from xray_hpc.metrics import predicted_labels
from xray_hpc.models.model_card import ModelCard
from xray_hpc.thread_map import bounded_thread_map

Pixels: TypeAlias = npt.NDArray[np.uint8]
Scorer: TypeAlias = Callable[[Pixels], npt.NDArray[np.float64]]

LARGEST_BATCH = 64
BATCH_PIXELS = 2**21  # 41 images of 224 pixels square: what a network makes of them fits anywhere


@dataclass(frozen=True)
class Prediction:
    """What the model says of one file: ``scores`` of the K classes and ``label``, or ``error``."""

    path: str
    scores: tuple[float, ...] | None
    label: str | None
    error: str | None


def predict(
    found: Sequence[ImageFile],
    card: ModelCard,
    score: Scorer,
    threshold: float | None,
    workers: int,
) -> Generator[Prediction, None, None]:
    """One prediction a file, in their order; a file that cannot be read is one with its error.

    Images are decoded exactly as for training, by ``workers`` threads, at most two batches ahead.

    Args:
        score: gives ``[B, K]`` probabilities of ``uint8 [B, S, S, C]`` raw pixels; it always gets
            batches of the same size B, of which the last images may be left over from before.
        threshold: what the second class's score must exceed; None calls the highest score.
    """
    batch = np.zeros((batch_size(card, len(found)), *card.input_shape), np.uint8)

    def read(item: ImageFile) -> Pixels | str:
        return item.error or read_image(item.path, card)

    with closing(bounded_thread_map(read, found, workers, 2 * len(batch))) as read_images:
        results = zip(found, read_images, strict=True)
        while items := list(islice(results, len(batch))):
            images = [image for _, image in items if not isinstance(image, str)]
            if images:
                batch[: len(images)] = images
                scored = iter(score(batch))
            for item, image in items:
                if isinstance(image, str):
                    yield Prediction(item.path, None, None, image)
                else:
                    yield _prediction(item.path, next(scored), card.classes, threshold)


def batch_size(card: ModelCard, images: int) -> int:
    """How many images are scored at once: no more than there are, and than memory holds."""
    height, width, _ = card.input_shape
    return max(1, min(images, LARGEST_BATCH, BATCH_PIXELS // (height * width)))


def read_image(path: str, card: ModelCard) -> Pixels | str:
    """What the network sees of one file, ``[S, S, C]``, or why it cannot be read."""
    try:
        pixels = decode(Path(path), card.image_size, card.channels, card.clahe)
    except UnreadableImageError as error:
        return " ".join(error.reason.split())
    except OSError as error:
        return (error.strerror or str(error)).lower()
    side = card.input_shape[0]
    edge = (card.image_size - side) // 2
    return pixels[edge : edge + side, edge : edge + side]


def _prediction(
    path: str, scores: npt.NDArray[np.float64], classes: Sequence[str], threshold: float | None
) -> Prediction:
    if not np.isfinite(scores).all():
        return Prediction(path, None, None, "the model's score is not a number")
    label = classes[int(predicted_labels(scores[None], threshold)[0])]
    return Prediction(path, tuple(scores.tolist()), label, None)
