"""Which runs cache features, and which of them share a pass over the images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.run_config import (
    AugmentSettings,
    DataConfig,
    ModelConfig,
    ModelSettings,
    RunConfig,
    RunSettings,
)
from xray_hpc.config.train_config import TrainSettings
from xray_hpc.errors import ConfigError
from xray_hpc.features import feature_plan
from xray_hpc.features.extractor_costs import FeatureExtractor, feature_extractor
from xray_hpc.features.feature_plan import (
    DEFAULT_VIEWS,
    MAX_BYTES,
    estimate_speedup,
    group_by_pass,
    resolve_features,
)
from xray_hpc.records.frozen_run import FrozenRun, Inputs

HEAD: dict[str, Any] = {"head_units": 8, "head_dropout": 0.1}
MODELS = {
    "tl": ModelConfig("tl", "demo", "none", preprocessing="backbone", **HEAD),
    "ft": ModelConfig("ft", "demo", "none", unfreeze=5, preprocessing="backbone", **HEAD),
    "deep": ModelConfig("ft", "demo", "none", unfreeze=20, preprocessing="backbone", **HEAD),
    "all": ModelConfig("ft", "demo", "none", unfreeze=25, preprocessing="backbone", **HEAD),
    "stacked": ModelConfig(
        "stacked", backbones={"demo": "none", "mobilenet_v2": "none"}, preprocessing="backbone"
    ),
    "cnn": ModelConfig("cnn"),
}
AUGMENTED = AugmentSettings(zoom=0.1)
IDENTITY = AugmentSettings()
IMAGES = 100


def run(
    model: str, augment: AugmentSettings, views: Any = "auto", dtype: Any = "auto", epochs: int = 20
) -> RunSettings:
    return RunSettings(
        data=DataConfig(
            source="folder",
            root="/xrays",
            image_size=32,
            channels=1,
            split="patient",
            validation_fraction=0.2,
            split_seed=0,
        ),
        model=ModelSettings(MODELS[model].name),
        augment=dataclasses.replace(augment, views=views),
        train=TrainSettings(epochs=epochs, batch_size=8, learning_rate=1e-3, features=dtype),
        seed=3,
    )


def resolve(model: str, *options: Any, **more: Any) -> tuple[int | None, str]:
    return resolve_features(run(model, *options, **more), MODELS[model], IMAGES)


@pytest.mark.parametrize(
    ("model", "augment", "views", "dtype", "expected"),
    [
        # Defaults: vectors in float32, maps in float16, off if most of the model is trained.
        ("tl", AUGMENTED, "auto", "auto", (DEFAULT_VIEWS, "float32")),
        ("stacked", AUGMENTED, "auto", "auto", (DEFAULT_VIEWS, "float32")),
        ("ft", AUGMENTED, "auto", "auto", (DEFAULT_VIEWS, "float16")),
        ("deep", AUGMENTED, "auto", "auto", (None, "off")),
        ("all", AUGMENTED, "auto", "auto", (None, "off")),
        ("cnn", AUGMENTED, "auto", "auto", (None, "off")),
        # A number of views, with or without cached features.
        ("tl", AUGMENTED, 7, "auto", (7, "float32")),
        ("deep", AUGMENTED, 7, "auto", (7, "off")),
        ("cnn", AUGMENTED, 7, "auto", (7, "off")),
        # Views that change every epoch cannot be cached.
        ("tl", AUGMENTED, "per_epoch", "auto", (None, "off")),
        ("cnn", AUGMENTED, "per_epoch", "auto", (None, "off")),
        # Explicit values.
        ("tl", AUGMENTED, "auto", "float16", (DEFAULT_VIEWS, "float16")),
        ("ft", AUGMENTED, 2, "float32", (2, "float32")),
        ("deep", AUGMENTED, "auto", "float16", (DEFAULT_VIEWS, "float16")),
        ("tl", AUGMENTED, "auto", "off", (None, "off")),
        ("tl", AUGMENTED, 7, "off", (7, "off")),
        ("cnn", AUGMENTED, "auto", "off", (None, "off")),
        # Without augmentation there is one view, whatever is set.
        ("tl", IDENTITY, "auto", "auto", (1, "float32")),
        ("tl", IDENTITY, "per_epoch", "auto", (1, "float32")),
        ("ft", IDENTITY, 7, "auto", (1, "float16")),
        ("ft", IDENTITY, "per_epoch", "float32", (1, "float32")),
        ("deep", IDENTITY, "auto", "auto", (1, "off")),
        ("tl", IDENTITY, "auto", "off", (1, "off")),
        ("cnn", IDENTITY, 7, "auto", (1, "off")),
    ],
)
def test_resolve_features_resolves_views_and_features(
    model: str, augment: AugmentSettings, views: Any, dtype: Any, expected: tuple[Any, str]
) -> None:
    assert resolve(model, augment, views, dtype) == expected


@pytest.mark.parametrize("model", ["cnn", "all"])
def test_resolve_features_is_off_without_a_feature_extractor(
    model: str,
) -> None:
    assert resolve(model, AUGMENTED, dtype="float16") == (None, "off")


def test_resolve_features_is_off_by_default_beyond_max_bytes() -> None:
    settings, model = run("ft", AUGMENTED), MODELS["ft"]
    extractor = feature_extractor(model)
    assert extractor is not None
    image = DEFAULT_VIEWS * extractor.feature_size(32) * 2  # bytes, in float16
    assert resolve_features(settings, model, MAX_BYTES // image)[1] == "float16"
    assert resolve_features(settings, model, MAX_BYTES // image + 1)[1] == "off"


def test_resolve_features_rejects_cached_features_of_views_per_epoch() -> None:
    with pytest.raises(ConfigError, match=r"train\.features is float32, but augment\.views"):
        resolve("tl", AUGMENTED, "per_epoch", "float32")


@given(
    model=st.sampled_from(sorted(MODELS)),
    augment=st.sampled_from([AUGMENTED, IDENTITY]),
    views=st.sampled_from(["auto", "per_epoch"]) | st.integers(1, 30),
    dtype=st.sampled_from(["auto", "off", "float16", "float32"]),
    epochs=st.integers(1, 20),
)
def test_resolve_features_leaves_no_auto(
    model: str, augment: AugmentSettings, views: Any, dtype: Any, epochs: int
) -> None:
    try:
        number, features = resolve(model, augment, views, dtype, epochs)
    except ConfigError:
        assert dtype in ("float16", "float32")
        assert views == "per_epoch"
        return
    assert number is None or 1 <= number <= epochs
    assert features in ("off", "float16", "float32")
    assert features == "off" or number is not None
    assert dtype in ("auto", features) or feature_extractor(MODELS[model]) is None


def frozen(name: str = "tl", *, augment: AugmentSettings = AUGMENTED, **others: Any) -> FrozenRun:
    """Return a run; ``others`` are changed values by part of its configuration, or ``inputs``."""
    settings, model = run(name, augment), MODELS[name]
    inputs, cache = Inputs("0" * 64, {"demo": "1" * 64}), others.pop("cache", Path("/cache"))
    for key, value in others.items():
        if key == "seed":
            settings = dataclasses.replace(settings, seed=value)
        elif key == "model":
            model = dataclasses.replace(model, **value)
        elif key == "inputs":
            inputs = dataclasses.replace(inputs, **value)
        else:
            part = dataclasses.replace(getattr(settings, key), **value)
            settings = dataclasses.replace(settings, **{key: part})
    views, features = resolve_features(settings, model, IMAGES)
    config = RunConfig(
        data=settings.data,
        model=model,
        augment=settings.augment.resolve(views),
        train=settings.train.resolve(features),
        seed=settings.seed,
    )
    return FrozenRun(config, inputs, cache)


@pytest.mark.parametrize(
    "other",
    [
        {"name": "ft"},
        {"train": {"learning_rate": 1e-5, "optimizer": "sgd", "balance": "sampling"}},
        {"train": {"features": "float16"}},
        {"data": {"root": "/elsewhere"}},
    ],
    ids=str,
)
def test_runs_with_the_same_images_and_weights_share_a_pass(other: dict[str, Any]) -> None:
    assert len(group_by_pass([frozen(), frozen(**other)])) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 4},
        {"cache": Path("/scratch")},
        {"augment": dataclasses.replace(AUGMENTED, horizontal_flip=True)},
        {"data": {"image_size": 64}},
        {"data": {"split_seed": 1}},
        {"data": {"clahe": 2.0}},
        {"train": {"precision": "mixed_bfloat16"}},
        {"model": {"preprocessing": "unit"}},
        {"inputs": {"data": "2" * 64}},
        {"inputs": {"weights": {"demo": "2" * 64}}},
    ],
    ids=str,
)
def test_runs_with_other_images_or_weights_have_their_own_pass(other: dict[str, Any]) -> None:
    assert len(group_by_pass([frozen(), frozen(**other)])) == 2


def test_seed_separates_passes_only_with_augmentation_or_random_weights() -> None:
    assert len(group_by_pass([frozen(augment=IDENTITY), frozen(augment=IDENTITY, seed=4)])) == 1
    drawn = [frozen(augment=IDENTITY, seed=seed, inputs={"weights": {}}) for seed in (3, 4)]
    assert len(group_by_pass(drawn)) == 2


def test_estimate_speedup_is_1_without_a_feature_extractor() -> None:
    assert estimate_speedup([frozen("cnn")]) == 1


def test_estimate_speedup_counts_multiplications(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        feature_plan, "feature_extractor", lambda _: FeatureExtractor(0, 0, 8, share=0.9)
    )
    one = [frozen(train={"epochs": 10})]
    # One epoch of the trained tenth: forward and backward for 8 of 10 images, else forward only.
    epoch = 0.8 * 3 * 0.1 + 0.2 * 0.1
    once = 0.9 * (4 * 0.8 + 0.2)  # four views of the training images
    assert estimate_speedup(one) == pytest.approx(10 * (epoch + 0.9) / (10 * epoch + once))
    two = [*one, frozen(train={"epochs": 10, "learning_rate": 1e-4})]
    assert estimate_speedup(two) == pytest.approx(20 * (epoch + 0.9) / (20 * epoch + once))
