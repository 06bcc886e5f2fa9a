"""An interrupted run ends with the same files as an uninterrupted one."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import zipfile
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
from xray_hpc.isolated_keras import recorded_variables
from xray_hpc.records.frozen_run import FrozenRun, read_frozen_run, write_frozen_run
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import read_progress
from xray_hpc.records.run_record import Status, read_record, update_record
from xray_hpc.training.__main__ import execute_run
from xray_hpc.training.train_run import train_run

EPOCHS = 4
# The learning rate falls every epoch; early stopping ends the run after epoch 3.
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
    """An exception that nothing handles, in place of a kill."""


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
    """Train, and die as soon as the file ``name`` is written."""
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


def test_uninterrupted_run_stops_early_after_its_best_epoch(uninterrupted: RunPaths) -> None:
    assert metrics(uninterrupted)["epochs"] == EPOCHS
    assert metrics(uninterrupted)["stopped_early"]
    assert metrics(uninterrupted)["best_epoch"] < EPOCHS
    assert not uninterrupted.checkpoint_folder.exists()


def test_resume_uses_the_checkpoint_before_a_damaged_one(
    paths: RunPaths, uninterrupted: RunPaths, caplog: pytest.LogCaptureFixture
) -> None:
    train_until(paths, "epoch-0002-step-000001.npz")
    damaged = paths.checkpoint_folder / "epoch-0002-step-000001.npz"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    train_run(paths)
    assert f"Resuming from epoch 2/{CONFIG.train.epochs}, step 2/4." in caplog.messages
    warnings = [line.name for line in caplog.records if line.levelname == "WARNING"]
    assert warnings.count("xray_hpc.training.checkpoint_store") == 1
    assert_same_files(paths, uninterrupted)
    progress = read_progress(paths)
    assert progress is not None
    assert (progress.first, progress.done, progress.epochs) == (1, EPOCHS, CONFIG.train.epochs)
    best = metrics(paths)
    assert progress.best_epoch == best["best_epoch"]
    np.testing.assert_allclose(progress.val_loss, best["validation"]["loss"], atol=1e-6)


def test_training_starts_anew_without_a_usable_checkpoint(
    paths: RunPaths, uninterrupted: RunPaths, caplog: pytest.LogCaptureFixture
) -> None:
    train_until(paths, "epoch-0002-step-000001.npz")
    *older, before, newest = sorted(paths.checkpoint_folder.glob("epoch-*.npz"))
    for path in (*older, newest):
        path.unlink()
    os.mkfifo(newest)
    with zipfile.ZipFile(before, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("metadata.npy", bytes(2**24))
    train_run(paths)
    assert [line for line in caplog.messages if line.startswith(("Ignored", "Removed"))] == [
        f"Ignored {newest}, which is not a regular file.",
        f"Removed the damaged {before}; using epoch 1.",
    ]
    assert_same_files(paths, uninterrupted)


def test_resume_refuses_variables_of_another_model(
    paths: RunPaths, caplog: pytest.LogCaptureFixture
) -> None:
    train_until(paths, "epoch-0001-step-000002.npz")
    newest = max(paths.checkpoint_folder.glob("epoch-*.npz"))
    with np.load(newest, allow_pickle=False) as archive:
        members = dict(archive)
    members["model-0000"] = members["model-0000"].astype(np.float64)
    np.savez(newest, allow_pickle=False, **members)
    assert execute_run(paths) == 2
    assert f"remove {paths.checkpoint_folder} to train from the start" in caplog.messages[-1]


def test_resume_refuses_a_checkpoint_of_another_run(
    paths: RunPaths, caplog: pytest.LogCaptureFixture
) -> None:
    train_until(paths, "epoch-0001-step-000002.npz")
    run = read_frozen_run(paths)
    longer = dataclasses.replace(CONFIG.train, epochs=10)
    edited = FrozenRun(dataclasses.replace(CONFIG, train=longer), run.inputs, run.cache)
    paths = RunPaths(paths.folder.rename(paths.folder.with_name(edited.name)))
    write_frozen_run(paths, edited)
    assert execute_run(paths) == 2
    line = caplog.messages[-1]
    assert f"another run (run {run.name} then, {edited.name} now)" in line


def test_resume_warns_of_other_devices_and_refuses_other_variables(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train_until(paths, "epoch-0001-step-000002.npz")
    record = read_record(paths)
    assert record is not None
    assert record.environment == recorded_variables()
    assert record.threads
    update_record(paths, threads=record.threads + 1)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert execute_run(paths) == 2
    (warning,) = (line for line in caplog.messages if "other devices" in line)
    assert f"(threads {record.threads + 1} then, {record.threads} now)" in warning
    assert "ONEDNN_MAX_CPU_ISA unset then, SSE41 now" in caplog.messages[-1]


def test_checkpoint_interval_is_not_part_of_the_run_name(paths: RunPaths) -> None:
    run = read_frozen_run(paths)
    frequent = dataclasses.replace(CONFIG.train, checkpoint=CheckpointConfig(steps=1))
    again = FrozenRun(dataclasses.replace(CONFIG, train=frequent), run.inputs, run.cache)
    assert again.name == run.name


def test_full_disk_is_a_storage_failure(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train_on_full_disk(paths, lambda target: target.parent == paths.checkpoint_folder, monkeypatch)
    record = read_record(paths)
    assert record is not None
    assert (record.status, record.failure) == (Status.FAILED, "storage")
    assert caplog.messages[-1].startswith(str(paths.checkpoint_folder))
    assert not list(paths.checkpoint_folder.iterdir())


def test_full_disk_is_logged_even_without_run_json(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train_on_full_disk(paths, lambda target: True, monkeypatch)
    record = read_record(paths)
    assert record is not None
    assert record.status is Status.CREATED
    assert "No space left on device" in caplog.text


def test_signal_resumes_at_the_same_step(
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
        output, _ = process.communicate()
    assert process.returncode == 143
    saved = re.search(r"Received SIGTERM; checkpoint saved at (.*)\.\n", output)
    assert saved is not None
    record = read_record(paths)
    assert record is not None
    assert (record.status, record.failure, record.error) == (Status.CREATED, None, None)
    assert execute_run(paths) == 0
    assert f"Resuming from {saved[1]}." in caplog.messages
    assert paths.model.read_bytes() == uninterrupted.model.read_bytes()


def test_missing_gpus_are_a_node_failure(
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
