"""The model card: a JSON file in ``model.keras`` with the classes and how to decode images."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from xray_hpc.config.dataclass_conversion import build
from xray_hpc.config.run_config import GreyRange
from xray_hpc.errors import DataError, StorageError, UserError

MEMBER = "xray_hpc.json"
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
        archive.writestr(zipfile.ZipInfo(MEMBER, ZIP_EPOCH), text)


def read_card(keras_file: Path) -> ModelCard:
    """Read the card of a saved model.

    Raises:
        UserError: the file cannot be read, is not a saved model, or has no valid card.
    """
    try:
        with zipfile.ZipFile(keras_file) as archive:
            text = archive.read(MEMBER)
    except KeyError:
        raise DataError(
            f"{keras_file} has no model card ({MEMBER}), so its classes and image size are "
            "unknown; use the model.keras of a run of this version, or train the run again"
        ) from None
    except zipfile.BadZipFile as error:
        raise DataError(f"{keras_file} is damaged, or is not a saved Keras model") from error
    except OSError as error:
        raise StorageError(f"cannot read {keras_file}: {error.strerror}") from error
    try:
        return build(ModelCard, json.loads(text))
    except (UserError, ValueError, TypeError) as error:
        raise DataError(f"{MEMBER} in {keras_file} is invalid ({error})") from error
