"""Feature extractor and trainable head give what the whole model gives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.features.extractor_costs import feature_extractor
from xray_hpc.features.model_cut import (
    LayerPath,
    extractor_layers,
    extractor_model,
    feature_shape,
    find_cut,
    trainable_head,
)
from xray_hpc.models.build_backbone import freeze
from xray_hpc.models.build_model import build_model
from xray_hpc.models.layer_graph import flat_layers
from xray_hpc.models.registry import BACKBONES
from xray_hpc.training.train_run import prepare_devices

SIDE = 32  # pixels, the minimum of all backbones
TARGETS = np.array([[0.0], [1.0], [1.0]], np.float32)

# The cut of each backbone by the number of its trained layers; 0 is transfer learning.
POOLED = ("pool",)
CUTS: dict[str, dict[int, LayerPath]] = {
    "demo": {
        0: POOLED,
        1: POOLED,
        2: POOLED,
        5: ("demo_backbone", "stage3_down_relu"),
        13: ("demo_backbone", "stage2_down_conv"),
        17: ("demo_backbone", "stage1_down_relu"),
    },
    "mobilenet_v2": {
        0: POOLED,
        1: POOLED,
        2: ("mobilenet_v2", "Conv_1"),
        5: ("mobilenet_v2", "block_16_depthwise_relu"),
        13: ("mobilenet_v2", "block_14_add"),
        17: ("mobilenet_v2", "block_14_add"),
        24: ("mobilenet_v2", "block_13_project_BN"),
    },
    "densenet169": {
        0: POOLED,
        1: POOLED,
        2: ("densenet169", "conv5_block32_concat"),
        5: ("densenet169", "conv5_block31_concat"),
        13: ("densenet169", "conv5_block30_concat"),
        17: ("densenet169", "conv5_block30_concat"),
        24: ("densenet169", "conv5_block29_concat"),
    },
    "resnet152v2": {
        0: POOLED,
        1: POOLED,
        2: ("resnet152v2", "conv5_block3_out"),
        5: ("resnet152v2", "conv5_block2_out"),
        13: ("resnet152v2", "conv5_block2_out"),
        17: ("resnet152v2", "conv5_block1_out"),
        24: ("resnet152v2", "conv5_block1_out"),
    },
}
DEPTHS = [(name, depth) for name, cuts in CUTS.items() for depth in cuts]
# A training step of a large backbone takes seconds, so only two: one cut at the end of a block, one
# inside a block.
STEPS = [(name, depth) for name, depth in DEPTHS if BACKBONES[name].layers < 500]
STEPS += [("resnet152v2", 13), ("densenet169", 17)]


class FullModel:
    """A model with random weights, some images, and their features at each cut."""

    def __init__(self, name: str) -> None:
        keras.utils.set_random_seed(1)
        head = {"head_units": 8, "head_dropout": 0.0}
        shape = (SIDE, SIDE, BACKBONES[name].channels)
        self.model = build_model(
            ModelConfig("ft", name, "none", 1, preprocessing="backbone", **head), shape, 2
        )
        self.backbone = next(one for one in self.model.layers if isinstance(one, keras.Model))
        rng = np.random.default_rng(2)
        self.images = rng.integers(0, 256, (len(TARGETS), *shape)).astype(np.uint8)
        cuts = list(dict.fromkeys(CUTS[name].values()))
        outputs = features_of(extractor_model(self.model, cuts), self.images)
        self.outputs = dict(zip(cuts, outputs, strict=True))
        self.scores = self.model(self.images, training=False).numpy()


def features_of(part: keras.Model, images: npt.NDArray[np.uint8]) -> list[tf.Tensor]:
    """Return the features at each cut; Keras returns a single output without a list."""
    return list(keras.tree.flatten(part(images, training=False)))


full_model = functools.cache(FullModel)


@pytest.fixture(scope="module", autouse=True)
def _prepared_devices() -> Iterator[None]:
    prepare_devices()
    yield
    full_model.cache_clear()


def stacked() -> keras.Model:
    config = ModelConfig(
        "stacked", backbones={"demo": "none", "mobilenet_v2": "none"}, preprocessing="backbone"
    )
    return build_model(config, (SIDE, SIDE, 1), 2)


def after_a_step(
    model: keras.Model, inputs: Any, watched: keras.Model
) -> list[npt.NDArray[np.float32]]:
    """Return the weights of ``watched`` after one training step of ``model``; restore them."""
    before = [weight.numpy() for weight in watched.weights]
    with tf.GradientTape() as tape:
        scores = model(inputs, training=True)
        loss = tf.reduce_mean(keras.losses.binary_crossentropy(TARGETS, scores))
    gradients = tape.gradient(loss, model.trainable_variables)
    keras.optimizers.SGD(1.0).apply(gradients, model.trainable_variables)
    after = [weight.numpy() for weight in watched.weights]
    for weight, value in zip(watched.weights, before, strict=True):
        weight.assign(value)
    assert any((old != new).any() for old, new in zip(before, after, strict=True))
    return after


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_find_cut_returns_the_last_single_tensor_before_trained_layers(
    name: str, depth: int
) -> None:
    freeze(full_model(name).backbone, depth)
    assert find_cut(full_model(name).model) == CUTS[name][depth]


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_extractor_table_has_the_shape_of_the_features(name: str, depth: int) -> None:
    extractor = feature_extractor(
        ModelConfig("ft", name, "none", unfreeze=depth or None, preprocessing="backbone")
    )
    assert extractor is not None
    *sides, channels = feature_shape(full_model(name).model, CUTS[name][depth])
    assert (extractor.channels, extractor.side == 0) == (channels, not sides)


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_trainable_head_returns_the_scores_of_the_full_model(name: str, depth: int) -> None:
    cut = CUTS[name][depth]
    scores = trainable_head(full_model(name).model, cut)(
        full_model(name).outputs[cut], training=False
    )
    np.testing.assert_array_equal(scores, full_model(name).scores)


@pytest.mark.parametrize(("name", "depth"), STEPS)
def test_training_step_of_the_head_equals_that_of_the_full_model(name: str, depth: int) -> None:
    """Including the statistics of the trained BatchNormalization layers."""
    freeze(full_model(name).backbone, depth)
    cut = CUTS[name][depth]
    head = trainable_head(full_model(name).model, cut)
    learnt = after_a_step(head, full_model(name).outputs[cut], head)
    expected = after_a_step(full_model(name).model, full_model(name).images, head)
    for weight, one, other in zip(head.weights, learnt, expected, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=weight.path)


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_trainable_head_holds_all_trained_weights(name: str, depth: int) -> None:
    model, cut = full_model(name).model, CUTS[name][depth]
    freeze(full_model(name).backbone, depth)
    head_weights = {weight.path for weight in trainable_head(model, cut).weights}
    assert {weight.path for weight in model.trainable_variables} <= head_weights
    statistics = {
        weight.path
        for layer in flat_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for weight in layer.weights
    }
    assert statistics <= head_weights
    extractor = extractor_layers(model, cut)
    assert not any(layer.trainable_variables for layer in extractor)
    frozen = {weight.path for layer in extractor for weight in layer.weights}
    assert frozen.isdisjoint(head_weights)
    assert len(frozen | head_weights) == len(model.weights)


def test_extractor_model_of_several_cuts_equals_each_cut_alone() -> None:
    model = full_model("demo").model
    for cut, together in full_model("demo").outputs.items():
        (alone,) = features_of(extractor_model(model, [cut]), full_model("demo").images)
        np.testing.assert_array_equal(alone, together)
        assert feature_shape(model, cut) == tuple(alone.shape[1:])


def test_extractor_model_takes_cuts_inside_and_after_a_backbone() -> None:
    cuts = [POOLED, ("demo_backbone", "stage2_relu"), ("hidden",)]
    outputs = features_of(
        extractor_model(full_model("demo").model, cuts), full_model("demo").images
    )
    assert [tuple(one.shape[1:]) for one in outputs] == [(128,), (4, 4, 64), (8,)]
    np.testing.assert_array_equal(outputs[0], full_model("demo").outputs[POOLED])


@pytest.mark.parametrize(
    "cuts",
    [
        [POOLED, POOLED],
        [POOLED, POOLED, ("demo_backbone", "stage2_relu")],
        [("demo_backbone", "stage2_relu"), POOLED, ("demo_backbone", "stage2_relu")],
    ],
)
def test_extractor_model_takes_a_cut_twice(cuts: list[LayerPath]) -> None:
    """For two runs of which one caches its features in float16."""
    outputs = features_of(
        extractor_model(full_model("demo").model, cuts), full_model("demo").images
    )
    for cut, found in zip(cuts, outputs, strict=True):
        (alone,) = features_of(
            extractor_model(full_model("demo").model, [cut]), full_model("demo").images
        )
        np.testing.assert_array_equal(found, alone)


def test_parallel_backbones_are_cut_at_their_concatenation() -> None:
    model = stacked()
    cut = find_cut(model)
    assert cut == ("together",)
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (len(TARGETS), SIDE, SIDE, 1)).astype(np.uint8)
    (outputs,) = features_of(extractor_model(model, [cut]), images)
    assert outputs.shape[1:] == feature_shape(model, cut) == (128 + 1280,)
    head = trainable_head(model, cut)
    np.testing.assert_array_equal(head(outputs), model(images))
    assert len(head.trainable_variables) == len(model.trainable_variables)
    names = {layer.name for layer in head.layers}
    assert {"head1_bn", "head2_bn"} <= names


@pytest.mark.parametrize("name", ["cnn", "conv", "lung", "vgg"])
def test_find_cut_returns_none_without_a_backbone(name: str) -> None:
    assert find_cut(build_model(ModelConfig(name), (46, 46, 1), 2)) is None


def test_find_cut_returns_none_if_the_first_layer_is_trained() -> None:
    freeze(full_model("demo").backbone, BACKBONES["demo"].layers)
    assert find_cut(full_model("demo").model) is None
    freeze(full_model("demo").backbone, 0)
    assert find_cut(full_model("demo").model) is not None


def test_find_cut_ignores_preprocessing_alone() -> None:
    """The first layers of the backbone have no weights, so caching would save nothing."""
    freeze(full_model("demo").backbone, 24)
    assert find_cut(full_model("demo").model) is None
    freeze(full_model("demo").backbone, 23)
    assert find_cut(full_model("demo").model) == ("demo_backbone", "stem_conv")


def chained(*after: keras.layers.Layer) -> keras.Model:
    """A frozen backbone of two layers, followed by these layers."""
    inputs = keras.Input((3,))
    backbone = keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(2)], name="backbone")
    backbone.trainable = False
    x = backbone(inputs)
    for layer in after:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    ("kind", "rate"),
    [
        (keras.layers.Dropout, 0.5),
        (keras.layers.Dropout, 0.0),
        (keras.layers.GaussianNoise, 0.1),
        (keras.layers.RandomRotation, 0.1),
    ],
)
def test_find_cut_stops_before_a_random_layer(
    kind: Callable[[float], keras.layers.Layer], rate: float
) -> None:
    image = keras.layers.Reshape((2, 1, 1))
    assert find_cut(chained(image, kind(rate), keras.layers.ReLU())) == (image.name,)


def test_find_cut_stops_before_a_dropout_inside_a_frozen_backbone() -> None:
    inner = keras.Input((3,))
    x = keras.layers.Dense(2, name="first")(inner)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    backbone = keras.Model(inner, keras.layers.Dense(2, name="second")(x), name="backbone")
    backbone.trainable = False
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1, name="score")(backbone(inputs)))
    assert find_cut(model) == ("backbone", "first")
