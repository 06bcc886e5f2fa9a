"""Every file of conf/ composes and makes valid runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from xray_hpc.cluster.plan import read_place, read_run
from xray_hpc.config import AugmentConfig, EarlyStoppingConfig, ReduceLROnPlateauConfig
from xray_hpc.hydra_app import to_mapping
from xray_hpc.models.registry import BACKBONES
from xray_hpc.resources import resource

CONF = resource("conf")
FILES = sorted(path.relative_to(CONF).with_suffix("") for path in CONF.glob("*/*.yaml"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set and ImageNet weights that any configuration can name."""
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
    for backbone in BACKBONES.values():
        if backbone.file:
            (tmp_path / "keras" / "models" / backbone.file).write_bytes(b"-")
    return tmp_path


def composed(*words: str) -> dict[str, Any]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return to_mapping(compose("config", list(words)))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_makes_a_valid_run(world: Path, file: Path) -> None:
    group, option = file.parts
    words = [f"{group}={option}"]
    if option == "csv":
        words.append(f"data.root={world}/xrays/table.csv")
    elif option == "folder" or group == "experiment":
        words.append(f"data.root={world}/xrays")
    for model in ("cnn", "tl", "ft") if group == "experiment" else ("ft",):
        extra = [] if group == "model" else [f"model={model}"]
        values = composed(*words, *extra)
        place = read_place(values, "name")
        run, _ = read_run(values, world / "cache")
        assert run.name
        assert place.cluster


def test_larcc_is_the_tutorial(world: Path) -> None:
    rates, depth = {}, None
    for model in ("cnn", "tl", "ft"):
        values = composed("experiment=larcc", f"model={model}", f"data.root={world}/xrays")
        run, _ = read_run(values, world / "cache")
        rates[model] = run.config.train.learning_rate
        config, depth = run.config, run.config.model.unfreeze
    assert rates == {"cnn": 3e-5, "tl": 5e-5, "ft": 2e-6}
    assert depth == 13
    assert config.model.backbone == "resnet152v2"
    assert (config.data.image_size, config.data.channels) == (224, 3)
    assert (config.train.epochs, config.train.batch_size) == (50, 32)
    assert config.train.optimizer == "adam"
    assert config.augment == AugmentConfig(0.1, 0.1, 0.1, "reflect")
    assert config.train.early_stopping == EarlyStoppingConfig("val_loss", 5, 1e-7, True)
    assert config.train.reduce_lr == ReduceLROnPlateauConfig("val_loss", 0.2, 2, 1e-7, cooldown=0)
