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

from tests.hold import Hold
from tests.training.small_runs import (
    SMALL,
    assert_same_files,
    new_run,
    wait_for_checkpoints,
)
from xray_hpc.config.train_config import CheckpointConfig, EarlyStoppingConfig
from xray_hpc.records.frozen_run import FrozenRun, read_frozen_run, write_frozen_run
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import read_progress
from xray_hpc.records.run_record import Status, read_record
from xray_hpc.training.__main__ import execute_run
from xray_hpc.training.train_run import train_run

EPOCHS = 4
# Its learning rate falls every epoch; it is stopped early, after epoch 3.
CONFIG = dataclasses.replace(
    SMALL,
    train=dataclasses.replace(
        SMALL.train,
        epochs=9,
        keep="val_auc",
        early_stopping=EarlyStoppingConfig("val_loss", patience=3, min_delta=100.0),
        checkpoint=CheckpointConfig(steps=3, seconds=None),
    ),
)


class Interrupted(BaseException):
    """Nobody handles it, like a killed process."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(autouse=True)
def _log_states(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "xray_hpc")


@pytest.fixture
def paths(results: Path) -> RunPaths:
    return new_run(results, CONFIG)


@pytest.fixture(scope="module")
def uninterrupted(results: Path) -> RunPaths:
    paths = new_run(results, CONFIG)
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
        wait_for_checkpoints(patch)
        patch.setattr(os, "replace", replace_and_die)
        with pytest.raises(Interrupted):
            train_run(paths)


def metrics(paths: RunPaths) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(paths.metrics.read_text())
    return values


def test_the_run_is_one_that_could_go_on_differently(uninterrupted: RunPaths) -> None:
    assert metrics(uninterrupted)["epochs"] == EPOCHS
    assert metrics(uninterrupted)["stopped_early"]
    assert metrics(uninterrupted)["best_epoch"] < EPOCHS - 1
    assert not uninterrupted.checkpoint_folder.exists()


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    paths: RunPaths, uninterrupted: RunPaths, caplog: pytest.LogCaptureFixture
) -> None:
    train_until(paths, "epoch-0002-step-000001.npz")
    damaged = paths.checkpoint_folder / "epoch-0002-step-000001.npz"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    train_run(paths)
    assert f"Resuming from epoch 2/{CONFIG.train.epochs}, step 2/4." in caplog.messages
    warnings = [line for line in caplog.records if line.levelname == "WARNING"]
    assert len(warnings) == 1
    assert_same_files(paths, uninterrupted)
    progress = read_progress(paths)
    assert progress is not None
    assert (progress.first, progress.done, progress.epochs) == (1, EPOCHS, CONFIG.train.epochs)
    best = metrics(paths)
    assert progress.best_epoch == best["best_epoch"]
    np.testing.assert_allclose(progress.val_loss, best["validation"]["loss"], atol=1e-6)


def test_a_checkpoint_of_another_run_is_refused_in_one_line(
    paths: RunPaths, caplog: pytest.LogCaptureFixture
) -> None:
    train_until(paths, "epoch-0001-step-000002.npz")
    run = read_frozen_run(paths)
    longer = dataclasses.replace(CONFIG.train, epochs=10)
    edited = FrozenRun(dataclasses.replace(CONFIG, train=longer), run.inputs, run.cache)
    write_frozen_run(paths, edited)
    assert execute_run(paths) == 2
    line = caplog.messages[-1]
    assert f"another run (run {run.name} then, {edited.name} now)" in line


def test_a_checkpoint_more_or_less_often_is_no_other_run(paths: RunPaths) -> None:
    run = read_frozen_run(paths)
    often = dataclasses.replace(CONFIG.train, checkpoint=CheckpointConfig(steps=1))
    again = FrozenRun(dataclasses.replace(CONFIG, train=often), run.inputs, run.cache)
    assert again.name == run.name


def test_a_full_disk_is_a_failure_of_the_storage_in_one_line(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train_on_full_disk(paths, lambda target: target.parent == paths.checkpoint_folder, monkeypatch)
    record = read_record(paths)
    assert record is not None
    assert (record.status, record.failure) == (Status.FAILED, "storage")
    assert "[Errno 28] No space left on device" in caplog.messages
    assert not list(paths.checkpoint_folder.iterdir())


def test_a_disk_too_full_for_run_json_is_told_all_the_same(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train_on_full_disk(paths, lambda target: True, monkeypatch)
    record = read_record(paths)
    assert record is not None
    assert record.status is Status.CREATED
    assert "No space left on device" in caplog.text


def test_a_training_told_to_end_goes_on_at_that_very_step(
    paths: RunPaths,
    uninterrupted: RunPaths,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = read_frozen_run(paths)
    never = dataclasses.replace(CONFIG.train, checkpoint=CheckpointConfig(seconds=None))
    write_frozen_run(
        paths, dataclasses.replace(run, config=dataclasses.replace(CONFIG, train=never))
    )
    hold = Hold(tmp_path / "hold", "xray_hpc.training", paths.accuracy("cnn").name, count=2)
    hold.begin()
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "xray_hpc.training", str(paths.folder)],
        env=os.environ | hold.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        hold.wait_for(process)
        process.terminate()
        said, _ = process.communicate()
    assert process.returncode == 143
    place = re.search(r"Received SIGTERM; checkpoint saved at (.*)\.\n", said)
    assert place is not None
    record = read_record(paths)
    assert record is not None
    assert (record.status, record.failure, record.error) == (Status.CREATED, None, None)
    assert execute_run(paths) == 0
    assert f"Resuming from {place[1]}." in caplog.messages
    assert paths.model.read_bytes() == uninterrupted.model.read_bytes()


def test_a_node_without_the_gpus_is_told_from_a_run_that_fails(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XRAY_HPC_GPUS", "64")
    installed = tf.test.is_built_with_gpu_support()
    assert execute_run(paths) == (75 if installed else 2)
    record = read_record(paths)
    assert record is not None
    assert record.failure == ("node_failure" if installed else "bad_data")
    assert caplog.messages[-1].startswith("the job ")


def train_on_full_disk(
    paths: RunPaths, full: Callable[[Path], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def replace_or_fail(source: Path, target: Path) -> None:
        if full(target):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_or_fail)
    assert execute_run(paths) == 74
