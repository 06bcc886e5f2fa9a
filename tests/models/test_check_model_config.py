from __future__ import annotations

from typing import Any

import pytest

from xray_hpc.config.run_config import DataConfig, ModelConfig, ModelSettings
from xray_hpc.errors import ConfigError
from xray_hpc.models.check_model_config import check_model, drop_unused_keys


def data(image_size: int = 64, crop: float = 1.0) -> DataConfig:
    return DataConfig(source="demo", image_size=image_size, crop=crop, demo_images=100, demo_seed=0)


def stacked(**weights: Any) -> ModelConfig:
    return ModelConfig("stacked", backbones=weights, preprocessing="backbone")


def test_check_model_rejects_images_that_are_too_small() -> None:
    with pytest.raises(ConfigError, match=r"image_size is 29, .* cnn; .* 30 pixels"):
        check_model(ModelConfig("cnn"), data(image_size=29), 2)


def test_check_model_compares_the_cropped_side() -> None:
    check_model(ModelConfig("conv"), data(image_size=55, crop=0.85), 2)
    with pytest.raises(ConfigError, match=r"is 50 .cropped to 42 .* 55 pixels"):
        check_model(ModelConfig("conv"), data(image_size=50, crop=0.85), 2)


def test_check_model_compares_the_minimum_of_each_backbone() -> None:
    with pytest.raises(ConfigError, match=r"image_size is 31, .* demo; .* 32 pixels"):
        check_model(stacked(demo="none", mobilenet_v2="none"), data(image_size=31), 2)


def test_drop_unused_keys_resets_and_returns_unused_keys() -> None:
    settings, reset = drop_unused_keys(ModelSettings("cnn", "demo", "none", unfreeze=3))
    assert settings == ModelSettings("cnn")
    assert reset == ("backbone", "weights", "unfreeze")


def test_drop_unused_keys_sorts_backbones_and_removes_unset_ones() -> None:
    weights = {"mobilenet_v2": "none", "densenet169": None, "demo": "demo"}
    settings, reset = drop_unused_keys(ModelSettings("stacked", backbones=weights))
    assert list((settings.backbones or {}).items()) == [("demo", "demo"), ("mobilenet_v2", "none")]
    assert reset == ()


@pytest.mark.parametrize(
    ("settings", "preprocessing"),
    [
        (ModelSettings("vgg"), "unit"),
        (ModelSettings("vgg", preprocessing="midrange"), "midrange"),
        (ModelSettings("tl", "demo", "none"), "backbone"),
        (ModelSettings("stacked", backbones={"demo": "none"}), "backbone"),
        (ModelSettings("tl", "demo", "none", preprocessing="unit"), "unit"),
    ],
)
def test_model_settings_resolve_scales_as_the_backbone_was_trained(
    settings: ModelSettings, preprocessing: str
) -> None:
    assert settings.resolve(2).preprocessing == preprocessing


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        (ModelConfig("cnn"), {}),
        (ModelConfig("tl", "demo", "demo", preprocessing="backbone"), {"demo": "demo"}),
        (stacked(mobilenet_v2="none", demo=None), {"mobilenet_v2": "none"}),
    ],
)
def test_backbone_weights_lists_the_configured_weights(
    model: ModelConfig, weights: dict[str, str]
) -> None:
    assert model.backbone_weights == weights


def test_check_model_requires_every_key_that_the_model_uses() -> None:
    with pytest.raises(ConfigError, match=r"model\.unfreeze is not set"):
        check_model(ModelConfig("ft", "demo", "none", head_units=8, head_dropout=0.1), data(), 2)


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
        check_model(model, data(), 2)


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
def test_model_settings_resolve_uses_a_sigmoid_for_two_classes_by_default(
    output: Any, classes: int, activation: str
) -> None:
    assert ModelSettings("cnn", output=output).resolve(classes).output == activation


def test_check_model_rejects_a_sigmoid_for_three_classes() -> None:
    model = ModelConfig("cnn", output="sigmoid")
    with pytest.raises(ConfigError, match=r"model\.output is sigmoid.* 3"):
        check_model(model, data(), 3)


@pytest.mark.parametrize("weights", ["imagnet", "/no/such.h5"])
def test_check_model_names_the_backbone_with_unusable_weights(weights: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.backbones\.mobilenet_v2 .*{weights}"):
        check_model(stacked(demo="demo", mobilenet_v2=weights), data(), 2)
