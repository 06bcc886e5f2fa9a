"""Features against those of the extractor called directly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.features.small_features import (
    CONFIG,
    CUTS,
    assert_equal,
    cached_model,
    changed,
    compute,
    random_data,
    strategy,
)
from xray_hpc.data.apply_augmentation import apply_augmentation
from xray_hpc.data.augmentation_parameters import center_crop, draw_augmentations
from xray_hpc.errors import TrainingDivergedError, UserError
from xray_hpc.features.feature_store import FeatureArrays, cached_features, load_or_compute
from xray_hpc.features.forward_pass import FeatureSource, replica_batch_size
from xray_hpc.features.model_cut import extractor_model
from xray_hpc.models.build_model import build_run_model
from xray_hpc.training.train_run import prepare_devices


@pytest.fixture(scope="module", autouse=True)
def _prepared_devices() -> Iterator[None]:
    prepare_devices()
    yield
    cached_model.cache_clear()


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> FeatureArrays:
    return compute(tmp_path_factory.mktemp("cache"))


def test_replica_batch_size_decreases_for_large_images() -> None:
    assert [replica_batch_size(side) for side in (32, 224, 448, 512, 1024)] == [64, 64, 16, 8, 8]


def test_training_features_are_ordered_by_view_then_image(computed: FeatureArrays) -> None:
    data, augment = random_data(), CONFIG.augment
    images = data.images[data.splits["train"]]
    views = [
        apply_augmentation(
            images, *draw_augmentations(50, 36, 32, augment, CONFIG.seed, view), augment, 32
        )
        for view in range(2)
    ]
    expected = extractor_model(cached_model(CONFIG.model), CUTS[1:2])(np.concatenate(views))
    assert computed["train"].shape == (100, 2, 2, 128)
    np.testing.assert_allclose(computed["train"], expected, rtol=1e-5, atol=1e-6)
    assert np.abs(computed["train"][:50] - computed["train"][50:]).max() > 0.1


@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluation_features_are_those_of_unaugmented_images(
    computed: FeatureArrays, split: str
) -> None:
    data = random_data()
    images = center_crop(data.images[data.splits[split]], 32)
    expected = extractor_model(cached_model(CONFIG.model), CUTS[1:2])(images)
    np.testing.assert_allclose(computed[split], expected, rtol=1e-5, atol=1e-6)


def test_float16_applies_to_training_features_only(tmp_path: Path, computed: FeatureArrays) -> None:
    halves = compute(tmp_path, changed(train_features="float16"))
    train = computed["train"].astype(np.float16)
    assert_equal(halves, {**computed, "train": train})


def test_features_beyond_the_range_of_float16_are_rejected(tmp_path: Path) -> None:
    model = build_run_model(CONFIG, 2, strategy())
    scale = model.get_layer("demo_backbone").get_layer("stage3_down_bn").gamma
    scale.assign(1e6 * scale)
    halves, singles = (
        FeatureSource(changed(train_features=dtype), random_data(), model, strategy())
        for dtype in ("float16", "float32")
    )
    line = r"e\+06, .* float16; use train\.features=float32"
    with pytest.raises(UserError, match=line):
        load_or_compute([cached_features(halves, CUTS[1], tmp_path, [])], halves)
    load_or_compute([cached_features(singles, CUTS[1], tmp_path, [])], singles)


def test_features_of_nan_weights_are_not_cached(tmp_path: Path) -> None:
    """The run fails as it does without cached features, where its loss is NaN."""
    model = build_run_model(CONFIG, 2, strategy())
    model.get_layer("demo_backbone").get_layer("stem_conv").kernel.assign(
        np.full((3, 3, 1, 16), np.nan)
    )
    source = FeatureSource(changed(train_features="float16"), random_data(), model, strategy())
    with pytest.raises(TrainingDivergedError):
        load_or_compute([cached_features(source, CUTS[1], tmp_path, [])], source)
    assert not list(tmp_path.glob("features-*.h5"))


def test_features_beyond_the_range_of_mixed_float16_are_rejected(tmp_path: Path) -> None:
    config = changed(train_precision="mixed_float16")
    try:
        model = build_run_model(config, 2, strategy())
        scale = model.get_layer("demo_backbone").get_layer("stage3_down_bn").gamma
        scale.assign(1e6 * scale)
        source = FeatureSource(config, random_data(), model, strategy())
        file = cached_features(source, CUTS[1], tmp_path, [])
        with pytest.raises(UserError, match=r"mixed_float16; use train\.precision=mixed_bfloat16"):
            load_or_compute([file], source)
    finally:
        keras.config.set_dtype_policy("float32")
