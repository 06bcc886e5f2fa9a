"""One pass of the images through a feature extractor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training.computing import (
    CONFIG,
    PLACES,
    assert_equal,
    changed,
    compute,
    model_of,
    noise,
    strategy,
)
from xray_hpc.data.augmentation import center_crop, draw_augmentations
from xray_hpc.data.image_transform import apply_augmentation
from xray_hpc.errors import UserError
from xray_hpc.features.cut import extractor_model
from xray_hpc.features.forward_pass import batch_of
from xray_hpc.features.store import Arrays, features, load
from xray_hpc.models.build_model import build_run_model
from xray_hpc.training.train_run import prepare_devices


@pytest.fixture(scope="module", autouse=True)
def _as_in_a_run() -> Iterator[None]:
    prepare_devices()
    yield
    model_of.cache_clear()


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    return compute(tmp_path_factory.mktemp("cache"))


def test_large_images_come_in_small_batches() -> None:
    assert [batch_of(side) for side in (32, 224, 448, 512, 1024)] == [64, 64, 16, 8, 8]


def test_the_views_of_all_images_follow_one_another(computed: Arrays) -> None:
    data, augment = noise(), CONFIG.augment
    images = data.images[data.splits["train"]]
    views = [
        apply_augmentation(
            images, *draw_augmentations(50, 36, 32, augment, CONFIG.seed, view), augment, 32
        )
        for view in range(2)
    ]
    expected = extractor_model(model_of(CONFIG.model), PLACES[1:2])(np.concatenate(views))
    assert computed["train"].shape == (100, 2, 2, 128)
    np.testing.assert_allclose(computed["train"], expected, rtol=1e-5, atol=1e-6)
    assert np.abs(computed["train"][:50] - computed["train"][50:]).max() > 0.1


@pytest.mark.parametrize("split", ["validation", "test"])
def test_images_that_do_not_train_are_not_changed(computed: Arrays, split: str) -> None:
    data = noise()
    images = center_crop(data.images[data.splits[split]], 32)
    expected = extractor_model(model_of(CONFIG.model), PLACES[1:2])(images)
    np.testing.assert_allclose(computed[split], expected, rtol=1e-5, atol=1e-6)


def test_float16_rounds_those_that_train_alone(tmp_path: Path, computed: Arrays) -> None:
    halves = compute(tmp_path, changed(train_features="float16"))
    train = computed["train"].astype(np.float16)
    assert_equal(halves, {**computed, "train": train})


def test_outputs_too_large_for_float16_are_refused_in_one_line(tmp_path: Path) -> None:
    model = build_run_model(CONFIG, 2, strategy())
    scale = model.get_layer("demo_backbone").get_layer("stage3_down_bn").gamma
    scale.assign(1e6 * scale)
    halves, whole = (
        features(changed(train_features=kept), noise(), model, PLACES[1], tmp_path)
        for kept in ("float16", "float32")
    )
    line = r"up to \S+e\+06, .* use train.features=float32"
    with pytest.raises(UserError, match=line):
        load([halves], CONFIG, noise(), model, strategy())
    load([whole], CONFIG, noise(), model, strategy())


def test_weights_that_are_no_numbers_are_left_to_the_training_to_tell(tmp_path: Path) -> None:
    """As without outputs that are kept: its loss is no number then."""
    model = build_run_model(CONFIG, 2, strategy())
    model.get_layer("demo_backbone").get_layer("stem_conv").kernel.assign(
        np.full((3, 3, 1, 16), np.nan)
    )
    keeps = features(changed(train_features="float16"), noise(), model, PLACES[1], tmp_path)
    (arrays,) = load([keeps], CONFIG, noise(), model, strategy())
    assert np.isnan(arrays["train"]).all()


def test_what_float16_cannot_compute_is_told_as_such(tmp_path: Path) -> None:
    config = changed(train_precision="mixed_float16")
    try:
        model = build_run_model(config, 2, strategy())
        scale = model.get_layer("demo_backbone").get_layer("stage3_down_bn").gamma
        scale.assign(1e6 * scale)
        keeps = features(config, noise(), model, PLACES[1], tmp_path)
        with pytest.raises(UserError, match=r"more than mixed_float16 can compute"):
            load([keeps], config, noise(), model, strategy())
    finally:
        keras.config.set_dtype_policy("float32")
