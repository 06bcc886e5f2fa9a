"""Load a saved model, and turn it into a function from images to logits."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.errors import DataError, UserError
from xray_hpc.metrics import class_logits
from xray_hpc.models.keras_archive import WEIGHTS, check_weights, read_member
from xray_hpc.models.layer_graph import LOGITS, logits_tensor
from xray_hpc.models.model_card import ModelCard
from xray_hpc.system_errors import describe_system_error

Scorer: TypeAlias = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float64]]


def load_scorer(keras_file: Path, card: ModelCard) -> Scorer:
    """Load a saved model as a function to the logits; see the two functions below."""
    return make_scorer(load_trained_model(keras_file, card), keras_file, card)


def load_trained_model(keras_file: Path, card: ModelCard) -> keras.Model:
    """Load a saved model, which has the layer ``LOGITS``.

    Raises:
        DataError: the file is damaged, or is not the model that its card describes.
    """
    model = _load_model(keras_file)
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
    logits = logits_tensor(model)
    if logits.shape != model.output_shape:
        raise DataError(
            f"{keras_file} is not the model of a run: its layer '{LOGITS}' gives {logits.shape}, "
            f"and its scores are {model.output_shape}"
        )
    return model


def make_scorer(model: keras.Model, keras_file: Path, card: ModelCard) -> Scorer:
    """Return a function from raw pixels ``[B, S, S, C]`` to the logits of the classes ``[B, K]``.

    Keras compiles one graph for each batch size B. The function raises ``DataError`` where the
    graph fails or needs more memory than there is.
    """
    logits_model = keras.Model(model.input, logits_tensor(model))

    def score(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        try:
            return class_logits(logits_model.predict_on_batch(images))
        except (tf.errors.OpError, MemoryError) as error:
            raise DataError(
                f"{keras_file} cannot score images of {card.input_shape} ({_reason(error)})"
            ) from error

    return score


def _load_model(keras_file: Path) -> keras.Model:
    """Load a saved model in Keras's safe mode, which runs no code from the file.

    Raises:
        DataError: the file is damaged, or is not a saved model.
    """
    try:
        check_weights(io.BytesIO(read_member(keras_file, WEIGHTS) or b""))
        model = keras.saving.load_model(keras_file, compile=False, safe_mode=True)
        if not isinstance(model, keras.Model) or not model.built:
            raise TypeError("config.json describes no model")
    except UserError:
        raise
    except Exception as error:  # h5py, zipfile, json and Keras raise all kinds of errors
        if describe_system_error(error):
            raise
        reason = _reason(error)
        raise DataError(f"cannot load {keras_file}; it may be damaged ({reason})") from error
    return model


def _reason(error: Exception) -> str:
    # Keras puts the cause of an error at the end of a long text.
    text = str(error).rpartition("Exception encountered: ")[2]
    return " ".join(text.split())[:200] or type(error).__name__
