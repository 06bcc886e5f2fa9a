from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xray_hpc.models.registry import BACKBONES
from xray_hpc.synthetic import demo_dataset
from xray_hpc.synthetic.demo_backbone import WEIGHTS, demo_backbone

SIZE = 96


def test_demo_backbone_layers_match_the_registry() -> None:
    model = demo_backbone((SIZE, SIZE, 1), None)
    assert len(model.layers) == BACKBONES["demo"].layers == 25


def test_demo_backbone_loads_the_shipped_weights() -> None:
    assert WEIGHTS.stat().st_size <= 3_000_000
    model = demo_backbone((SIZE, SIZE, 1), WEIGHTS)
    assert model.count_params() < 700_000


@pytest.mark.parametrize(("side", "cells"), [(32, 2), (96, 6), (100, 7), (224, 14)])
def test_demo_backbone_output_shape(side: int, cells: int) -> None:
    model = demo_backbone((side, side, 1), WEIGHTS)
    assert model.output_shape == (None, cells, cells, 128)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_demo_backbone_rejects_weights_of_another_shape() -> None:
    with pytest.raises(ValueError, match="shape"):
        demo_backbone((SIZE, SIZE, 3), WEIGHTS)


@pytest.fixture(scope="module")
def drawn() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return pixels [N, 96, 96, 1] in [-1, 1] and labels [N] of 240 demo images, by part."""
    parts: dict[str, list[tuple[np.ndarray, bool]]] = {"train": [], "test": []}
    for path, patient, image in demo_dataset.plan(240, 11, 2):
        film = Image.fromarray(demo_dataset.draw_image(patient, image, seed=11)).resize(
            (SIZE, SIZE)
        )
        scaled = np.asarray(film, np.float32)[..., None] / 127.5 - 1
        parts[path.parts[0]].append((scaled, patient.kind != "normal"))
    return {
        part: (np.stack([x for x, _ in pairs]), np.array([y for _, y in pairs]))
        for part, pairs in parts.items()
    }


def auc_of_pooled_features(
    weights: Path | None, drawn: dict[str, tuple[np.ndarray, np.ndarray]]
) -> float:
    """Return the test AUC of a logistic regression on the frozen backbone's pooled output."""
    keras.utils.set_random_seed(0)
    model = demo_backbone((SIZE, SIZE, 1), weights)
    features = {
        part: model.predict(pixels, verbose=0).mean(axis=(1, 2))
        for part, (pixels, _) in drawn.items()
    }
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))
    head.fit(features["train"], drawn["train"][1])
    scores = head.decision_function(features["test"])
    return float(roc_auc_score(drawn["test"][1], scores))


def test_pretrained_features_beat_random_weights_on_the_demo_set(
    drawn: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    pretrained = auc_of_pooled_features(WEIGHTS, drawn)
    untrained = auc_of_pooled_features(None, drawn)
    assert pretrained > untrained + 0.1
    assert pretrained > 0.85
