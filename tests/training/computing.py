"""A small model, noise for images, and processes that compute the cached features."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from xray_hpc.config.run_config import (
    AugmentConfig,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from xray_hpc.data import array_store
from xray_hpc.data.dataset import Dataset
from xray_hpc.features.cut import find_cut
from xray_hpc.features.store import Arrays, CachedFeatures, features, load
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
    model=ModelConfig("ft", "demo", "demo", unfreeze=5, head_units=4, head_dropout=0.1),
    augment=AugmentConfig(zoom=0.1, horizontal_flip=True, crop=True, brightness=0.1, views=2),
    train=TrainConfig(epochs=3, batch_size=8, learning_rate=1e-3, features="float32"),
    seed=3,
)

PLACES = [("pool",), ("demo_backbone", "stage3_down_relu"), ("demo_backbone", "stage2_relu")]

Then = Literal["go on", "be killed", "wait"]


def changed(**changes: Any) -> RunConfig:
    """The configuration with these keys changed, such as ``augment_zoom=0.2``."""
    config = CONFIG
    for key, value in changes.items():
        part, _, name = key.partition("_")
        if name:
            value = replace(getattr(config, part), **{name: value})
        config = replace(config, **{part: value})
    return config


def assert_equal(arrays: Arrays, expected: Arrays) -> None:
    assert arrays.keys() == expected.keys()
    for name, values in expected.items():
        assert arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(arrays[name], values, err_msg=name)


def noise() -> Dataset:
    """Ninety images, of which fifty train: two blocks of two views. The others are two blocks."""
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
        contents="noise",
    )


@functools.cache
def strategy() -> tf.distribute.Strategy:
    return make_strategy(["CPU:0"])


@functools.cache
def model_of(config: ModelConfig) -> keras.Model:
    return build_run_model(replace(CONFIG, model=config), 2, strategy())


def wanted(cache: Path, config: RunConfig = CONFIG, data: Dataset | None = None) -> CachedFeatures:
    """What a run of ``config`` keeps."""
    model = model_of(config.model)
    place = find_cut(model)
    assert place is not None
    return features(config, data or noise(), model, place, cache)


def compute(
    cache: Path, config: RunConfig = CONFIG, told: Callable[[int], None] = lambda done: None
) -> Arrays:
    """What it keeps, computed if it is not there yet."""
    keeps = [wanted(cache, config)]
    (arrays,) = load(keeps, config, noise(), model_of(config.model), strategy(), told)
    return arrays


def started(said: Path, cache: Path, then: Then = "go on") -> ForkServerProcess:
    """Compute in another process; the import of TensorFlow is shared among them.

    It says how many blocks it has computed, each of which it syncs, and what it prints, in the file
    ``said``. After two blocks it may be killed, or wait until there is a file ``go`` beside that.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["xray_hpc.training.training_model"])
    process = context.Process(target=_compute, args=(said, cache, then))
    process.start()
    return process


def _compute(said: Path, cache: Path, then: Then) -> None:
    with said.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    array_store.SYNC_SECONDS = 0

    def told(done: int) -> None:
        print("blocks:", done, flush=True)
        if done == 2 and then == "be killed":
            os.kill(os.getpid(), signal.SIGKILL)
        while done == 2 and then == "wait" and not said.with_name("go").exists():
            time.sleep(0.05)

    compute(cache, told=told)
