"""Saving a model: the same weights give the same bytes, and the card is in the file."""

from __future__ import annotations

import time
from pathlib import Path

import keras
import numpy as np
import pytest

from xray_hpc.models.model_card import ModelCard, read_card
from xray_hpc.training.save_model import save_model

CARD = ModelCard(
    run="cnn-1",
    model="cnn",
    classes=("NORMAL", "PNEUMONIA"),
    threshold=0.5,
    image_size=8,
    crop=1.0,
    channels=1,
    clahe=None,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Build and save a model twice, at different times and memory addresses."""
    folder = tmp_path_factory.mktemp("saved")
    paths = [folder / "one.keras", folder / "two.keras"]
    models = []
    for path in paths:
        if models:
            time.sleep(2.1)  # zip files store times to two seconds
        keras.utils.clear_session()  # restarts the numbering of layers
        keras.utils.set_random_seed(1)
        layers = [keras.Input((8, 8, 1)), keras.layers.BatchNormalization(), keras.layers.Flatten()]
        models.append(keras.Sequential([*layers, keras.layers.Dense(1)], name="model"))
        save_model(path, models[-1], CARD)
    return paths


def test_save_model_gives_the_same_bytes(saved: list[Path]) -> None:
    assert saved[0].read_bytes() == saved[1].read_bytes()


def test_saved_model_has_its_card_and_loads(saved: list[Path]) -> None:
    assert read_card(saved[0]) == CARD
    model = keras.models.load_model(saved[0])
    assert model.predict(np.zeros((2, 8, 8, 1)), verbose=0).shape == (2, 1)


def test_save_model_leaves_no_other_file(saved: list[Path]) -> None:
    assert sorted(saved[0].parent.iterdir()) == saved
