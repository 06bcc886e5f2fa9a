"""Small runs of each model, and checks of their files."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.run_files import differing_files
from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.train_config import CheckpointConfig, ReduceLROnPlateauConfig, TrainConfig
from xray_hpc.data.index import build_index
from xray_hpc.models.weights_files import weights_digests
from xray_hpc.records.frozen_run import FrozenRun, Inputs, read_frozen_run, write_frozen_run
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import read_progress
from xray_hpc.records.run_record import RunRecord, Status, read_record, write_record
from xray_hpc.training.checkpoint import CheckpointCallback

HEAD = {"head_units": 8, "head_dropout": 0.3}
MODELS = {
    "cnn": ModelConfig("cnn"),
    "tl": ModelConfig("tl", "demo", "demo", preprocessing="backbone", **HEAD),
    "ft": ModelConfig("ft", "demo", "demo", unfreeze=8, preprocessing="backbone", **HEAD),
    "stacked": ModelConfig(
        "stacked", backbones={"demo": "demo", "mobilenet_v2": "none"}, preprocessing="backbone"
    ),
    "vgg": ModelConfig("vgg"),
    "conv": ModelConfig("conv", preprocessing="midrange", output="softmax"),
    "lung": ModelConfig("lung", output="softmax"),
}


def data(model: str) -> DataConfig:
    """Return sixty images: four training batches of eight, and two of validation."""
    return DataConfig(
        source="demo",
        image_size=48 if model == "conv" else 32,
        channels=1,
        split="patient",
        validation_fraction=0.2,
        split_seed=0,
        demo_images=60,
        demo_seed=0,
        demo_classes=3 if model == "lung" else 2,
    )


SMALL = RunConfig(
    data=data("cnn"),
    model=MODELS["cnn"],
    augment=AugmentConfig(rotation=10.0, zoom=0.2),
    train=TrainConfig(
        epochs=2,
        batch_size=8,
        learning_rate=1e-3,
        keep="last",
        save_best=True,
        reduce_lr=ReduceLROnPlateauConfig("val_loss", patience=0, min_delta=100.0),
        early_stopping=None,
    ),
    seed=3,
)


def checkpointed(config: RunConfig, steps: int | None) -> RunConfig:
    """Return the run with a checkpoint every ``steps`` steps."""
    train = replace(config.train, checkpoint=CheckpointConfig(steps, seconds=None))
    return replace(config, train=train)


def new_run(results: Path, config: RunConfig) -> RunPaths:
    """Create the folder of an untrained run, in a separate sweep."""
    cache = results / ".cache"
    inputs = Inputs(build_index(config.data, cache).fingerprint, weights_digests(config.model))
    run = FrozenRun(config, inputs, cache)
    sweep = Path(tempfile.mkdtemp(prefix="sweep-", dir=results))
    paths = RunPaths(sweep / "runs" / run.name)
    write_frozen_run(paths, run)
    epochs = config.train.epochs
    write_record(paths, RunRecord(run.name, sweep.name, config.model.name, epochs=epochs))
    return paths


def wait_for_checkpoints(patch: pytest.MonkeyPatch) -> None:
    """Have training wait for each checkpoint, so that it saves them at known steps."""

    def wait(callback: CheckpointCallback) -> bool:
        if callback._write is not None:
            callback._write.result()
        return True

    patch.setattr(CheckpointCallback, "_idle", wait)


def assert_same_files(paths: RunPaths, expected: RunPaths) -> None:
    """Check that two runs leave the same files; only their checkpoint intervals may differ."""
    differing = set(differing_files(paths, expected))
    assert differing <= {paths.config.name}


def is_finished(paths: RunPaths) -> bool:
    record = read_record(paths)
    return record is not None and record.status is Status.FINISHED


def assert_sound(paths: RunPaths) -> None:
    """Check that a run is finished, with each epoch once and a consistent record."""
    record, progress = read_record(paths), read_progress(paths)
    assert record is not None
    assert progress is not None
    assert record.status is Status.FINISHED
    assert (record.failure, record.error) == (None, None)
    assert record.ended is not None
    assert record.seconds is not None
    assert record.seconds_per_epoch is not None
    assert record.seconds > record.seconds_per_epoch > 0
    metrics = json.loads(paths.metrics.read_text())
    name = read_frozen_run(paths).config.model.name
    for table in (paths.accuracy(name), paths.loss(name), paths.auc(name)):
        assert list(pd.read_csv(table)["epoch"]) == list(range(metrics["epochs"]))
    assert progress.done == metrics["epochs"]
    assert progress.best_epoch == metrics["best_epoch"]
    assert not paths.checkpoint_folder.exists()
