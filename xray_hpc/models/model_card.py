"""What a saved model needs to be used: a JSON file inside ``model.keras`` itself.

Keras's own files in that archive say how to build the network; which classes its scores stand for,
and what is done to an image before the network sees it, only this one says.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xray_hpc.config.schema import as_dict, build
from xray_hpc.errors import DataError, StorageError, UserError

MEMBER = "xray_hpc.json"
EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip file knows no earlier date


@dataclass(frozen=True)
class ModelCard:
    """How to use a saved model.

    ``run`` and ``model`` name the run and its kind of model. ``classes`` are in the order of the
    scores; of two, the second is the positive one, called where its score is above ``threshold``
    (``None`` for more classes: the highest score is called). ``image_size``, ``channels`` and
    ``clahe`` are how an image is decoded, ``crop`` the share of its side that the network sees, as
    in ``DataConfig``.
    """

    run: str
    model: str
    classes: tuple[str, ...]
    threshold: float | None
    image_size: int
    crop: float
    channels: Literal[1, 3]
    clahe: float | None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """What the network sees: height, width, channels."""
        side = round(self.image_size * self.crop)
        return (side, side, self.channels)


def add_card(keras_file: Path, card: ModelCard) -> None:
    """Add ``card`` to a saved model that has none, which Keras then loads as before.

    The same file and card give the same bytes.
    """
    text = json.dumps(as_dict(card), indent=2, allow_nan=False) + "\n"
    with zipfile.ZipFile(keras_file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(MEMBER, EARLIEST), text)


def read_card(keras_file: Path) -> ModelCard:
    """Read the card of a saved model.

    Raises:
        UserError: the file cannot be read, is no saved model, or has no card or a damaged one.
    """
    try:
        with zipfile.ZipFile(keras_file) as archive:
            text = archive.read(MEMBER)
    except KeyError:
        raise DataError(
            f"{keras_file} does not say which classes and images it is for (it holds no {MEMBER}): "
            "name a model.keras that a run of this version wrote, or train the run again"
        ) from None
    except zipfile.BadZipFile as error:
        raise DataError(f"{keras_file} is not a saved Keras model, or is damaged") from error
    except OSError as error:
        raise StorageError(f"cannot read {keras_file}: {error.strerror}") from error
    try:
        return build(ModelCard, json.loads(text))
    except (UserError, ValueError, TypeError) as error:
        raise DataError(f"{keras_file}: its {MEMBER} makes no sense ({error})") from error
