from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.dataclass_conversion import build
from xray_hpc.config.run_config import AugmentConfig, DataConfig, RunSettings
from xray_hpc.config.train_config import TrainSettings
from xray_hpc.errors import UserError

RUN: dict[str, Any] = {
    "data": {
        "source": "demo",
        "root": None,
        "image_size": 96,
        "channels": 1,
        "split": "patient",
        "validation_fraction": 0.2,
        "split_seed": 42,
        "demo_images": 800,
        "demo_seed": 0,
    },
    "model": {"name": "ft", "backbone": "demo", "weights": "demo", "unfreeze": 4},
    "augment": {"zoom": 0.1, "height_shift": 0.1, "width_shift": 0.1},
    "train": {"epochs": 10, "batch_size": 32, "learning_rate": 0.001},
    "seed": 42,
}


def changed(key: str, value: Any) -> dict[str, Any]:
    """Return ``RUN`` with the dotted ``key`` set; the value ``...`` removes it."""
    values = copy.deepcopy(RUN)
    *parents, last = key.split(".")
    inner = values
    for parent in parents:
        inner = inner.setdefault(parent, {})
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return values


def test_build_returns_typed_values_and_defaults() -> None:
    config = build(RunSettings, RUN)
    assert config.data.image_size == 96
    assert config.train.early_stopping is not None
    assert config.train.early_stopping.patience == 5
    assert config.augment.fill_mode == "reflect"


def test_build_is_the_inverse_of_asdict() -> None:
    config = build(RunSettings, RUN)
    assert build(RunSettings, asdict(config)) == config


def test_build_accepts_an_integer_for_a_float() -> None:
    rate = build(RunSettings, changed("train.learning_rate", 1)).train.learning_rate
    assert isinstance(rate, float)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "seeds",
            1,
            "seeds is unknown; did you mean 'seed'? (valid: data, model, augment, train, ",
        ),
        ("train.lr", 1, "train.lr is unknown (valid: epochs, batch_size, learning_rate, "),
        ("train.epoch", 1, "train.epoch is unknown; did you mean 'epochs'? "),
        ("train.learning_rate", ..., "train.learning_rate is missing"),
        ("train", None, "train is None; it must be a mapping"),
        ("train.epochs", "ten", "train.epochs is 'ten'; it must be a whole number"),
        ("train.epochs", 1.5, "train.epochs is 1.5; it must be a whole number"),
        ("train.epochs", True, "train.epochs is True; it must be a whole number"),
        ("train.epochs", 0, "train.epochs is 0; it must be 1 or more"),
        ("train.batch_size", 0, "train.batch_size is 0; it must be 1 or more"),
        ("train.learning_rate", 0, "train.learning_rate is 0.0; it must be more than 0"),
        ("train.learning_rate", -1, "train.learning_rate is -1.0; it must be more than 0"),
        ("train.learning_rate", float("nan"), "train.learning_rate is nan; it must be finite"),
        ("train.learning_rate", float("inf"), "train.learning_rate is inf; it must be finite"),
        ("train.learning_rate", 10**400, "train.learning_rate is inf; it must be finite"),
        ("train.learning_rate", "1e-3", "train.learning_rate is '1e-3'; it must be a number"),
        ("train.save_best", 1, "train.save_best is 1; it must be true or false"),
        (
            "train.optimizer",
            "adm",
            "train.optimizer 'adm' is unknown; did you mean 'adam'? (valid: adam, rmsprop, sgd)",
        ),
        (
            "train.reduce_lr",
            {"factor": 1.0},
            "train.reduce_lr.factor is 1.0; it must lie between 0 and 1",
        ),
        (
            "train.early_stopping",
            {"patience": -1},
            "train.early_stopping.patience is -1; it must be 0 or more",
        ),
        ("data.channels", 2, "data.channels '2' is unknown (valid: 1, 3)"),
        ("data.channels", True, "data.channels 'True' is unknown"),
        ("data.image_size", 4, "data.image_size is 4; it must be 8 to 4096"),
        ("data.validation_fraction", 1.0, "data.validation_fraction is 1.0; it must lie between"),
        ("data.demo_images", 5, "data.demo_images is 5; it must be 40 to 100000"),
        ("data.demo_seed", None, "data.demo_seed is not set; it must be 0 to 2^32-1"),
        ("data.source", "folder", "data.root is not set; it must name a path"),
        ("data.split", "patients", "data.split 'patients' is unknown; did you mean 'patient'?"),
        ("data.root", 7, "data.root is 7; it must be a text"),
        ("data.root", "/x", "data.root is /x; it must be null with data=demo, which draws its own"),
        ("model.unfreeze", 0, "model.unfreeze is 0; it must be 1 or more"),
        ("model.head_dropout", 1.0, "model.head_dropout is 1.0; it must be at least 0 and below 1"),
        ("data.demo_classes", None, "data.demo_classes is not set; it must be 2 or 3"),
        ("data.demo_classes", 4, "data.demo_classes '4' is unknown"),
        ("data.crop", 0.0, "data.crop is 0.0; it must be 0.1 to 1, a share of the side"),
        ("data.clahe", 0, "data.clahe is 0.0; it must be more than 0, or null"),
        ("data.range", "typ", "data.range is 'typ'; it must be auto or a whole number or a list"),
        ("data.range", 8.5, "data.range is 8.5; it must be auto or a whole number or a list"),
        ("data.range", 7, "data.range is 7; it must be auto, 8 to 32 bits, or [LOW,HIGH]"),
        ("data.range", True, "data.range is True; it must be auto or a whole number or a list"),
        ("data.range", [4095, 0], "data.range is [4095.0, 0.0]; it must be auto, 8 to 32 bits, or"),
        ("data.range", [1], "data.range is [1.0]; it must be auto, 8 to 32 bits, or [LOW,HIGH]"),
        ("data.range", ["a", 2], "data.range[0] is 'a'; it must be a number"),
        ("data.per_class", 1, "data.per_class is 1; it must be 2 or more"),
        (
            "model.backbones",
            {"mobilenet_v2": 1},
            "model.backbones.mobilenet_v2 is 1; it must be a text",
        ),
        ("model.output", "tanh", "model.output 'tanh' is unknown (valid: auto, sigmoid, softmax)"),
        ("augment.zoom", 1.0, "augment.zoom is 1.0; it must be at least 0 and below 1"),
        ("augment.rotation", 181, "augment.rotation is 181.0; it must be 0 to 180 degrees"),
        ("augment.shear", 90, "augment.shear is 90.0; it must be 0 to below 90 degrees"),
        ("augment.brightness", 1, "augment.brightness is 1.0; it must be at least 0 and below 1"),
        ("augment.views", 0, "augment.views is 0; it must be auto, per_epoch, or 1 or more"),
        ("augment.views", "live", "augment.views 'live' is unknown (valid: auto, per_epoch)"),
        ("train.keep", "best", "train.keep 'best' is unknown"),
        ("train.balance", "weights", "train.balance 'weights' is unknown; did you mean 'class_w"),
        ("seed", -1, "seed is -1; it must be 0 to 2^32-1"),
    ],
)
def test_invalid_value_is_reported_with_its_key(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build(RunSettings, changed(key, value))
    assert str(caught.value).startswith(message)


def test_early_stopping_can_be_null() -> None:
    values = changed("train.early_stopping", None)
    assert build(RunSettings, values).train.early_stopping is None


def test_identity_is_true_without_augmentation() -> None:
    assert AugmentConfig().identity
    assert AugmentConfig(fill_mode="wrap").identity
    assert not AugmentConfig(width_shift=0.1).identity
    assert not AugmentConfig(horizontal_flip=True).identity


def test_input_shape_is_the_cropped_image() -> None:
    data = build(DataConfig, RUN["data"] | {"image_size": 176, "crop": 0.85})
    assert data.input_shape == (150, 150, 1)


rates = st.floats(min_value=1e-12, max_value=1e3)


@given(rates, st.integers(1, 10**6), st.integers(1, 10**6))
def test_any_valid_training_survives_a_round_trip(rate: float, epochs: int, batch: int) -> None:
    values = {"learning_rate": rate, "epochs": epochs, "batch_size": batch}
    config = build(TrainSettings, values)
    assert asdict(config)["learning_rate"] == rate
    assert build(TrainSettings, asdict(config)) == config
