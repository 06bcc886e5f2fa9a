"""The name of a run depends on what it computes only."""

from __future__ import annotations

from pathlib import Path

import pytest

from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.errors import UserError
from xray_hpc.records.frozen_run import FrozenRun, Inputs, read_frozen_run, write_frozen_run
from xray_hpc.records.paths import RunPaths


def run(model: ModelConfig, **weights: str) -> FrozenRun:
    """Return a run of ``model``; ``weights`` are the digests of its backbones' weights files."""
    data = DataConfig(
        source="folder",
        root="/xrays",
        image_size=32,
        channels=1,
        split="patient",
        validation_fraction=0.2,
        split_seed=42,
    )
    train = TrainConfig(epochs=1, batch_size=8, learning_rate=1e-3)
    config = RunConfig(data, model, AugmentConfig(), train, 1)
    return FrozenRun(config, Inputs("0" * 64, weights), Path("/cache"))


def stacked(**starts: str) -> ModelConfig:
    return ModelConfig("stacked", backbones=starts, preprocessing="backbone")


def test_frozen_run_round_trip(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    written = run(stacked(demo="demo", mobilenet_v2="/here/own.h5"), demo="d1", mobilenet_v2="d2")
    write_frozen_run(paths, written)
    assert read_frozen_run(paths) == written


def test_read_frozen_run_without_config_raises(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a run folder: it holds no config\.yaml"):
        read_frozen_run(RunPaths(tmp_path))


def test_name_is_independent_of_the_weights_path() -> None:
    one = run(
        ModelConfig("tl", "mobilenet_v2", "imagenet", preprocessing="backbone"), mobilenet_v2="d1"
    )
    two = run(
        ModelConfig("tl", "mobilenet_v2", "/here/own.h5", preprocessing="backbone"),
        mobilenet_v2="d1",
    )
    other = run(
        ModelConfig("tl", "mobilenet_v2", "/here/own.h5", preprocessing="backbone"),
        mobilenet_v2="d2",
    )
    assert one.name == two.name != other.name


def test_name_of_a_stacked_model_is_independent_of_weights_paths() -> None:
    one = run(stacked(demo="/here/a.h5", mobilenet_v2="none"), demo="d1")
    two = run(stacked(demo="/there/b.h5", mobilenet_v2="none"), demo="d1")
    assert one.name == two.name


def test_name_depends_on_the_backbones_and_their_random_starts() -> None:
    runs = [
        run(stacked(demo="demo", mobilenet_v2="none"), demo="d1"),
        run(stacked(demo="demo", resnet50v2="none"), demo="d1"),
        run(stacked(demo="none", mobilenet_v2="none")),
        run(stacked(demo="demo", mobilenet_v2="imagenet"), demo="d1", mobilenet_v2="d2"),
        run(stacked(demo="demo", mobilenet_v2="imagenet"), demo="d1", mobilenet_v2="d3"),
    ]
    assert len({one.name for one in runs}) == len(runs)


def test_name_depends_on_whether_weights_are_random() -> None:
    random = run(ModelConfig("tl", "demo", "none", preprocessing="backbone"))
    assert (
        random.name
        != run(ModelConfig("tl", "demo", "demo", preprocessing="backbone"), demo="d1").name
    )
