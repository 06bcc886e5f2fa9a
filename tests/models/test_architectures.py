"""Each network against the listing of its tutorial, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.build_model import build_model
from xray_hpc.models.layer_graph import flat_layers

STACKED = {"densenet169": "none", "mobilenet_v2": "none"}
SMALL = {
    "cnn": ModelConfig("cnn"),
    "tl": ModelConfig(
        "tl", "demo", "none", head_units=8, head_dropout=0.1, preprocessing="backbone"
    ),
    "ft": ModelConfig(
        "ft", "demo", "none", 3, head_units=8, head_dropout=0.1, preprocessing="backbone"
    ),
    "stacked": ModelConfig(
        "stacked", backbones={"demo": "none", "mobilenet_v2": "none"}, preprocessing="backbone"
    ),
    "conv": ModelConfig("conv"),
    "lung": ModelConfig("lung"),
    "vgg": ModelConfig("vgg"),
}
"""Every model, for images of 46 px."""


def cnn() -> Iterator[layers.Layer]:
    """larcc.txt, ``get_uncompiled_model``."""
    for filters, convolutions, rate in ((16, 1, 0.2), (32, 1, 0.2), (64, 2, 0.4)):
        for _ in range(convolutions):
            yield layers.Conv2D(filters=filters, kernel_size=3, padding="valid")
        yield layers.BatchNormalization()
        yield layers.Activation("relu")
        yield layers.MaxPool2D()
        yield layers.Dropout(rate)
    yield layers.Flatten()
    yield layers.Dense(64, activation="relu")
    yield layers.Dropout(0.5)
    yield layers.Dense(1, activation="sigmoid")


def conv() -> Iterator[layers.Layer]:
    """reduced.txt, the blocks and the head of ``class Conv``."""
    for filters in (32, 64, 128, 128):
        yield layers.Conv2D(filters=filters, kernel_size=(3, 3))
        yield layers.BatchNormalization()
        yield layers.ReLU()
        yield layers.MaxPool2D(pool_size=(2, 2))
    yield layers.Flatten()
    yield layers.Dense(units=512, activation="relu")
    yield layers.Dense(units=2, activation="softmax")


def lung() -> Iterator[layers.Layer]:
    """lung.txt, ``LungClassifier``."""
    yield layers.Conv2D(4, 5, strides=1, activation="relu")
    yield layers.MaxPooling2D(pool_size=(3, 3), strides=(3, 3))
    yield layers.Conv2D(4, 3, strides=1, activation="relu")
    yield layers.MaxPooling2D(pool_size=(2, 2), strides=(2, 2))
    yield layers.Flatten()
    yield layers.Dense(3, activation="softmax")


def vgg() -> Iterator[layers.Layer]:
    """vgg.txt, without its second, redundant Flatten."""
    yield layers.Conv2D(64, (3, 3), padding="same", activation="relu")
    yield layers.Conv2D(64, (3, 3), padding="same", activation="relu")
    yield layers.MaxPooling2D((2, 2), strides=(2, 2))
    for filters in (128, 256, 256, 512):
        yield layers.BatchNormalization()
        yield layers.Conv2D(filters, (3, 3), padding="same", activation="relu")
        yield layers.MaxPooling2D((2, 2), strides=(2, 2))
    yield layers.Flatten()
    yield layers.Dense(units=256, activation="relu")
    yield layers.Dense(units=128, activation="relu")
    yield layers.Dropout(0.2)
    yield layers.Dense(units=1, activation="sigmoid")


def stacked_head() -> Iterator[layers.Layer]:
    """stacked.txt, from its ``merged`` to its output."""
    yield layers.BatchNormalization()
    yield layers.Dense(256, activation="relu")
    yield layers.Dropout(0.5)
    yield layers.BatchNormalization()
    yield layers.Dense(128, activation="relu")
    yield layers.Dropout(0.5)
    yield layers.Dense(1, activation="sigmoid")


def with_logits(tutorial: Iterator[layers.Layer]) -> Iterator[layers.Layer]:
    """Yield the layers of a tutorial, with the activation of the last one as a layer."""
    *before, last = tutorial
    activation = last.activation
    last.activation = keras.activations.linear
    yield from (*before, last, layers.Activation(activation))


def built(tutorial: Iterator[layers.Layer], shape: tuple[int, ...]) -> list[layers.Layer]:
    return keras.Sequential([layers.Input(shape), *with_logits(tutorial)]).layers


def check_listing(ours: list[layers.Layer], theirs: list[layers.Layer]) -> list[str]:
    """Compare output shapes, activations, dropout and weights; return layers without a bias."""
    unbiased = []
    for our, their in zip(ours, theirs, strict=True):
        assert our.output.shape == their.output.shape, our.name
        expected = their.count_params()
        if isinstance(our, layers.Conv2D) and not our.use_bias:
            unbiased.append(our.name)
            expected -= our.filters
        assert our.count_params() == expected, our.name
        assert getattr(our, "rate", None) == getattr(their, "rate", None), our.name
        if not isinstance(their, layers.ReLU):
            assert getattr(our, "activation", None) == getattr(their, "activation", None)
    return unbiased


def without_preprocessing(model: keras.Model) -> list[layers.Layer]:
    first, second, *rest = model.layers
    assert (first.name, second.name) == ("image", "preprocessing")
    return rest


@pytest.mark.parametrize(
    ("config", "shape", "classes", "tutorial", "total", "unbiased"),
    [
        (
            ModelConfig("cnn"),
            (224, 224, 3),
            2,
            cnn,
            2_621_089,
            ["block1_conv1", "block2_conv1", "block3_conv1", "block3_conv2"],
        ),
        (
            ModelConfig("conv", output="softmax"),
            (150, 150, 1),
            2,
            conv,
            3_454_466,
            ["block1_conv", "block2_conv", "block3_conv", "block4_conv"],
        ),
        (ModelConfig("lung", output="softmax"), (512, 512, 1), 3, lung, 82_923, []),
        (
            ModelConfig("vgg"),
            (150, 150, 1),
            2,
            vgg,
            4_310_081,
            ["block1_conv2", "block2_conv1", "block3_conv1", "block4_conv1"],
        ),
    ],
    ids=["cnn", "conv", "lung", "vgg"],
)
def test_network_equals_its_tutorial_except_for_ineffective_biases(
    config: ModelConfig,
    shape: tuple[int, int, int],
    classes: int,
    tutorial: Any,
    total: int,
    unbiased: list[str],
) -> None:
    theirs = built(tutorial(), shape)
    assert sum(layer.count_params() for layer in theirs) == total
    model = build_model(config, shape, classes)
    assert check_listing(without_preprocessing(model), theirs) == unbiased
    biases = sum(model.get_layer(name).filters for name in unbiased)
    assert model.count_params() == total - biases


def test_lung_has_the_tutorials_82923_weights() -> None:
    model = build_model(ModelConfig("lung", output="softmax"), (512, 512, 1), 3)
    counts = {layer.name: layer.count_params() for layer in model.layers if layer.count_params()}
    assert counts == {"conv1": 104, "conv2": 148, "logits": 82_671}
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 82_923


@pytest.fixture(scope="module")
def stacked() -> keras.Model:
    return build_model(
        ModelConfig("stacked", backbones=STACKED, preprocessing="backbone"), (32, 32, 3), 2
    )


def test_stacked_model_has_the_tutorials_head(stacked: keras.Model) -> None:
    head = stacked.layers[stacked.layers.index(stacked.get_layer("together")) + 1 :]
    assert check_listing(head, built(stacked_head(), (1664 + 1280,))) == []


def test_stacked_model_has_the_backbones_of_keras_applications(
    stacked: keras.Model,
) -> None:
    """The expected counts are those of keras.io without the layer for 1,000 classes."""
    for name, features, published in (
        ("densenet169", 1664, 14_307_880),
        ("mobilenet_v2", 1280, 3_538_984),
    ):
        backbone = stacked.get_layer(name)
        assert backbone.count_params() == published - (features + 1) * 1000
        assert stacked.get_layer(f"{name}_pool").output.shape == (None, features)


def test_stacked_model_trains_only_its_head(stacked: keras.Model) -> None:
    trained = [variable.path for variable in stacked.trainable_variables]
    assert trained == [
        *("head1_bn/gamma", "head1_bn/beta", "head1/kernel", "head1/bias"),
        *("head2_bn/gamma", "head2_bn/beta", "head2/kernel", "head2/bias"),
        *("logits/kernel", "logits/bias"),
    ]


IMAGES = np.random.default_rng(0).integers(0, 256, (3, 46, 46, 1)).astype(np.uint8)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("classes", "units"), [(2, 1), (3, 3)])
def test_every_model_returns_probabilities(name: str, classes: int, units: int) -> None:
    config = replace(SMALL[name], output="sigmoid" if units == 1 else "softmax")
    scores = np.asarray(build_model(config, IMAGES.shape[1:], classes)(IMAGES))
    assert scores.shape == (3, units)
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    if units > 1:
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("output", "classes", "units", "activation"),
    [
        ("sigmoid", 2, 1, "sigmoid"),
        ("softmax", 2, 2, "softmax"),
        ("softmax", 7, 7, "softmax"),
    ],
)
def test_output_layer_follows_the_configuration(
    output: Any, classes: int, units: int, activation: str
) -> None:
    model = build_model(ModelConfig("lung", output=output), IMAGES.shape[1:], classes)
    logits, score = model.get_layer("logits"), model.layers[-1]
    assert (logits.units, logits.activation.__name__) == (units, "linear")
    assert score.activation.__name__ == activation
    assert {layer.compute_dtype for layer in (logits, score)} == {"float32"}


@pytest.mark.parametrize("name", SMALL)
def test_replicas_use_global_batch_statistics_and_dropout(name: str) -> None:
    for replicas, dropout in ((1, "Dropout"), (2, "GlobalBatchDropout")):
        flat = list(flat_layers(build_model(SMALL[name], (46, 46, 1), 2, replicas=replicas)))
        normalizations = [x for x in flat if isinstance(x, layers.BatchNormalization)]
        assert all(layer.synchronized == (replicas > 1) for layer in normalizations)
        assert {type(x).__name__ for x in flat if isinstance(x, layers.Dropout)} <= {dropout}


@pytest.mark.parametrize("name", SMALL)
def test_no_bias_precedes_a_batch_normalization(name: str) -> None:
    """The normalization would cancel it, so its gradient would be rounding error."""
    between = (layers.Activation, layers.MaxPooling2D, layers.ReLU)
    chain = [
        layer
        for layer in build_model(SMALL[name], (46, 46, 1), 2).layers
        if not isinstance(layer, between)
    ]
    for before, layer in pairwise(chain):
        if isinstance(layer, layers.BatchNormalization):
            assert not getattr(before, "use_bias", False), before.name
