"""What a launch knows of feature extractors is so; and what it settles on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.run_config import (
    AugmentConfig,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from xray_hpc.errors import UserError
from xray_hpc.features import cost
from xray_hpc.features.cost import (
    LARGEST,
    VIEWS,
    FeatureExtractor,
    _table,
    feature_extractor,
    passes,
    resolve,
    saving,
)
from xray_hpc.features.measure_cost import measure
from xray_hpc.models.registry import BACKBONES
from xray_hpc.records.frozen_run import FrozenRun, Inputs

HEAD: dict[str, Any] = {"head_units": 8, "head_dropout": 0.1}
MODELS = {
    "tl": ModelConfig("tl", "demo", "none", **HEAD),
    "ft": ModelConfig("ft", "demo", "none", unfreeze=5, **HEAD),
    "deep": ModelConfig("ft", "demo", "none", unfreeze=20, **HEAD),
    "whole": ModelConfig("ft", "demo", "none", unfreeze=25, **HEAD),
    "stacked": ModelConfig("stacked", backbones={"demo": "none", "mobilenet_v2": "none"}),
    "cnn": ModelConfig("cnn"),
}
CHANGED = AugmentConfig(zoom=0.1)
SAME = AugmentConfig()
IMAGES = 100


def run(
    model: str, augment: AugmentConfig, views: Any = "auto", kept: Any = "auto", epochs: int = 20
) -> RunConfig:
    return RunConfig(
        data=DataConfig(
            source="folder",
            root="/xrays",
            image_size=32,
            channels=1,
            split="patient",
            validation_fraction=0.2,
            split_seed=0,
        ),
        model=MODELS[model],
        augment=dataclasses.replace(augment, views=views),
        train=TrainConfig(epochs=epochs, batch_size=8, learning_rate=1e-3, features=kept),
        seed=3,
    )


def settled(config: RunConfig) -> tuple[int | str, str]:
    found = resolve(config, IMAGES)
    return found.augment.views, found.train.features


@pytest.mark.parametrize("name", ["demo", "mobilenet_v2"])
def test_the_shipped_table_is_what_a_backbone_measures(name: str) -> None:
    assert [FeatureExtractor(*row) for row in measure(name)] == _table()[name]


def test_the_table_has_every_backbone() -> None:
    assert _table().keys() == BACKBONES.keys()


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_the_more_layers_train_the_smaller_is_the_feature_extractor(name: str) -> None:
    parts = _table()[name]
    assert [part.unfreeze for part in parts] == sorted({part.unfreeze for part in parts})
    shares = [part.share for part in parts]
    assert shares == sorted(shares, reverse=True)
    assert 0 < shares[-1] < 0.1 < 0.99 < shares[0] <= 1
    assert parts[-1].unfreeze < BACKBONES[name].layers
    assert [part.side == 0 for part in parts] == [True] + [False] * (len(parts) - 1)


@pytest.mark.parametrize(
    ("depth", "side", "channels"),
    [(1, 0, 2048), (2, 7, 2048), (13, 7, 2048), (24, 7, 2048), (36, 7, 1024), (48, 14, 1024)],
)
def test_resnet152v2_is_cut_where_the_tutorials_depths_are(
    depth: int, side: int, channels: int
) -> None:
    part = feature_extractor(ModelConfig("ft", "resnet152v2", "none", unfreeze=depth, **HEAD))
    assert part is not None
    assert (part.side, part.channels) == (side, channels)
    assert part.share > 0.9


def test_an_output_is_as_large_as_the_image_makes_it() -> None:
    part = feature_extractor(ModelConfig("ft", "resnet152v2", "none", unfreeze=13, **HEAD))
    assert part is not None
    assert [part.output_size(side) for side in (224, 225, 32)] == [49 * 2048, 64 * 2048, 2048]
    pooled = feature_extractor(ModelConfig("tl", "resnet152v2", "none", **HEAD))
    assert pooled is not None
    assert [pooled.output_size(side) for side in (224, 32)] == [2048, 2048]


def test_stacked_backbones_have_one_feature_extractor_of_both_their_outputs() -> None:
    part = feature_extractor(MODELS["stacked"])
    assert part is not None
    assert (part.side, part.channels, part.unfreeze) == (0, 128 + 1280, 0)


@pytest.mark.parametrize("model", ["cnn", "whole"])
def test_what_trains_from_its_first_layer_has_no_feature_extractor(model: str) -> None:
    assert feature_extractor(MODELS[model]) is None


@pytest.mark.parametrize(
    ("model", "augment", "views", "kept", "expected"),
    [
        # By itself: vectors whole, maps in half as much, nothing where most of the model trains.
        ("tl", CHANGED, "auto", "auto", (VIEWS, "float32")),
        ("stacked", CHANGED, "auto", "auto", (VIEWS, "float32")),
        ("ft", CHANGED, "auto", "auto", (VIEWS, "float16")),
        ("deep", CHANGED, "auto", "auto", ("per_epoch", "off")),
        ("whole", CHANGED, "auto", "auto", ("per_epoch", "off")),
        ("cnn", CHANGED, "auto", "auto", ("per_epoch", "off")),
        # So many views, whether something is kept of them or not.
        ("tl", CHANGED, 7, "auto", (7, "float32")),
        ("deep", CHANGED, 7, "auto", (7, "off")),
        ("cnn", CHANGED, 7, "auto", (7, "off")),
        # New images in every epoch leave nothing to keep.
        ("tl", CHANGED, "per_epoch", "auto", ("per_epoch", "off")),
        ("cnn", CHANGED, "per_epoch", "auto", ("per_epoch", "off")),
        # As it is asked for.
        ("tl", CHANGED, "auto", "float16", (VIEWS, "float16")),
        ("ft", CHANGED, 2, "float32", (2, "float32")),
        ("deep", CHANGED, "auto", "float16", (VIEWS, "float16")),
        ("tl", CHANGED, "auto", "off", ("per_epoch", "off")),
        ("tl", CHANGED, 7, "off", (7, "off")),
        ("cnn", CHANGED, "auto", "off", ("per_epoch", "off")),
        # Images that are not changed have one view, whatever is asked for.
        ("tl", SAME, "auto", "auto", (1, "float32")),
        ("tl", SAME, "per_epoch", "auto", (1, "float32")),
        ("ft", SAME, 7, "auto", (1, "float16")),
        ("ft", SAME, "per_epoch", "float32", (1, "float32")),
        ("deep", SAME, "auto", "auto", (1, "off")),
        ("tl", SAME, "auto", "off", (1, "off")),
        ("cnn", SAME, 7, "auto", (1, "off")),
    ],
)
def test_views_and_what_is_kept_are_settled(
    model: str, augment: AugmentConfig, views: Any, kept: Any, expected: tuple[Any, str]
) -> None:
    assert settled(run(model, augment, views, kept)) == expected


@pytest.mark.parametrize("model", ["cnn", "whole"])
def test_a_model_without_a_feature_extractor_keeps_nothing_whatever_is_asked_for(
    model: str,
) -> None:
    assert settled(run(model, CHANGED, kept="float16")) == ("per_epoch", "off")


def test_outputs_that_would_fill_the_disk_are_not_kept_by_themselves() -> None:
    config = run("ft", CHANGED)
    part = feature_extractor(config.model)
    assert part is not None
    image = VIEWS * part.output_size(32) * 2  # bytes, in float16
    assert resolve(config, LARGEST // image).train.features == "float16"
    assert resolve(config, LARGEST // image + 1).train.features == "off"


def test_outputs_of_images_that_are_always_new_cannot_be_kept() -> None:
    line = r"train\.features is float32, but augment\.views is per_epoch: .* give a number of views"
    with pytest.raises(UserError, match=line):
        resolve(run("tl", CHANGED, "per_epoch", "float32"), IMAGES)


@given(
    model=st.sampled_from(sorted(MODELS)),
    augment=st.sampled_from([CHANGED, SAME]),
    views=st.sampled_from(["auto", "per_epoch"]) | st.integers(1, 30),
    kept=st.sampled_from(["auto", "off", "float16", "float32"]),
    epochs=st.integers(1, 20),
)
def test_what_is_settled_is_said_in_full_and_stays(
    model: str, augment: AugmentConfig, views: Any, kept: Any, epochs: int
) -> None:
    config = run(model, augment, views, kept, epochs)
    try:
        found = resolve(config, IMAGES)
    except UserError:
        assert kept in ("float16", "float32")
        assert views == "per_epoch"
        return
    assert resolve(found, IMAGES) == found
    assert found.augment.views == "per_epoch" or 1 <= found.augment.views <= epochs
    assert found.train.features in ("off", "float16", "float32")
    assert found.train.features == "off" or found.augment.views != "per_epoch"
    assert kept in ("auto", found.train.features) or feature_extractor(config.model) is None
    assert dataclasses.replace(found, augment=config.augment, train=config.train) == config


def frozen(name: str = "tl", *, augment: AugmentConfig = CHANGED, **others: Any) -> FrozenRun:
    """A run; ``others`` are parts of its configuration with keys of theirs, or of ``Inputs``."""
    config = run(name, augment)
    inputs, cache = Inputs("0" * 64, {"demo": "1" * 64}), others.pop("cache", Path("/cache"))
    for key, value in others.items():
        if key == "seed":
            config = dataclasses.replace(config, seed=value)
        elif key == "inputs":
            inputs = dataclasses.replace(inputs, **value)
        else:
            part = dataclasses.replace(getattr(config, key), **value)
            config = dataclasses.replace(config, **{key: part})
    return FrozenRun(resolve(config, IMAGES), inputs, cache)


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
def test_runs_whose_feature_extractors_are_fed_the_same_share_a_pass(other: dict[str, Any]) -> None:
    assert len(passes([frozen(), frozen(**other)])) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 4},
        {"cache": Path("/scratch")},
        {"augment": dataclasses.replace(CHANGED, horizontal_flip=True)},
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
def test_runs_whose_feature_extractors_are_fed_something_else_do_not(other: dict[str, Any]) -> None:
    assert len(passes([frozen(), frozen(**other)])) == 2


def test_a_seed_that_draws_nothing_is_no_reason_for_another_pass() -> None:
    assert len(passes([frozen(augment=SAME), frozen(augment=SAME, seed=4)])) == 1
    drawn = [frozen(augment=SAME, seed=seed, inputs={"weights": {}}) for seed in (3, 4)]
    assert len(passes(drawn)) == 2


def test_without_a_feature_extractor_nothing_is_saved() -> None:
    assert saving([frozen("cnn")]) == 1


def test_what_is_saved_is_counted_in_multiplications(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "feature_extractor", lambda _: FeatureExtractor(0, 0, 8, share=0.9))
    one = [frozen(train={"epochs": 10})]
    # An epoch of the tenth that trains: forward and back for 8 of 10 images, else forward alone.
    epoch = 0.8 * 3 * 0.1 + 0.2 * 0.1
    once = 0.9 * (4 * 0.8 + 0.2)  # four views of what trains
    assert saving(one) == pytest.approx(10 * (epoch + 0.9) / (10 * epoch + once))
    two = [*one, frozen(train={"epochs": 10, "learning_rate": 1e-4})]
    assert saving(two) == pytest.approx(20 * (epoch + 0.9) / (20 * epoch + once))
