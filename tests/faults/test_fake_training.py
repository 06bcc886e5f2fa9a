"""The fake training under the real ``python -m xray_hpc.training``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.fake_training import FakeTraining, expected_digest
from tests.report.fake_runs import write_run
from xray_hpc.monitoring.run_state import read_evidence
from xray_hpc.records.frozen_run import _parse
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_progress import read_progress
from xray_hpc.records.run_record import Failure, RunRecord, Status, read_record, update_record

SEED, EPOCHS = 7, 3


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """A run that was just created."""
    paths = write_run(
        SweepPaths(tmp_path / "s"),
        "cnn",
        status="created",
        seed=SEED,
        train__epochs=EPOCHS,
        model__preprocessing="unit",
        model__output="sigmoid",
    )
    name = _parse(paths.config).name
    update_record(paths, run=name)
    return RunPaths(paths.folder.rename(paths.folder.with_name(name)))


@pytest.fixture
def fake(tmp_path: Path) -> FakeTraining:
    """The control of its training, with epochs that take no time."""
    fake = FakeTraining(tmp_path / "fake")
    fake.prepare(seconds=0, epochs=EPOCHS)
    return fake


def start(run: RunPaths, fake: FakeTraining) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "xray_hpc.training", str(run.folder)],
        env=os.environ | fake.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def train(run: RunPaths, fake: FakeTraining) -> int:
    with start(run, fake) as process:
        return process.wait(60)


def wait_for_audit(fake: FakeTraining, lines: int, process: subprocess.Popen[bytes]) -> None:
    while len(fake.audit.read(SEED)) < lines:
        assert process.poll() is None, f"it ended with {process.returncode}"
        time.sleep(0.02)


def record_of(run: RunPaths) -> RunRecord:
    record = read_record(run)
    assert record is not None
    return record


def test_fake_training_leaves_a_finished_run(run: RunPaths, fake: FakeTraining) -> None:
    assert train(run, fake) == 0
    assert record_of(run).status is Status.FINISHED
    assert read_evidence(run).damage is None
    progress = read_progress(run)
    assert progress is not None
    assert (progress.done, progress.epochs, progress.first) == (EPOCHS, EPOCHS, 0)


def test_audit_lists_every_epoch_and_the_digest(run: RunPaths, fake: FakeTraining) -> None:
    train(run, fake)
    audit = fake.audit.read(SEED)
    assert [(line["event"], line["epoch"]) for line in audit] == [
        (event, epoch) for epoch in range(EPOCHS) for event in ("begin", "end")
    ]
    assert audit[-1]["digest"] == expected_digest(EPOCHS)


def test_fake_training_resumes_after_its_last_epoch(run: RunPaths, fake: FakeTraining) -> None:
    fake.set_epoch_seconds(600)
    with start(run, fake) as process:
        wait_for_audit(fake, 1, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    fake.set_epoch_seconds(0)
    assert train(run, fake) == 0
    audit = fake.audit.read(SEED)
    assert [line["epoch"] for line in audit if line["event"] == "begin"] == [0, 0, 1, 2]
    assert audit[-1]["digest"] == expected_digest(EPOCHS)


def test_audit_shows_two_processes_at_once(run: RunPaths, fake: FakeTraining) -> None:
    fake.set_epoch_seconds(600)
    with start(run, fake) as first:
        wait_for_audit(fake, 1, first)  # processes that start together may miss each other
        with start(run, fake) as second:
            wait_for_audit(fake, 2, second)
            second.kill()
        first.kill()
    audit = fake.audit.read(SEED)
    assert [line["others"] for line in audit] == [[], [audit[0]["pid"]]]


def test_fake_training_raises_as_ordered(run: RunPaths, fake: FakeTraining) -> None:
    fake.order(SEED, "raise", epoch=1)
    assert train(run, fake) == 1
    assert record_of(run).failure == Failure.BUG.value
    fake.cancel_order(SEED)
    assert train(run, fake) == 0


def test_fake_training_exits_as_ordered(run: RunPaths, fake: FakeTraining) -> None:
    fake.order(SEED, "exit", epoch=1, amount=3)
    assert train(run, fake) == 3
