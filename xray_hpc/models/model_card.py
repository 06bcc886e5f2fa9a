"""The model card: a JSON file in ``model.keras`` with the classes and how to decode images."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from xray_hpc.config.dataclass_conversion import build, check
from xray_hpc.config.run_config import GreyRange, check_decoding
from xray_hpc.errors import DataError, UserError
from xray_hpc.models.keras_archive import CARD, read_member

NAME_LIMIT = 200  # characters, as of the names in a ledger
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip file can hold


@dataclass(frozen=True)
class ModelCard:
    """How to use a saved model.

    Attributes:
        model: the kind of model, a key of ``registry.MODELS``.
        classes: the class names in the order of the scores; the second of two is the positive one.
        threshold: the score above which the positive class is predicted; None for more than two
            classes, of which the one with the highest score is predicted.
        image_size: the side in pixels to which images are decoded, as in ``DataConfig``.
        crop: the central part of that side that the network takes.
        clahe: the clip limit of the contrast equalization, or None.
        range: the grey values shown black and white in files of more than 8 bits; None if the model
            was trained without such files, which are then scaled by the bits that each needs.
    """

    run: str
    model: str
    classes: tuple[str, ...]
    threshold: float | None
    image_size: int
    crop: float
    channels: Literal[1, 3]
    clahe: float | None
    range: GreyRange | None = None

    def __post_init__(self) -> None:
        for key in ("run", "model"):
            name = getattr(self, key)
            check(
                len(name) <= NAME_LIMIT,
                key,
                f"{name[:20]}…",
                f"have at most {NAME_LIMIT} characters",
            )
        names = list(self.classes)
        check(len({*names} - {""}) == max(len(names), 2), "classes", names, "be two or more names")
        if self.threshold is not None:
            valid = len(names) == 2 and 0 <= self.threshold <= 1
            check(valid, "threshold", self.threshold, "be 0 to 1, and null unless of two classes")
        check_decoding(self.image_size, self.crop, self.clahe, self.range)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The network's input: height, width, channels."""
        side = round(self.image_size * self.crop)
        return (side, side, self.channels)


def add_card(keras_file: Path, card: ModelCard) -> None:
    """Add ``card`` to a saved model that has none.

    Keras ignores the card when it loads the file. Equal files and cards give equal bytes.
    """
    text = json.dumps(asdict(card), indent=2, allow_nan=False) + "\n"
    with zipfile.ZipFile(keras_file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(CARD, ZIP_EPOCH), text)


def read_card(keras_file: Path) -> ModelCard:
    """Read the card of a saved model.

    Raises:
        UserError: the file cannot be read, is not a saved model, or has no valid card.
    """
    text = read_member(keras_file, CARD)
    if text is None:
        raise DataError(
            f"{keras_file} has no model card ({CARD}), so its classes and image size are "
            "unknown; use the model.keras of a run of this version, or train the run again"
        )
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise TypeError("it is not a JSON object")
        return build(ModelCard, values)
    except (UserError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{CARD} in {keras_file} is invalid ({str(error)[:200]})") from error
