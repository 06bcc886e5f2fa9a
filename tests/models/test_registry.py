"""The tables that a launch checks against, compared with the networks themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from xray_hpc.config import AugmentConfig, DataConfig, ModelConfig, RunConfig, TrainConfig
from xray_hpc.errors import UserError
from xray_hpc.models.backbones import build_backbone
from xray_hpc.models.build import build_model
from xray_hpc.models.registry import BACKBONES, MODELS, check, settle, weights_files


def run(model: ModelConfig, image_size: int = 64) -> RunConfig:
    data = DataConfig(
        source="demo",
        image_size=image_size,
        channels=1,
        split="patient",
        validation_fraction=0.2,
        split_seed=42,
        demo_images=100,
        demo_seed=0,
    )
    return RunConfig(data, model, AugmentConfig(), TrainConfig(1, 8, 1e-3), 1)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_has_the_layers_that_the_table_says(name: str) -> None:
    entry = BACKBONES[name]
    backbone = build_backbone(name, (entry.minimum, entry.minimum, entry.channels), None)
    assert len(backbone.layers) == entry.layers


@pytest.mark.parametrize("size", [30, 31, 32, 47])
def test_the_smallest_image_of_the_cnn_is_the_smallest_that_it_can_be_built_for(size: int) -> None:
    assert MODELS["cnn"].minimum == 30
    build_model(ModelConfig("cnn"), (size, size, 1), 2)


def test_an_image_too_small_is_refused_with_both_numbers() -> None:
    with pytest.raises(UserError, match=r"image_size is 29, too small for cnn; use 30 or more"):
        check(run(ModelConfig("cnn"), image_size=29), 2)


def test_keys_that_a_model_does_not_use_are_put_back_and_named() -> None:
    settled, moved = settle(ModelConfig("cnn", "demo", "none", unfreeze=3))
    assert settled == ModelConfig("cnn", preprocessing="unit")
    assert moved == ("backbone", "weights", "unfreeze")


def test_a_key_that_a_model_needs_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"model\.unfreeze is not set; model ft needs it"):
        check(run(ModelConfig("ft", "demo", "none", head_units=8, head_dropout=0.1)), 2)


def test_imagenet_weights_are_looked_for_where_keras_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    model = ModelConfig("tl", "resnet152v2", "imagenet")
    with pytest.raises(UserError, match=r"ImageNet weights of resnet152v2 are not at"):
        weights_files(model)
    file = tmp_path / "models" / BACKBONES["resnet152v2"].file
    file.parent.mkdir()
    file.write_bytes(b"")
    assert weights_files(model) == {"resnet152v2": file}


def test_weights_that_belong_to_another_backbone_are_refused() -> None:
    with pytest.raises(UserError, match=r"weights of mobilenet_v2 'demo' is unknown"):
        weights_files(ModelConfig("tl", "mobilenet_v2", "demo"))
