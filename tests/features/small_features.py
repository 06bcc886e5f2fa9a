"""A small run on random images, and processes that compute its cached features."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from xray_hpc import job_logging
from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.data import array_writer
from xray_hpc.data.dataset import Dataset
from xray_hpc.features.feature_store import (
    CachedFeatures,
    FeatureArrays,
    cached_features,
    load_or_compute,
)
from xray_hpc.features.forward_pass import FeatureSource
from xray_hpc.features.model_cut import find_cut
from xray_hpc.models.build_model import build_run_model
from xray_hpc.training.strategy import make_strategy

CONFIG = RunConfig(
    data=DataConfig(
        source="folder",
        root="/xrays",
        image_size=36,
        channels=1,
        crop=32 / 36,
        split="patient",
        validation_fraction=0.2,
        split_seed=0,
    ),
    model=ModelConfig(
        "ft", "demo", "demo", unfreeze=5, head_units=4, head_dropout=0.1, preprocessing="backbone"
    ),
    augment=AugmentConfig(zoom=0.1, horizontal_flip=True, crop=True, brightness=0.1, views=2),
    train=TrainConfig(epochs=3, batch_size=8, learning_rate=1e-3, features="float32"),
    seed=3,
)

CUTS = [("pool",), ("demo_backbone", "stage3_down_relu"), ("demo_backbone", "stage2_relu")]

AfterTwoBlocks = Literal["continue", "die", "wait"]


def changed(**changes: Any) -> RunConfig:
    """Return ``CONFIG`` with other values, given like ``augment_zoom=0.2``."""
    config = CONFIG
    for key, value in changes.items():
        part, _, name = key.partition("_")
        if name:
            value = replace(getattr(config, part), **{name: value})
        config = replace(config, **{part: value})
    return config


def assert_equal(arrays: FeatureArrays, expected: FeatureArrays) -> None:
    assert arrays.keys() == expected.keys()
    for name, values in expected.items():
        assert arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(arrays[name], values, err_msg=name)


def random_data() -> Dataset:
    """Return 90 random images: 50 for training (two blocks with two views), 20 and 20."""
    rng = np.random.default_rng(1)
    rows = rng.permutation(90)
    return Dataset(
        images=rng.integers(0, 256, (90, 36, 36, 1), np.uint8),
        labels=np.arange(90, dtype=np.int64) % 2,
        files=[f"{i}.png" for i in range(90)],
        patients=[str(i) for i in range(90)],
        classes=("NORMAL", "PNEUMONIA"),
        splits={"train": rows[:50], "validation": rows[50:70], "test": rows[70:]},
        fingerprint="",
        notes=[],
        skipped=[],
        contents="random",
    )


@functools.cache
def strategy() -> tf.distribute.Strategy:
    return make_strategy(["CPU:0"])


@functools.cache
def cached_model(config: ModelConfig) -> keras.Model:
    return build_run_model(replace(CONFIG, model=config), 2, strategy())


def feature_source(config: RunConfig = CONFIG, data: Dataset | None = None) -> FeatureSource:
    return FeatureSource(config, data or random_data(), cached_model(config.model), strategy())


def features_file(
    cache: Path, config: RunConfig = CONFIG, data: Dataset | None = None, gpus: Sequence[str] = ()
) -> CachedFeatures:
    """Return the file of cached features of a run."""
    source = feature_source(config, data)
    cut = find_cut(source.model)
    assert cut is not None
    return cached_features(source, cut, cache, gpus)


def compute(
    cache: Path,
    config: RunConfig = CONFIG,
    on_progress: Callable[[int], None] = lambda blocks: None,
) -> FeatureArrays:
    """Return the features of a run, computed if the file does not exist."""
    file = features_file(cache, config)
    (arrays,) = load_or_compute([file], feature_source(config), on_progress)
    return arrays


def start_process(
    log: Path, cache: Path, after_two_blocks: AfterTwoBlocks = "continue"
) -> ForkServerProcess:
    """Compute the features in another process, which shares the import of TensorFlow.

    The process writes its output and the number of blocks on the disk to ``log``. After two blocks
    it continues, kills itself, or waits until a file ``go`` exists beside the log.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["xray_hpc.training.training_model"])
    process = context.Process(target=_compute, args=(log, cache, after_two_blocks))
    process.start()
    return process


def _compute(log: Path, cache: Path, after_two_blocks: AfterTwoBlocks) -> None:
    with log.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    array_writer.SYNC_SECONDS = 0  # every block is on the disk before the next
    job_logging.configure()

    def on_progress(blocks: int) -> None:
        print("blocks:", blocks, flush=True)
        if blocks == 2 and after_two_blocks == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        while blocks == 2 and after_two_blocks == "wait" and not log.with_name("go").exists():
            time.sleep(0.05)

    compute(cache, on_progress=on_progress)
