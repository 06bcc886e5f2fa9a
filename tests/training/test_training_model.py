"""A model ready to be trained: which part of it, on what, and how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.features.small_features import CONFIG, random_data, strategy
from xray_hpc.config.run_config import ModelConfig, RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.data.augmentation import center_crop
from xray_hpc.errors import UserError
from xray_hpc.metrics import probabilities
from xray_hpc.models.build_model import build_run_model
from xray_hpc.training.feed import FeatureFeed, ImageFeed
from xray_hpc.training.train_run import prepare_devices
from xray_hpc.training.training_model import (
    TrainingModel,
    make_optimizer,
    make_training_model,
)


@pytest.fixture(scope="module", autouse=True)
def _as_in_a_run() -> None:
    prepare_devices()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def kept(cache: Path) -> TrainingModel:
    """Of a run that keeps cached features."""
    return make_training_model(CONFIG, random_data(), strategy(), cache)


def keeping(features: Any, views: int | None = 2) -> RunConfig:
    train = replace(CONFIG.train, features=features)
    return replace(CONFIG, train=train, augment=replace(CONFIG.augment, views=views))


@pytest.mark.parametrize("config", [keeping("off"), keeping("off", None)])
def test_a_run_that_keeps_nothing_trains_the_whole_model_on_images(
    cache: Path, config: RunConfig
) -> None:
    training_model = make_training_model(config, random_data(), strategy(), cache)
    assert training_model.trained_model.input_shape == training_model.full_model.input_shape
    assert isinstance(training_model.feed, ImageFeed)


def test_a_run_that_keeps_outputs_trains_the_tail_on_them(kept: TrainingModel) -> None:
    assert isinstance(kept.feed, FeatureFeed)
    assert kept.trained_model.input_shape == (None, 2, 2, 128)
    assert kept.feed.arrays["train"].shape == (100, 2, 2, 128)


def test_what_the_tail_trains_are_the_weights_of_the_whole_model(kept: TrainingModel) -> None:
    mine, whole = kept.trained_model.trainable_variables, kept.full_model.trainable_variables
    assert [id(one) for one in mine] == [id(one) for one in whole]
    assert kept.trained_model.optimizer.built
    assert not kept.full_model.compiled  # it is saved without an optimizer


def test_both_ways_start_from_the_same_weights(kept: TrainingModel, cache: Path) -> None:
    live = build_run_model(keeping("off"), 2, strategy())
    for mine, theirs in zip(kept.full_model.get_weights(), live.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_split_has_the_scores_of_the_whole_model(kept: TrainingModel) -> None:
    data = random_data()
    images = center_crop(data.images[data.splits["test"]], 32)
    expected = probabilities(kept.full_model.predict(images, verbose=0))
    scores = kept.predict("test")
    assert scores.shape == (20, 2)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize(("output", "loss"), [("sigmoid", "binary"), ("softmax", "categorical")])
def test_the_loss_is_that_of_the_output(cache: Path, output: Any, loss: str) -> None:
    config = replace(keeping("off"), model=ModelConfig("lung", output=output))
    training_model = make_training_model(config, random_data(), strategy(), cache)
    assert training_model.trained_model.loss == f"{loss}_crossentropy"


@pytest.mark.parametrize("name", ["adam", "rmsprop", "sgd"])
def test_an_optimizer_is_kerass_own_by_its_name(name: Any) -> None:
    made = make_optimizer(TrainConfig(epochs=1, batch_size=8, learning_rate=0.25, optimizer=name))
    assert type(made).__name__.lower() == name
    assert type(made).__module__.startswith("keras.")
    assert float(made.learning_rate) == 0.25


@pytest.mark.parametrize("computed", ["float16", "bfloat16"])
def test_with_mixed_precision_the_tail_computes_in_16_bits_and_trains_float32(
    cache: Path, computed: str
) -> None:
    train = replace(CONFIG.train, precision=f"mixed_{computed}")
    try:
        training_model = make_training_model(
            replace(CONFIG, train=train), random_data(), strategy(), cache
        )
    finally:
        keras.config.set_dtype_policy("float32")
    assert (
        training_model.trained_model.get_layer("head").get_layer("hidden").compute_dtype == computed
    )
    assert {weight.dtype for weight in training_model.trained_model.trainable_variables} == {
        "float32"
    }
    assert training_model.predict("test").sum(axis=1) == pytest.approx(1)


def test_a_model_that_does_not_fit_the_images_is_refused(cache: Path) -> None:
    small = replace(CONFIG, data=replace(CONFIG.data, crop=0.5))
    with pytest.raises(UserError, match=r"too small for demo"):
        make_training_model(small, random_data(), strategy(), cache)
