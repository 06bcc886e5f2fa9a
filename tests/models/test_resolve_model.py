from __future__ import annotations

from typing import Any

import pytest

from xray_hpc.config.run_config import (
    AugmentConfig,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from xray_hpc.errors import ConfigError
from xray_hpc.models.resolve_model import check_model, output_activation, resolve_model


def run(model: ModelConfig, image_size: int = 64, crop: float = 1.0) -> RunConfig:
    data = DataConfig(
        source="demo",
        image_size=image_size,
        channels=1,
        crop=crop,
        split="patient",
        validation_fraction=0.2,
        split_seed=42,
        demo_images=100,
        demo_seed=0,
    )
    return RunConfig(
        data, model, AugmentConfig(), TrainConfig(epochs=1, batch_size=8, learning_rate=1e-3), 1
    )


def stacked(**weights: Any) -> ModelConfig:
    return ModelConfig("stacked", backbones=weights)


def test_check_model_rejects_images_that_are_too_small() -> None:
    with pytest.raises(ConfigError, match=r"image_size is 29, .* cnn; .* 30 pixels"):
        check_model(run(ModelConfig("cnn"), image_size=29), 2)


def test_check_model_compares_the_cropped_side() -> None:
    check_model(run(ModelConfig("conv"), image_size=55, crop=0.85), 2)
    with pytest.raises(ConfigError, match=r"is 50 .cropped to 42 .* 55 pixels"):
        check_model(run(ModelConfig("conv"), image_size=50, crop=0.85), 2)


def test_check_model_compares_the_minimum_of_each_backbone() -> None:
    with pytest.raises(ConfigError, match=r"image_size is 31, .* demo; .* 32 pixels"):
        check_model(run(stacked(demo="none", mobilenet_v2="none"), image_size=31), 2)


def test_resolve_model_resets_and_returns_unused_keys() -> None:
    resolved, reset = resolve_model(ModelConfig("cnn", "demo", "none", unfreeze=3))
    assert resolved == resolve_model(ModelConfig("cnn"))[0]
    assert reset == ("backbone", "weights", "unfreeze")


def test_resolve_model_sets_unit_scaling_without_a_backbone() -> None:
    automatic, unit = ModelConfig("vgg"), ModelConfig("vgg", preprocessing="unit")
    assert resolve_model(automatic) == resolve_model(unit)
    backbone = ModelConfig("tl", "demo", "none", head_units=8, head_dropout=0.1)
    assert resolve_model(backbone)[0].preprocessing == "auto"


def test_resolve_model_sorts_backbones_and_removes_unset_ones() -> None:
    one = stacked(mobilenet_v2="none", densenet169=None, demo="demo")
    resolved, reset = resolve_model(one)
    assert list((resolved.backbones or {}).items()) == [("demo", "demo"), ("mobilenet_v2", "none")]
    assert reset == ()
    assert resolve_model(stacked(demo="demo", mobilenet_v2="none"))[0] == resolved


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        (ModelConfig("cnn"), {}),
        (ModelConfig("tl", "demo", "demo"), {"demo": "demo"}),
        (stacked(mobilenet_v2="none", demo=None), {"mobilenet_v2": "none"}),
    ],
)
def test_backbone_weights_lists_the_configured_weights(
    model: ModelConfig, weights: dict[str, str]
) -> None:
    assert model.backbone_weights == weights


def test_check_model_requires_every_key_that_the_model_uses() -> None:
    with pytest.raises(ConfigError, match=r"model\.unfreeze is not set"):
        check_model(run(ModelConfig("ft", "demo", "none", head_units=8, head_dropout=0.1)), 2)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (stacked(demo="none"), r"model\.backbones has only demo"),
        (stacked(demo=None), r"model\.backbones has only nothing"),
        (
            stacked(demo="none", mobilenet="none"),
            r"'mobilenet' is unknown; did you mean 'mobilenet_v2'",
        ),
    ],
)
def test_check_model_requires_two_known_backbones_of_a_stacked_model(
    model: ModelConfig, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_model(run(model), 2)


@pytest.mark.parametrize(
    ("output", "classes", "activation"),
    [
        ("auto", 2, "sigmoid"),
        ("auto", 3, "softmax"),
        ("sigmoid", 2, "sigmoid"),
        ("softmax", 2, "softmax"),
        ("softmax", 5, "softmax"),
    ],
)
def test_output_activation_is_sigmoid_for_two_classes_by_default(
    output: Any, classes: int, activation: str
) -> None:
    assert output_activation(ModelConfig("cnn", output=output), classes) == activation


def test_check_model_rejects_a_sigmoid_for_three_classes() -> None:
    model = ModelConfig("cnn", output="sigmoid")
    with pytest.raises(ConfigError, match=r"model\.output is sigmoid.* 3"):
        check_model(run(model), 3)


@pytest.mark.parametrize("weights", ["imagnet", "/no/such.h5"])
def test_check_model_names_the_backbone_with_unusable_weights(weights: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.backbones\.mobilenet_v2 .*{weights}"):
        check_model(run(stacked(demo="demo", mobilenet_v2=weights)), 2)
