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
from xray_hpc.features import cost
from xray_hpc.features.cut import (
    LayerPath,
    extractor_layers,
    extractor_model,
    feature_shape,
    find_cut,
    trainable_head,
)
from xray_hpc.models.backbones import freeze
from xray_hpc.models.build_model import build_model
from xray_hpc.models.layer_graph import flat_layers
from xray_hpc.models.registry import BACKBONES
from xray_hpc.training.train_run import prepare_devices

SIDE = 32  # pixels, the least that all backbones take
ANSWERS = np.array([[0.0], [1.0], [1.0]], np.float32)

# Where each is cut that trains so many of its last layers; 0 is transfer learning.
POOLED = ("pool",)
PLACES: dict[str, dict[int, LayerPath]] = {
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
DEPTHS = [(name, depth) for name, places in PLACES.items() for depth in places]
# A step of a large one takes seconds: one of them at a block's end, the other in the middle of one.
STEPS = [(name, depth) for name, depth in DEPTHS if BACKBONES[name].layers < 500]
STEPS += [("resnet152v2", 13), ("densenet169", 17)]


class Whole:
    """A model on random weights, some images, and what it makes of them at each place."""

    def __init__(self, name: str) -> None:
        keras.utils.set_random_seed(1)
        head = {"head_units": 8, "head_dropout": 0.0}
        shape = (SIDE, SIDE, BACKBONES[name].channels)
        self.model = build_model(ModelConfig("ft", name, "none", 1, **head), shape, 2)
        self.backbone = next(one for one in self.model.layers if isinstance(one, keras.Model))
        rng = np.random.default_rng(2)
        self.images = rng.integers(0, 256, (len(ANSWERS), *shape)).astype(np.uint8)
        places = list(dict.fromkeys(PLACES[name].values()))
        outputs = given(extractor_model(self.model, places), self.images)
        self.outputs = dict(zip(places, outputs, strict=True))
        self.scores = self.model(self.images, training=False).numpy()


def given(part: keras.Model, images: npt.NDArray[np.uint8]) -> list[tf.Tensor]:
    """What a feature extractor gives; Keras makes no list of a single output."""
    return list(keras.tree.flatten(part(images, training=False)))


whole = functools.cache(Whole)


@pytest.fixture(scope="module", autouse=True)
def _as_in_a_run() -> Iterator[None]:
    prepare_devices()
    yield
    whole.cache_clear()


def stacked() -> keras.Model:
    config = ModelConfig("stacked", backbones={"demo": "none", "mobilenet_v2": "none"})
    return build_model(config, (SIDE, SIDE, 1), 2)


def after_a_step(
    model: keras.Model, inputs: Any, watched: keras.Model
) -> list[npt.NDArray[np.float32]]:
    """The weights of ``watched`` after ``model`` has learnt from a batch; they are put back."""
    before = [weight.numpy() for weight in watched.weights]
    with tf.GradientTape() as tape:
        scores = model(inputs, training=True)
        loss = tf.reduce_mean(keras.losses.binary_crossentropy(ANSWERS, scores))
    gradients = tape.gradient(loss, model.trainable_variables)
    keras.optimizers.SGD(1.0).apply(gradients, model.trainable_variables)
    after = [weight.numpy() for weight in watched.weights]
    for weight, value in zip(watched.weights, before, strict=True):
        weight.assign(value)
    assert any((old != new).any() for old, new in zip(before, after, strict=True))
    return after


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_the_cut_is_the_last_one_way_on_before_what_trains(name: str, depth: int) -> None:
    freeze(whole(name).backbone, depth)
    assert find_cut(whole(name).model) == PLACES[name][depth]


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_a_launch_knows_what_the_feature_extractor_gives(name: str, depth: int) -> None:
    part = cost.feature_extractor(ModelConfig("ft", name, "none", unfreeze=depth or None))
    assert part is not None
    *sides, channels = feature_shape(whole(name).model, PLACES[name][depth])
    assert (part.channels, part.side == 0) == (channels, not sides)


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_the_tail_gives_the_scores_of_the_whole_model(name: str, depth: int) -> None:
    place = PLACES[name][depth]
    scores = trainable_head(whole(name).model, place)(whole(name).outputs[place], training=False)
    np.testing.assert_array_equal(scores, whole(name).scores)


@pytest.mark.parametrize(("name", "depth"), STEPS)
def test_the_tail_learns_what_the_whole_model_learns(name: str, depth: int) -> None:
    """Also the statistics of the BatchNormalization layers that train."""
    freeze(whole(name).backbone, depth)
    place = PLACES[name][depth]
    part = trainable_head(whole(name).model, place)
    learnt = after_a_step(part, whole(name).outputs[place], part)
    expected = after_a_step(whole(name).model, whole(name).images, part)
    for weight, one, other in zip(part.weights, learnt, expected, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=weight.path)


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_all_that_trains_is_in_the_tail(name: str, depth: int) -> None:
    model, place = whole(name).model, PLACES[name][depth]
    freeze(whole(name).backbone, depth)
    behind = {weight.path for weight in trainable_head(model, place).weights}
    assert {weight.path for weight in model.trainable_variables} <= behind
    statistics = {
        weight.path
        for layer in flat_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for weight in layer.weights
    }
    assert statistics <= behind
    before = extractor_layers(model, place)
    assert not any(layer.trainable_variables for layer in before)
    kept = {weight.path for layer in before for weight in layer.weights}
    assert kept.isdisjoint(behind)
    assert len(kept | behind) == len(model.weights)


def test_several_places_at_once_have_what_each_has_alone() -> None:
    model = whole("demo").model
    for place, together in whole("demo").outputs.items():
        (alone,) = given(extractor_model(model, [place]), whole("demo").images)
        np.testing.assert_array_equal(alone, together)
        assert feature_shape(model, place) == tuple(alone.shape[1:])


def test_places_may_lie_in_a_backbone_and_behind_it_in_any_order() -> None:
    places = [POOLED, ("demo_backbone", "stage2_relu"), ("hidden",)]
    outputs = given(extractor_model(whole("demo").model, places), whole("demo").images)
    assert [tuple(one.shape[1:]) for one in outputs] == [(128,), (4, 4, 64), (8,)]
    np.testing.assert_array_equal(outputs[0], whole("demo").outputs[POOLED])


@pytest.mark.parametrize(
    "places",
    [
        [POOLED, POOLED],
        [POOLED, POOLED, ("demo_backbone", "stage2_relu")],
        [("demo_backbone", "stage2_relu"), POOLED, ("demo_backbone", "stage2_relu")],
    ],
)
def test_a_place_may_be_asked_for_twice(places: list[LayerPath]) -> None:
    """As by two runs, of which one keeps its outputs in float16."""
    outputs = given(extractor_model(whole("demo").model, places), whole("demo").images)
    for place, found in zip(places, outputs, strict=True):
        (alone,) = given(extractor_model(whole("demo").model, [place]), whole("demo").images)
        np.testing.assert_array_equal(found, alone)


def test_frozen_backbones_side_by_side_are_cut_where_they_come_together() -> None:
    model = stacked()
    place = find_cut(model)
    assert place == ("together",)
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (len(ANSWERS), SIDE, SIDE, 1)).astype(np.uint8)
    (outputs,) = given(extractor_model(model, [place]), images)
    assert outputs.shape[1:] == feature_shape(model, place) == (128 + 1280,)
    part = trainable_head(model, place)
    np.testing.assert_array_equal(part(outputs), model(images))
    assert len(part.trainable_variables) == len(model.trainable_variables)
    names = {layer.name for layer in part.layers}
    assert {"head1_bn", "head2_bn"} <= names


@pytest.mark.parametrize("name", ["cnn", "conv", "lung", "vgg"])
def test_a_model_without_a_frozen_backbone_has_no_cut(name: str) -> None:
    assert find_cut(build_model(ModelConfig(name), (46, 46, 1), 2)) is None


def test_a_backbone_that_trains_from_its_first_layer_has_no_cut() -> None:
    freeze(whole("demo").backbone, BACKBONES["demo"].layers)
    assert find_cut(whole("demo").model) is None
    freeze(whole("demo").backbone, 0)
    assert find_cut(whole("demo").model) is not None


def test_preprocessing_alone_is_no_feature_extractor() -> None:
    """The first layers of the backbone have no weights: there is nothing to save."""
    freeze(whole("demo").backbone, 24)
    assert find_cut(whole("demo").model) is None
    freeze(whole("demo").backbone, 23)
    assert find_cut(whole("demo").model) == ("demo_backbone", "stem_conv")


def chained(*behind: keras.layers.Layer) -> keras.Model:
    """A frozen backbone of two layers, and these behind it."""
    inputs = keras.Input((3,))
    backbone = keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(2)], name="backbone")
    backbone.trainable = False
    x = backbone(inputs)
    for layer in behind:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        (keras.layers.Dropout, 0.5),
        (keras.layers.Dropout, 0.0),
        (keras.layers.GaussianNoise, 0.1),
        (keras.layers.RandomRotation, 0.1),
    ],
)
def test_what_draws_random_numbers_is_not_in_the_feature_extractor(
    kind: Callable[[float], keras.layers.Layer], most: float
) -> None:
    image = keras.layers.Reshape((2, 1, 1))
    assert find_cut(chained(image, kind(most), keras.layers.ReLU())) == (image.name,)


def test_a_dropout_in_a_frozen_backbone_ends_the_feature_extractor_inside_it() -> None:
    inner = keras.Input((3,))
    x = keras.layers.Dense(2, name="first")(inner)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    backbone = keras.Model(inner, keras.layers.Dense(2, name="second")(x), name="backbone")
    backbone.trainable = False
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1, name="score")(backbone(inputs)))
    assert find_cut(model) == ("backbone", "first")
