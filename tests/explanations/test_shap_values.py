"""SHAP values of a tiny model, where the package shap is installed."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.explanations.tiny_models import SIDE, spot_model, spotted
from xray_hpc.models.layer_graph import logits_tensor

pytest.importorskip("shap", reason="the extra 'explain' is not installed")

from xray_hpc.explanations.shap_values import ShapExplainer

DARK = np.full((3, SIDE, SIDE, 1), 20, np.uint8)
PLACES = [(3, 4), (12, 2)]


@pytest.mark.parametrize(("output", "classes"), [("sigmoid", 2), ("softmax", 3)])
def test_maximum_is_at_the_spot_that_decides_the_class(output: str, classes: int) -> None:
    explainer = ShapExplainer(spot_model(classes=classes, output=output), DARK)
    heatmaps = explainer(spotted(*PLACES), [classes - 1] * 2)
    assert heatmaps.shape == (2, SIDE, SIDE)
    for heatmap, place in zip(heatmaps, PLACES, strict=True):
        peak = np.unravel_index(heatmap.argmax(), heatmap.shape)
        assert np.abs(np.subtract(peak, place)).max() <= 1


def test_spot_speaks_against_the_other_class() -> None:
    explainer = ShapExplainer(spot_model(), DARK)
    heatmap = explainer(spotted((3, 4)), [0])[0]
    assert not heatmap[2:5, 3:6].any()


def test_values_sum_to_the_difference_from_the_background() -> None:
    model, images = spot_model(), spotted((3, 4))
    logits = keras.Model(model.inputs, logits_tensor(model))
    values = ShapExplainer(model, DARK)._values(images[0], 1)
    difference = float(logits([images])[0, 0]) - float(logits([DARK])[0, 0])
    assert values.sum() == pytest.approx(difference, rel=0.1)


def test_image_has_the_same_values_in_any_batch() -> None:
    explainer, images = ShapExplainer(spot_model(), DARK), spotted(*PLACES)
    np.testing.assert_array_equal(explainer(images, [1, 1])[1:], explainer(images[1:], [1]))
