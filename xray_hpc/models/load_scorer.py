"""Load a saved model as a function from images to logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from xray_hpc.errors import DataError
from xray_hpc.metrics import class_logits
from xray_hpc.models.layer_graph import LOGITS, logits_tensor
from xray_hpc.models.model_card import ModelCard


def load_scorer(
    keras_file: Path, card: ModelCard
) -> Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float64]]:
    """Load a saved model.

    Returns:
        A function from raw pixels ``[B, S, S, C]`` to the logits of the classes ``[B, K]``.
        Keras compiles one graph for each batch size B.

    Raises:
        DataError: the file is damaged, or is not the model that its card describes.
    """
    try:
        model = keras.saving.load_model(keras_file, compile=False)
    except Exception as error:  # h5py, zipfile, json and Keras raise all kinds of errors
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"cannot load {keras_file}; it may be damaged ({reason})") from error
    units = (1, 2) if len(card.classes) == 2 else (len(card.classes),)
    shapes = [(None, *card.input_shape, None, unit) for unit in units]
    if (*model.input_shape, *model.output_shape) not in shapes:
        raise DataError(
            f"{keras_file} does not match its model card: it maps {model.input_shape[1:]} to "
            f"{model.output_shape[1:]}, not {card.input_shape} to {len(card.classes)} classes"
        )

    if LOGITS not in (layer.name for layer in model.layers):
        raise DataError(
            f"{keras_file} has no layer '{LOGITS}'; use the model.keras of a run of this version, "
            "or train the run again"
        )
    logits_model = keras.Model(model.input, logits_tensor(model))
    return lambda images: class_logits(logits_model.predict_on_batch(images))
