"""Heatmaps have their maximum where an image has what decides its class."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.explanations.tiny_models import SIDE, spot_model, spotted
from tests.training.small_runs import MODELS
from xray_hpc.errors import DataError
from xray_hpc.explanations import grad_cam
from xray_hpc.explanations.grad_cam import GradCam
from xray_hpc.models.build_model import build_model

PLACES = [(3, 4), (12, 2), (8, 13)]


def peak(heatmap: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(heatmap.argmax(), heatmap.shape)))


@pytest.mark.parametrize(("output", "classes"), [("sigmoid", 2), ("softmax", 2), ("softmax", 3)])
def test_maximum_is_at_the_spot_that_decides_the_class(output: str, classes: int) -> None:
    model = spot_model(classes=classes, output=output)
    heatmaps = GradCam(model)(spotted(*PLACES), [classes - 1] * 3)
    assert heatmaps.shape == (3, SIDE, SIDE)
    assert [peak(heatmap) for heatmap in heatmaps] == PLACES
    np.testing.assert_allclose(heatmaps.max(axis=(1, 2)), 1)
    assert heatmaps.min() == 0


def test_spot_does_not_speak_for_the_other_class() -> None:
    heatmaps = GradCam(spot_model())(spotted((3, 4)), [0])
    assert not heatmaps.any()


def test_image_without_evidence_has_an_empty_heatmap() -> None:
    assert not GradCam(spot_model())(np.zeros((1, SIDE, SIDE, 1), np.uint8), [1]).any()


def test_gradients_that_are_not_finite_count_as_zero() -> None:
    model = spot_model()
    model.get_layer("logits").set_weights([np.array([[np.nan]]), np.zeros(1)])
    assert not GradCam(model)(spotted((3, 4)), [1]).any()


def test_no_image_gives_no_heatmap() -> None:
    assert GradCam(spot_model())(spotted(), []).shape == (0, SIDE, SIDE)


def test_batches_do_not_change_the_heatmaps(monkeypatch: pytest.MonkeyPatch) -> None:
    compute, images = GradCam(spot_model()), spotted(*PLACES)
    at_once = compute(images, [1, 1, 0])
    monkeypatch.setattr(grad_cam, "BATCH_PIXELS", 2 * SIDE * SIDE)
    np.testing.assert_array_equal(compute(images, [1, 1, 0]), at_once)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_heatmaps(name: str, classes: int) -> None:
    keras.utils.set_random_seed(1)
    output = "sigmoid" if classes == 2 else "softmax"
    model = build_model(replace(MODELS[name], output=output), (48, 48, 1), classes)
    before = [weight.numpy() for weight in model.weights]
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1), np.uint8)
    compute = GradCam(model)
    # A random network may have no evidence for one class of an image, but not for all classes.
    heatmaps = [compute(images, [label] * 2) for label in range(classes)]
    assert np.isfinite(heatmaps).all()
    assert np.max(heatmaps) == 1
    np.testing.assert_array_equal(compute(images, [0] * 2), heatmaps[0])
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_branches_are_weighed_by_their_contribution() -> None:
    """Grad-CAM on two branches is that on their concatenation, of which each has half the maps."""
    inputs = keras.Input((SIDE, SIDE, 1))
    one, two = (keras.layers.Conv2D(2, 3, padding="same", activation="relu") for _ in range(2))
    maps = [one(inputs), two(inputs)]
    pool, logits = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, name="logits")
    branches = keras.Model(inputs, logits(keras.layers.Concatenate()([pool(x) for x in maps])))
    together = keras.Model(inputs, logits(pool(keras.layers.Concatenate()(maps))))
    images = spotted(*PLACES)
    np.testing.assert_allclose(
        GradCam(branches)(images, [0, 1, 2]), GradCam(together)(images, [0, 1, 2]), atol=1e-5
    )


def test_model_without_a_convolution_is_an_error() -> None:
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)]
    with pytest.raises(DataError, match="'dense_only' has no convolution"):
        GradCam(keras.Sequential(layers, name="dense_only"))
