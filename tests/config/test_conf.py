"""Every file of conf/ composes into a valid run; experiments match their tutorials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from xray_hpc.config.hydra_app import to_mapping
from xray_hpc.config.run_config import AugmentConfig, ModelConfig, RunConfig
from xray_hpc.config.sweep_settings import read_sweep_settings
from xray_hpc.config.train_config import EarlyStoppingConfig, ReduceLROnPlateauConfig
from xray_hpc.launching.resolve_run import RunResolver
from xray_hpc.models.registry import BACKBONES
from xray_hpc.models.weights_files import HDF5_SIGNATURE, imagenet_file
from xray_hpc.package_folders import resource

CONF = resource("conf")
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
FILES = sorted(path.relative_to(CONF).with_suffix("") for path in CONF.glob("*/*.yaml"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a data set and ImageNet weights that every configuration can use."""
    for split in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            place = tmp_path / "xrays" / split / label
            place.mkdir(parents=True)
            for number in range(30):
                (place / f"{number}.jpeg").write_bytes(b"-")
    rows = [
        f"{split}/{label}/{number}.jpeg,{label},{split}"
        for split in ("train", "test")
        for label in ("NORMAL", "PNEUMONIA")
        for number in range(20)
    ]
    (tmp_path / "xrays" / "table.csv").write_text("\n".join(["path,label,split", *rows]))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras" / "models").mkdir(parents=True)
    for name in BACKBONES:
        imagenet_file(name).write_bytes(HDF5_SIGNATURE)
    return tmp_path


def composed(*words: str) -> dict[str, Any]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return to_mapping(compose("config", list(words)))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_composes_into_a_valid_run(world: Path, file: Path) -> None:
    group, option = file.parts
    words = [f"{group}={option}"]
    if option == "csv":
        words.append(f"data.root={world}/xrays/table.csv")
    elif option == "folder":
        words.append(f"data.root={world}/xrays")
    values = composed(*words)
    settings = read_sweep_settings(values, "name")
    run, _ = RunResolver(world / "cache").resolve(values)
    assert run.name
    assert settings.cluster


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_on_demo_data_is_small_and_needs_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    config = experiment(tmp_path, name)
    assert config.data.image_size == 96
    assert config.train.epochs <= 10


def experiment(world: Path, name: str, *words: str, data: str = "demo") -> RunConfig:
    """Return the run of ``experiment=name``, on demo data or on the images of ``world``."""
    root = [f"data.root={world}/xrays"] if data == "folder" else []
    values = composed(f"experiment={name}", f"data={data}", *root, *words)
    run, _ = RunResolver(world / "cache").resolve(values)
    return run.config


def test_scale_full_keeps_the_experiments_size_on_demo_data(world: Path) -> None:
    config = experiment(world, "lung", "scale=full")
    assert (config.data.source, config.data.demo_classes) == ("demo", 3)
    assert (config.data.image_size, config.train.epochs) == (512, 40)


def test_larcc_matches_its_tutorial(world: Path) -> None:
    rates = {}
    for model in ("cnn", "tl", "ft"):
        config = experiment(world, "larcc", f"model={model}", data="folder")
        rates[model] = config.train.learning_rate
    assert rates == {"cnn": 3e-5, "tl": 5e-5, "ft": 2e-6}
    assert (config.model.backbone, config.model.unfreeze) == ("resnet152v2", 13)
    assert config.data.input_shape == (224, 224, 3)
    assert (config.train.epochs, config.train.batch_size) == (50, 32)
    assert (config.train.optimizer, config.train.keep) == ("adam", "val_loss")
    assert config.augment == AugmentConfig(zoom=0.1, height_shift=0.1, width_shift=0.1, views=4)
    assert config.train.early_stopping == EarlyStoppingConfig("val_loss", 5, 1e-7)
    assert config.train.reduce_lr == ReduceLROnPlateauConfig("val_loss", 0.2, 2, 1e-7, cooldown=0)


def test_stacked_matches_its_tutorial(world: Path) -> None:
    config = experiment(world, "stacked", data="folder")
    assert config.model == ModelConfig(
        "stacked",
        backbones={"densenet169": "imagenet", "mobilenet_v2": "imagenet"},
        output="sigmoid",
        preprocessing="backbone",
    )
    assert config.data.input_shape == (224, 224, 3)
    assert (config.train.epochs, config.train.batch_size) == (20, 16)
    assert (config.train.learning_rate, config.train.keep) == (1e-4, "val_loss")
    assert config.augment == AugmentConfig(shear=11.5, zoom=0.2, fill_mode="nearest", views=4)
    assert config.train.early_stopping is not None
    assert config.train.early_stopping.monitor == "val_accuracy"
    assert config.train.reduce_lr is not None
    assert config.train.reduce_lr.monitor == "val_accuracy"


def test_reduced_matches_its_tutorial(world: Path) -> None:
    config = experiment(world, "reduced", data="folder")
    assert config.model == ModelConfig("conv", preprocessing="midrange", output="softmax")
    assert (config.data.image_size, config.data.input_shape) == (176, (150, 150, 1))
    assert config.data.per_class == 1000
    assert config.augment == AugmentConfig(rot90=True, horizontal_flip=True, crop=True, views=None)
    assert (config.train.epochs, config.train.batch_size) == (50, 20)
    assert config.train.learning_rate == 1e-4
    assert config.train.save_best
    assert config.train.keep == "last"
    assert config.train.early_stopping is config.train.reduce_lr is None


def test_lung_matches_its_tutorial(world: Path) -> None:
    config = experiment(world, "lung", data="folder")
    assert config.model == ModelConfig("lung", preprocessing="unit", output="softmax")
    assert config.data.input_shape == (512, 512, 1)
    assert (config.train.epochs, config.train.batch_size) == (40, 16)
    assert (config.train.learning_rate, config.train.keep) == (5e-3, "val_accuracy")
    assert config.augment == AugmentConfig(
        views=None,
        rotation=15,
        zoom=0.2,
        height_shift=0.05,
        width_shift=0.05,
        fill_mode="nearest",
    )
    assert config.train.early_stopping == EarlyStoppingConfig("val_auc", patience=10)
    assert config.train.reduce_lr is None


def test_vgg_matches_its_tutorial(world: Path) -> None:
    config = experiment(world, "vgg", data="folder")
    assert config.model == ModelConfig("vgg", preprocessing="unit", output="sigmoid")
    assert config.data.input_shape == (150, 150, 1)
    assert (config.train.epochs, config.train.batch_size) == (12, 32)
    assert (config.train.optimizer, config.train.learning_rate) == ("rmsprop", 1e-3)
    assert config.augment == AugmentConfig(
        views=None,
        rotation=30,
        zoom=0.2,
        height_shift=0.1,
        width_shift=0.1,
        horizontal_flip=True,
        fill_mode="nearest",
    )
    assert config.train.early_stopping is None
    assert config.train.reduce_lr == ReduceLROnPlateauConfig(
        "val_accuracy", factor=0.3, patience=2, min_lr=1e-6
    )
    assert config.train.keep == "last"
