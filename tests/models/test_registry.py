"""The tables that a launch checks against, compared with the networks themselves."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.config.run_config import (
    AugmentConfig,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from xray_hpc.errors import UserError
from xray_hpc.models.backbones import build_backbone
from xray_hpc.models.build_model import build_model
from xray_hpc.models.registry import (
    BACKBONES,
    HDF5,
    MODELS,
    backbones,
    check,
    output,
    resolve,
    weights_digests,
    weights_files,
)


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


def stacked(**starts: Any) -> ModelConfig:
    return ModelConfig("stacked", backbones=starts)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_has_the_layers_and_weights_that_the_table_says(name: str) -> None:
    entry = BACKBONES[name]
    backbone = build_backbone(name, (entry.minimum, entry.minimum, entry.channels), None)
    assert len(backbone.layers) == entry.layers
    assert backbone.count_params() == entry.parameters


SCRATCH = [name for name, entry in MODELS.items() if not entry.uses]


@pytest.mark.parametrize("name", SCRATCH)
def test_the_smallest_image_is_the_smallest_that_a_model_can_be_built_for(name: str) -> None:
    side = MODELS[name].minimum
    build_model(ModelConfig(name), (side, side, 1), 2)
    with pytest.raises(ValueError, match=r"negative|less than|zero|size"):
        build_model(ModelConfig(name), (side - 1, side - 1, 1), 2)


def test_an_image_too_small_is_refused_with_both_numbers() -> None:
    with pytest.raises(UserError, match=r"image_size is 29, too small for cnn; use 30 or more"):
        check(run(ModelConfig("cnn"), image_size=29), 2)


def test_what_counts_is_the_square_that_the_network_sees() -> None:
    check(run(ModelConfig("conv"), image_size=55, crop=0.85), 2)
    with pytest.raises(UserError, match=r"is 50 cut to 42 by data\.crop=0\.85, .* use 55 or more"):
        check(run(ModelConfig("conv"), image_size=50, crop=0.85), 2)


def test_the_smallest_image_of_a_stacked_model_is_that_of_its_backbones() -> None:
    with pytest.raises(UserError, match=r"image_size is 31, too small for demo; use 32 or more"):
        check(run(stacked(demo="none", mobilenet_v2="none"), image_size=31), 2)


def test_keys_that_a_model_does_not_use_are_put_back_and_named() -> None:
    settled, moved = resolve(ModelConfig("cnn", "demo", "none", unfreeze=3))
    assert settled == resolve(ModelConfig("cnn"))[0]
    assert moved == ("backbone", "weights", "unfreeze")


def test_without_a_backbone_the_automatic_scaling_is_to_0_and_1() -> None:
    automatic, unit = ModelConfig("vgg"), ModelConfig("vgg", preprocessing="unit")
    assert resolve(automatic) == resolve(unit)
    backbone = ModelConfig("tl", "demo", "none", head_units=8, head_dropout=0.1)
    assert resolve(backbone)[0].preprocessing == "auto"


def test_backbones_without_weights_are_left_out_and_their_order_does_not_matter() -> None:
    one = stacked(mobilenet_v2="none", densenet169=None, demo="demo")
    settled, moved = resolve(one)
    assert list((settled.backbones or {}).items()) == [("demo", "demo"), ("mobilenet_v2", "none")]
    assert moved == ()
    assert resolve(stacked(demo="demo", mobilenet_v2="none"))[0] == settled


@pytest.mark.parametrize(
    ("model", "starts"),
    [
        (ModelConfig("cnn"), {}),
        (ModelConfig("tl", "demo", "demo"), {"demo": "demo"}),
        (stacked(mobilenet_v2="none", demo=None), {"mobilenet_v2": "none"}),
    ],
)
def test_every_model_says_its_backbones_and_what_they_start_from(
    model: ModelConfig, starts: dict[str, str]
) -> None:
    assert backbones(model) == starts


def test_a_key_that_a_model_needs_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"model\.unfreeze is not set; model ft needs it"):
        check(run(ModelConfig("ft", "demo", "none", head_units=8, head_dropout=0.1)), 2)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (stacked(demo="none"), r"names only demo, but model stacked needs two or more"),
        (stacked(demo=None), r"names only nothing, but model stacked needs two or more"),
        (
            stacked(demo="none", mobilenet="none"),
            r"'mobilenet' is unknown; did you mean 'mobilenet_v2'",
        ),
    ],
)
def test_a_stacked_model_needs_two_backbones_that_exist(model: ModelConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(run(model), 2)


@pytest.mark.parametrize(
    ("asked", "classes", "given"),
    [
        ("auto", 2, "sigmoid"),
        ("auto", 3, "softmax"),
        ("sigmoid", 2, "sigmoid"),
        ("softmax", 2, "softmax"),
        ("softmax", 5, "softmax"),
    ],
)
def test_two_classes_are_a_sigmoid_unless_softmax_is_asked_for(
    asked: Any, classes: int, given: str
) -> None:
    assert output(ModelConfig("cnn", output=asked), classes) == given


def test_a_sigmoid_cannot_tell_three_classes_apart() -> None:
    model = ModelConfig("cnn", output="sigmoid")
    with pytest.raises(UserError, match=r"model\.output is sigmoid.* there are 3; use softmax"):
        check(run(model), 3)


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


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            "imagnet",
            r"model\.backbones\.mobilenet_v2 of mobilenet_v2 'imagnet' is unknown",
        ),
        ("/no/such.h5", r"model\.backbones\.mobilenet_v2 .*is /no/such\.h5, but there is no such"),
        (__file__, r"model\.backbones\.mobilenet_v2 is .*\.py, which is no HDF5 file"),
    ],
)
def test_weights_that_cannot_be_used_name_the_backbone(weights: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(run(stacked(demo="demo", mobilenet_v2=weights)), 2)


def test_weights_are_named_by_their_content_and_random_ones_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "own.h5"
    file.write_bytes(HDF5)
    model = stacked(demo=str(file), mobilenet_v2="none")
    assert weights_files(model) == {"demo": file}
    assert weights_digests(model) == {"demo": hashlib.sha256(HDF5).hexdigest()}
