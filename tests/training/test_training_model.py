"""The model prepared for training: the full model on images, or its head on cached features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.features.small_features import CONFIG, random_data, strategy
from xray_hpc.config.run_config import RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.data.augmentation_parameters import center_crop
from xray_hpc.errors import UserError
from xray_hpc.metrics import class_logits, class_scores
from xray_hpc.models.build_model import build_run_model
from xray_hpc.training.feed import FeatureFeed, ImageFeed
from xray_hpc.training.train_run import prepare_devices
from xray_hpc.training.training_model import TrainingModel, make_optimizer, make_training_model


@pytest.fixture(scope="module", autouse=True)
def _devices() -> None:
    prepare_devices()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def cached(cache: Path) -> TrainingModel:
    """Return the model of a run with cached features."""
    return make_training_model(CONFIG, random_data(), strategy(), cache)


def config_with(features: Any, views: int | None = 2) -> RunConfig:
    train = replace(CONFIG.train, features=features)
    return replace(CONFIG, train=train, augment=replace(CONFIG.augment, views=views))


@pytest.mark.parametrize("config", [config_with("off"), config_with("off", None)])
def test_run_without_cached_features_trains_the_full_model(cache: Path, config: RunConfig) -> None:
    training_model = make_training_model(config, random_data(), strategy(), cache)
    assert training_model.trained_model.input_shape == training_model.full_model.input_shape
    assert isinstance(training_model.feed, ImageFeed)


def test_run_with_cached_features_trains_the_head(cached: TrainingModel) -> None:
    assert isinstance(cached.feed, FeatureFeed)
    assert cached.trained_model.input_shape == (None, 2, 2, 128)
    assert cached.feed.arrays["train"].shape == (100, 2, 2, 128)


def test_head_shares_the_weights_of_the_full_model(cached: TrainingModel) -> None:
    trained, full = cached.trained_model.trainable_variables, cached.full_model.trainable_variables
    assert [id(weight) for weight in trained] == [id(weight) for weight in full]
    assert cached.trained_model.optimizer.built
    assert not cached.full_model.compiled  # the full model is saved without an optimizer


def test_initial_weights_do_not_depend_on_cached_features(
    cached: TrainingModel, cache: Path
) -> None:
    uncached = build_run_model(config_with("off"), 2, strategy())
    for mine, theirs in zip(cached.full_model.get_weights(), uncached.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_predict_gives_the_logits_of_the_full_model(cached: TrainingModel) -> None:
    data = random_data()
    images = center_crop(data.images[data.splits["test"]], 32)
    expected = cached.full_model.predict(images, verbose=0)[:, 0]
    logits = cached.predict("test")
    assert logits.shape == (20, 2)
    np.testing.assert_allclose(class_scores(logits[:, 1]), expected, atol=1e-6)


@pytest.mark.parametrize("features", ["off", "float32"])
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_predicted_logits_are_not_saturated(cache: Path, features: Any, output: Any) -> None:
    config = config_with(features)
    config = replace(config, model=replace(config.model, output=output))
    training_model = make_training_model(config, random_data(), strategy(), cache)
    images = center_crop(training_model.data.images[training_model.data.splits["test"]], 32)
    feed, layer = training_model.feed, training_model.full_model.get_layer("logits")
    inputs = images if isinstance(feed, ImageFeed) else feed.arrays["test"]
    before = class_logits(training_model.trained_model.predict(inputs, verbose=0))
    layer.set_weights([61 / np.abs(before).max() * value for value in layer.get_weights()])
    logits = class_logits(training_model.trained_model.predict(inputs, verbose=0))
    assert np.abs(logits).max() == pytest.approx(61, rel=1e-5)
    np.testing.assert_allclose(logits * np.abs(before).max(), before * 61, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_training_loss_of_saturated_scores_is_exact(cache: Path, output: Any) -> None:
    config = config_with("off", None)
    config = replace(config, model=replace(config.model, output=output))
    training_model = make_training_model(config, random_data(), strategy(), cache)
    for layer, values in (("logits", 0), ("hidden", 0)):
        weights = training_model.full_model.get_layer(layer).get_weights()
        training_model.full_model.get_layer(layer).set_weights([values * w for w in weights])
    bias = training_model.full_model.get_layer("logits").bias
    bias.assign([61.0] if output == "sigmoid" else [0.0, 61.0])
    images = training_model.data.images[:8, :32, :32]
    negative = np.zeros((8, 1)) if output == "sigmoid" else np.eye(2)[np.zeros(8, int)]
    result = training_model.trained_model.evaluate(images, negative, verbose=0, return_dict=True)
    assert result == {"loss": pytest.approx(61), "accuracy": 0}
    positive = 1 - negative
    result = training_model.trained_model.evaluate(images, positive, verbose=0, return_dict=True)
    assert result == {"loss": pytest.approx(0, abs=1e-20), "accuracy": 1}


@pytest.mark.parametrize("name", ["adam", "rmsprop", "sgd"])
def test_make_optimizer_returns_the_keras_optimizer(name: Any) -> None:
    made = make_optimizer(TrainConfig(epochs=1, batch_size=8, learning_rate=0.25, optimizer=name))
    assert type(made).__name__.lower() == name
    assert type(made).__module__.startswith("keras.")
    assert float(made.learning_rate) == 0.25


@pytest.mark.parametrize("computed", ["float16", "bfloat16"])
def test_mixed_precision_head_computes_in_16_bits_and_trains_float32(
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
    assert training_model.trained_model.output.dtype == "float32"
    assert (np.abs(training_model.predict("test").sum(axis=1)) < 1e-9).all()


def test_model_that_does_not_fit_the_images_is_refused(cache: Path) -> None:
    small = replace(CONFIG, data=replace(CONFIG.data, crop=0.5))
    with pytest.raises(UserError, match=r"too small for demo"):
        make_training_model(small, random_data(), strategy(), cache)
