"""The name of a run depends on what it computes only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.train_config import CheckpointConfig, TrainConfig
from xray_hpc.errors import DataError, UserError
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
    written = run(stacked(demo="demo", mobilenet_v2="/here/own.h5"), demo="d1", mobilenet_v2="d2")
    paths = RunPaths(tmp_path / written.name)
    write_frozen_run(paths, written)
    assert read_frozen_run(paths) == written


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("learning_rate: 0.001", "learning_rate: 0.91"),
        ("learning_rate: 0.001", "learning_rate: fast"),
        ("learning_rate:", "learning_rat:"),
        ("cache: /cache", "cache: [/cache]"),
        ("seed: 1", "seed: 1" + "0" * 5000),
        ("seed: 1", "seed: " + "[" * 5000 + "]" * 5000),
        ("seed: 1", "seed: [1"),
        ("seed: 1", "seed: \0"),
    ],
)
def test_changed_config_is_damaged(tmp_path: Path, old: str, new: str) -> None:
    written = run(stacked(demo="demo"), demo="d1")
    paths = RunPaths(tmp_path / written.name)
    write_frozen_run(paths, written)
    text = paths.config.read_text()
    assert old in text
    paths.config.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=r"config\.yaml is (damaged|that of stacked-)"):
        read_frozen_run(paths)


def test_config_cut_between_two_lines_is_damaged(tmp_path: Path) -> None:
    written = run(stacked(demo="demo"), demo="d1")
    paths = RunPaths(tmp_path / written.name)
    write_frozen_run(paths, written)
    lines = paths.config.read_text().splitlines(keepends=True)
    for count in range(len(lines)):
        paths.config.write_text("".join(lines[:count]))
        with pytest.raises(DataError):
            read_frozen_run(paths)


def test_config_may_name_another_cache(tmp_path: Path) -> None:
    written = run(stacked(demo="demo"), demo="d1")
    paths = RunPaths(tmp_path / written.name)
    write_frozen_run(paths, replace(written, cache=Path("/elsewhere")))
    assert read_frozen_run(paths).cache == Path("/elsewhere")


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


@pytest.mark.parametrize(
    "keys", [{"tensorboard": True}, {"checkpoint": CheckpointConfig(steps=3, seconds=None)}]
)
def test_name_is_independent_of_what_else_is_written(keys: dict[str, Any]) -> None:
    written = run(ModelConfig("cnn"))
    train = replace(written.config.train, **keys)
    other = replace(written, config=replace(written.config, train=train))
    assert other.name == written.name == "cnn-f519e40b"
