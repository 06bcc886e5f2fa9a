from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest

from xray_hpc.errors import DataError
from xray_hpc.metrics import class_scores
from xray_hpc.models.load_scorer import load_scorer
from xray_hpc.models.model_card import ModelCard

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)


def card(classes: Sequence[str]) -> ModelCard:
    return ModelCard("cnn-1a2b3c4d", "cnn", tuple(classes), None, 8, 1.0, 1, None)


def save(path: Path, units: int, activation: str) -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    features = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    logits = keras.layers.Dense(units, name="logits")(features)
    model = keras.Model(inputs, keras.layers.Activation(activation)(logits))
    model.save(path)
    return model


@pytest.mark.parametrize(
    ("units", "activation", "classes"),
    [(1, "sigmoid", "AB"), (2, "softmax", "AB"), (3, "softmax", "ABC")],
)
def test_scores_of_the_logits_are_probabilities_per_class(
    tmp_path: Path, units: int, activation: str, classes: str
) -> None:
    model = save(tmp_path / "model.keras", units, activation)
    scores = class_scores(load_scorer(tmp_path / "model.keras", card(classes))(IMAGES))
    assert scores.shape == (5, len(classes))
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(scores[:, -1], model.predict(IMAGES, verbose=0)[:, -1], atol=1e-6)


@pytest.mark.parametrize(("units", "activation"), [(1, "sigmoid"), (2, "softmax")])
def test_logits_of_a_saved_model_are_not_saturated(
    tmp_path: Path, units: int, activation: str
) -> None:
    model = save(tmp_path / "model.keras", units, activation)
    kernel, _ = model.get_layer("logits").get_weights()
    bias = np.eye(units)[-1] * 60
    model.get_layer("logits").set_weights([0.01 * kernel, bias])
    model.save(tmp_path / "model.keras")
    assert set(model.predict(IMAGES, verbose=0)[:, -1]) == {1.0}
    logits = load_scorer(tmp_path / "model.keras", card("AB"))(IMAGES)
    assert len(set(logits[:, 1])) == len(IMAGES)
    np.testing.assert_allclose(logits[:, 1], 60, atol=1)


@pytest.mark.parametrize(("units", "classes"), [(1, "ABC"), (3, "AB"), (2, "ABC")])
def test_load_scorer_rejects_a_model_that_does_not_match_its_card(
    tmp_path: Path, units: int, classes: str
) -> None:
    save(tmp_path / "model.keras", units, "sigmoid")
    with pytest.raises(DataError, match=rf"model\.keras .* to \({units},\), not"):
        load_scorer(tmp_path / "model.keras", card(classes))


def test_load_scorer_rejects_a_model_without_logits(tmp_path: Path) -> None:
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    with pytest.raises(DataError, match=r"model\.keras has no layer 'logits'"):
        load_scorer(tmp_path / "model.keras", card("AB"))


def test_load_scorer_names_a_damaged_file(tmp_path: Path) -> None:
    save(tmp_path / "whole.keras", 1, "sigmoid")
    with (
        zipfile.ZipFile(tmp_path / "whole.keras") as whole,
        zipfile.ZipFile(tmp_path / "model.keras", "w") as damaged,
    ):
        for name in whole.namelist():
            content = whole.read(name)
            damaged.writestr(name, content[:900] if name.endswith(".h5") else content)
    with pytest.raises(DataError, match=r"cannot load .*model\.keras"):
        load_scorer(tmp_path / "model.keras", card("AB"))
