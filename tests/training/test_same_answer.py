"""Runs with cached features give the same results as the same runs without."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.run_files import file_contents
from tests.training.small_runs import (
    assert_same_files,
    checkpointed,
    new_run,
    wait_for_checkpoints,
)
from xray_hpc import figure_files
from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.data import array_writer
from xray_hpc.data.dataset import load_dataset
from xray_hpc.metrics import Floats, class_scores, split_metrics
from xray_hpc.models.build_backbone import APPLICATIONS
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_metrics import read_metrics
from xray_hpc.records.run_progress import read_feature_blocks
from xray_hpc.training.checkpoint_store import CheckpointStore
from xray_hpc.training.epoch_callbacks import EpochTables
from xray_hpc.training.feed import ImageFeed
from xray_hpc.training.fit import FitResult, fit
from xray_hpc.training.strategy import make_strategy
from xray_hpc.training.train_run import prepare_devices, train_run
from xray_hpc.training.training_model import make_training_model

HEAD: dict[str, Any] = {"head_units": 8, "head_dropout": 0.3}
RUN = RunConfig(
    data=DataConfig(
        source="demo",
        image_size=32,
        channels=1,
        split="patient",
        validation_fraction=0.2,
        split_seed=0,
        demo_images=60,
        demo_seed=0,
    ),
    model=ModelConfig("ft", "demo", "demo", unfreeze=7, preprocessing="backbone", **HEAD),
    augment=AugmentConfig(rotation=10.0, zoom=0.2, horizontal_flip=True, brightness=0.1, views=2),
    train=TrainConfig(
        epochs=3,
        batch_size=8,
        learning_rate=1e-3,
        balance="class_weights",
        keep="last",
        early_stopping=None,
    ),
    seed=3,
)
CASES: dict[str, tuple[ModelConfig, str]] = {
    "tl": (ModelConfig("tl", "demo", "demo", preprocessing="backbone", **HEAD), "none"),
    "ft at 1": (
        ModelConfig("ft", "demo", "demo", unfreeze=1, preprocessing="backbone", **HEAD),
        "class_weights",
    ),
    "ft at 2": (
        ModelConfig("ft", "demo", "demo", unfreeze=2, preprocessing="backbone", **HEAD),
        "sampling",
    ),
    "ft at 13": (
        ModelConfig("ft", "mobilenet_v2", "none", unfreeze=13, preprocessing="backbone", **HEAD),
        "none",
    ),
    "ft at 24": (
        ModelConfig("ft", "mobilenet_v2", "none", unfreeze=24, preprocessing="backbone", **HEAD),
        "none",
    ),
    "stacked": (
        ModelConfig(
            "stacked", backbones={"demo": "demo", "densenet121": "none"}, preprocessing="backbone"
        ),
        "sampling",
    ),
}
"""Models to train instead of that of ``RUN``, with the balancing of the classes."""


def small_backbone(
    include_top: bool, weights: None, input_shape: tuple[int, int, int]
) -> keras.Model:
    """Replaces a published backbone, which takes a minute to trace."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(inputs)
    return keras.Model(inputs, keras.layers.BatchNormalization()(x))


@pytest.fixture(scope="module", autouse=True)
def _prepared_devices() -> Iterator[None]:
    """Also draw figures at a low resolution; they would take a third of the time of a small run."""
    prepare_devices()
    save = figure_files.save_figure

    def save_small(figure: Figure, path: Path, **options: Any) -> None:
        figure.set_layout_engine("none")
        save(figure, path, **options | {"dpi": 20})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_files, "save_figure", save_small)
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def with_features(config: RunConfig, dtype: Any) -> RunConfig:
    return replace(config, train=replace(config.train, features=dtype))


def train(config: RunConfig, cache: Path, folder: Path) -> tuple[FitResult, Floats]:
    """Train without writing run files; return the result and the logits of the test images."""
    data, paths = load_dataset(config.data, cache), RunPaths(folder / config.train.features)
    paths.folder.mkdir()
    training_model = make_training_model(config, data, make_strategy(["CPU:0"]), cache)
    assert isinstance(training_model.feed, ImageFeed) == (config.train.features == "off")
    fitted = fit(config, data, training_model, paths, CheckpointStore(paths.checkpoint_folder, {}))
    return fitted, training_model.predict("test")


# On the machines tested so far the two are identical bit for bit.
@pytest.mark.parametrize("case", CASES)
def test_cached_features_give_the_same_result(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setitem(APPLICATIONS, "densenet121", small_backbone)
    model, balance = CASES[case]
    channels = 3 if model.backbone == "mobilenet_v2" else 1
    config = replace(
        RUN,
        model=model,
        data=replace(RUN.data, channels=channels),
        train=replace(RUN.train, balance=balance),
    )
    uncached, logits = train(with_features(config, "off"), cache, tmp_path)
    cached, cached_logits = train(with_features(config, "float32"), cache, tmp_path)
    for weight, value in zip(cached.model.weights, uncached.model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, value, atol=1e-5, err_msg=weight.path)
    np.testing.assert_allclose(cached_logits, logits, atol=1e-5)
    pd.testing.assert_frame_equal(cached.history, uncached.history, rtol=1e-5, atol=1e-5)
    assert len(cached.history) == 3
    if model.backbone != "mobilenet_v2":  # with its random weights, rounding has almost no effect
        _, rounded = train(with_features(config, "float16"), cache, tmp_path)
        np.testing.assert_allclose(class_scores(rounded), class_scores(logits), atol=5e-3)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_features_computed_in_16_bits_give_the_same_result(
    tmp_path: Path, cache: Path, precision: Any
) -> None:
    config = replace(RUN, train=replace(RUN.train, precision=precision))
    try:
        uncached, logits = train(with_features(config, "off"), cache, tmp_path)
        cached, cached_logits = train(with_features(config, "float32"), cache, tmp_path)
    finally:
        keras.config.set_dtype_policy("float32")
    for weight, value in zip(cached.model.weights, uncached.model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, value, atol=1e-5, err_msg=weight.path)
    np.testing.assert_allclose(cached_logits, logits, atol=1e-5)


def untrained_run(results: Path, dtype: str = "float32") -> RunPaths:
    """Create the folder of a run that saves a checkpoint after six steps."""
    return new_run(results, checkpointed(with_features(RUN, dtype), steps=6))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def uninterrupted(results: Path) -> RunPaths:
    paths = untrained_run(results)
    train_run(paths)
    return paths


def test_files_of_a_run_are_the_same_with_and_without_cached_features(
    results: Path, uninterrupted: RunPaths
) -> None:
    uncached = untrained_run(results, "off")
    train_run(uncached)
    cached_files, uncached_files = file_contents(uninterrupted), file_contents(uncached)
    assert cached_files.keys() == uncached_files.keys()
    tables = [name for name in uncached_files if name.endswith(".csv")]
    assert len(tables) == 8
    for name in tables:
        one, other = (pd.read_csv(paths.folder / name) for paths in (uninterrupted, uncached))
        pd.testing.assert_frame_equal(one, other, rtol=1e-5, atol=1e-5)
    one, other = (json.loads(paths.metrics.read_text()) for paths in (uninterrupted, uncached))
    assert keras.tree.map_structure(type, one) == keras.tree.map_structure(type, other)
    for value, expected in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
        assert value == (pytest.approx(expected, abs=1e-5) if type(value) is float else expected)
    saved, expected = (keras.models.load_model(paths.model) for paths in (uninterrupted, uncached))
    assert saved.get_config() == expected.get_config()
    for weight, values in zip(saved.weights, expected.get_weights(), strict=True):
        np.testing.assert_allclose(weight, values, atol=1e-5, err_msg=weight.path)


def test_features_cached_in_float16_give_nearly_the_same_result(
    tmp_path: Path, results: Path, uninterrupted: RunPaths
) -> None:
    fitted, logits = train(with_features(RUN, "float16"), results / ".cache", tmp_path)
    data = fitted.training_model.data
    halves = split_metrics(data.labels[data.splits["test"]], logits, data.classes)
    whole = read_metrics(uninterrupted).test
    assert halves.auc == pytest.approx(whole.auc, abs=1e-3)
    assert 0 < abs(halves.loss - whole.loss) < 1e-2


class Interrupted(BaseException):
    """Not handled by anyone, like a kill."""


def interrupt(paths: RunPaths, owner: Any, name: str, ends: Callable[..., bool]) -> None:
    """Train until ``owner.name`` is called with arguments for which ``ends`` returns True."""
    function = getattr(owner, name)

    def until(*args: Any) -> Any:
        if ends(*args):
            raise Interrupted
        return function(*args)

    with pytest.MonkeyPatch.context() as patch:
        wait_for_checkpoints(patch)
        patch.setattr(array_writer, "SYNC_SECONDS", 0)
        patch.setattr(owner, name, until)
        with pytest.raises(Interrupted):
            train_run(paths)


def test_run_interrupted_while_computing_features_and_training_ends_with_the_same_files(
    tmp_path: Path, uninterrupted: RunPaths, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "xray_hpc")
    paths = untrained_run(tmp_path)
    interrupt(
        paths,
        array_writer.StoreWriter,
        "write",
        lambda file, block, rows: block.number == 1 and file.path.name.startswith("features-"),
    )
    assert read_feature_blocks(paths) == 1
    assert not paths.accuracy("ft").exists()
    interrupt(paths, EpochTables, "on_epoch_end", lambda table, epoch, logs: epoch == 1)
    assert [path.suffix for path in tmp_path.glob(".cache/features-*")] == [".h5"]
    train_run(paths)
    assert "Resuming from epoch 2/3, step 2/4." in caplog.messages
    assert_same_files(paths, uninterrupted)
