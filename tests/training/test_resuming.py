"""A run that was interrupted ends with the very files of one that was not."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from xray_hpc.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    EarlyStoppingConfig,
    ModelConfig,
    ReduceLROnPlateauConfig,
    RunConfig,
    TrainConfig,
)
from xray_hpc.data.index import scan
from xray_hpc.runs.frozen import FrozenRun, Inputs, read_frozen, write_frozen
from xray_hpc.runs.paths import RunPaths
from xray_hpc.runs.progress import read_progress
from xray_hpc.runs.record import RunRecord, Status, read_record, write_record
from xray_hpc.training.__main__ import train
from xray_hpc.training.run import train_run

EPOCHS = 4
# Dropout, augmentation and a learning rate that falls every epoch; stopped early after epoch 3.
CONFIG = RunConfig(
    data=DataConfig(
        source="demo",
        image_size=32,
        channels=1,
        split="patient",
        validation_fraction=0.2,
        split_seed=0,
        demo_images=60,
        demo_seed=0,
        demo_classes=2,
    ),
    model=ModelConfig("cnn"),
    augment=AugmentConfig(zoom=0.2, rotation=10.0, height_shift=0.1),
    train=TrainConfig(
        epochs=9,
        batch_size=8,
        learning_rate=3e-3,
        keep="val_auc",
        save_best=True,
        early_stopping=EarlyStoppingConfig("val_loss", patience=3, min_delta=100.0),
        reduce_lr=ReduceLROnPlateauConfig("val_loss", patience=1, min_delta=100.0, cooldown=0),
        checkpoint=CheckpointConfig(steps=3, seconds=None),
    ),
    seed=3,
)

NewRun = Callable[[str], RunPaths]


class Interrupted(BaseException):
    """Nobody handles it, like a killed process."""


@pytest.fixture(scope="module")
def new_run(tmp_path_factory: pytest.TempPathFactory) -> NewRun:
    results = tmp_path_factory.mktemp("results")
    cache = results / ".cache"
    run = FrozenRun(CONFIG, Inputs(scan(CONFIG.data, cache).fingerprint), cache)

    def new(sweep: str) -> RunPaths:
        paths = RunPaths(results / sweep / "runs" / run.name)
        write_frozen(paths, run)
        write_record(paths, RunRecord(run.name, sweep, "cnn", epochs=CONFIG.train.epochs))
        return paths

    return new


@pytest.fixture(scope="module")
def uninterrupted(new_run: NewRun) -> RunPaths:
    paths = new_run("uninterrupted")
    train_run(paths)
    return paths


def train_until(paths: RunPaths, name: str) -> None:
    """Train until the file ``name`` is put in place: the last thing that this process does."""
    replace = os.replace

    def replace_and_die(source: Path, target: Path) -> None:
        replace(source, target)
        if target.name == name:
            raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replace_and_die)
        with pytest.raises(Interrupted):
            train_run(paths)


def contents(paths: RunPaths) -> dict[str, bytes]:
    """The bytes of each file that a run leaves, without those that tell the time."""
    told = {paths.record, paths.progress}
    files = {path for path in paths.folder.rglob("*") if path.is_file()} - told
    return {path.relative_to(paths.folder).as_posix(): path.read_bytes() for path in files}


def differing(paths: RunPaths, expected: RunPaths) -> list[str]:
    """The files that are not in both, or not the same."""
    mine, theirs = contents(paths), contents(expected)
    return [name for name in sorted(mine | theirs) if mine.get(name) != theirs.get(name)]


def metrics(paths: RunPaths) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(paths.metrics.read_text())
    return values


def test_the_run_is_one_that_could_go_on_differently(uninterrupted: RunPaths) -> None:
    assert metrics(uninterrupted)["epochs"] == EPOCHS
    assert metrics(uninterrupted)["stopped_early"]
    assert metrics(uninterrupted)["best_epoch"] < EPOCHS - 1
    assert not uninterrupted.state.exists()


def test_a_run_interrupted_at_each_checkpoint_ends_with_the_same_files(
    new_run: NewRun, uninterrupted: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = new_run("interrupted")
    for epoch, step in ((1, 2), (2, 4), (4, 0)):
        train_until(paths, f"epoch-{epoch:04}-step-{step:06}.npz")
    train_until(paths, "cnn_test_yscores.csv")
    train_until(paths, "model.keras")
    for left in (".x7.model.keras", "figures/.x8.model.png", ".x9.metrics.json"):
        (paths.folder / left).write_bytes(b"half of")  # as kill -9 leaves them
    capsys.readouterr()
    train_run(paths)
    lines = capsys.readouterr().out.splitlines()
    assert f"trained already, to epoch {EPOCHS}/{CONFIG.train.epochs}" in lines
    assert not [line for line in lines if line.startswith("epoch")]
    assert differing(paths, uninterrupted) == []
    record = read_record(paths)
    assert record is not None
    assert record.status is Status.FINISHED


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    new_run: NewRun, uninterrupted: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = new_run("damaged")
    train_until(paths, "epoch-0002-step-000001.npz")
    damaged = paths.state / "epoch-0002-step-000001.npz"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    capsys.readouterr()
    train_run(paths)
    output, errors = capsys.readouterr()
    assert f"going on after step 2/4 of epoch 2/{CONFIG.train.epochs}\n" in output
    assert errors.count("warning") == 1
    assert differing(paths, uninterrupted) == []
    progress = read_progress(paths)
    assert progress is not None
    assert (progress.first, progress.done, progress.epochs) == (1, EPOCHS, CONFIG.train.epochs)
    best = metrics(paths)
    assert progress.best_epoch == best["best_epoch"]
    np.testing.assert_allclose(progress.val_loss, best["validation"]["loss"], atol=1e-6)


def test_a_checkpoint_of_another_run_is_refused_in_one_line(
    new_run: NewRun, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = new_run("another")
    train_until(paths, "epoch-0001-step-000002.npz")
    run = read_frozen(paths)
    longer = dataclasses.replace(CONFIG.train, epochs=10)
    edited = FrozenRun(dataclasses.replace(CONFIG, train=longer), run.inputs, run.cache)
    write_frozen(paths, edited)
    assert train(paths) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"is of another run or other software (run {run.name} then, {edited.name} now)" in line


def test_a_checkpoint_more_or_less_often_is_no_other_run(new_run: NewRun) -> None:
    run = read_frozen(new_run("often"))
    often = dataclasses.replace(CONFIG.train, checkpoint=CheckpointConfig(steps=1))
    again = FrozenRun(dataclasses.replace(CONFIG, train=often), run.inputs, run.cache)
    assert again.name == run.name


def test_a_full_disk_is_a_failure_of_the_storage_in_one_line(
    new_run: NewRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = new_run("full")
    train_on_full_disk(paths, lambda target: target.parent == paths.state, monkeypatch)
    record = read_record(paths)
    assert record is not None
    assert (record.status, record.failure) == (Status.FAILED, "storage")
    assert "error: [Errno 28] No space left on device" in capsys.readouterr().err.splitlines()
    assert not list(paths.state.iterdir())


def test_a_disk_too_full_for_run_json_is_told_all_the_same(
    new_run: NewRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = new_run("fuller")
    train_on_full_disk(paths, lambda target: True, monkeypatch)
    record = read_record(paths)
    assert record is not None
    assert record.status is Status.CREATED
    assert "No space left on device" in capsys.readouterr().err


def test_a_training_told_to_end_goes_on_at_that_very_step(
    new_run: NewRun, uninterrupted: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = new_run("told")
    run = read_frozen(paths)
    never = dataclasses.replace(CONFIG.train, checkpoint=CheckpointConfig(seconds=None))
    write_frozen(paths, dataclasses.replace(run, config=dataclasses.replace(CONFIG, train=never)))
    command = [sys.executable, "-u", "-m", "xray_hpc.training", str(paths.folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 1/"):
                break
        process.terminate()
        said = process.stdout.read()
    assert process.returncode == 143
    place = re.search(r"told to end; (.*) is done, and its checkpoint is in place\n", said)
    assert place is not None
    record = read_record(paths)
    assert record is not None
    assert (record.status, record.failure, record.error) == (Status.CREATED, None, None)
    assert train(paths) == 0
    assert f"going on after {place[1]}\n" in capsys.readouterr().out
    assert paths.model.read_bytes() == uninterrupted.model.read_bytes()


def test_a_node_without_the_gpus_is_told_from_a_run_that_fails(
    new_run: NewRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = new_run("gpus")
    monkeypatch.setenv("XRAY_HPC_GPUS", "64")
    installed = tf.test.is_built_with_gpu_support()
    assert train(paths) == (75 if installed else 2)
    record = read_record(paths)
    assert record is not None
    assert record.failure == ("node_failure" if installed else "bad_data")
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: the job ")


def train_on_full_disk(
    paths: RunPaths, full: Callable[[Path], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def replace_or_fail(source: Path, target: Path) -> None:
        if full(target):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_or_fail)
    assert train(paths) == 74
