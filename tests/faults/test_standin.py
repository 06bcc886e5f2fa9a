"""The stand-in for training, under the real ``python -m xray_hpc.training``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.standin import Control, digest_of
from tests.report.synthetic import write_run
from xray_hpc.monitoring.run_state import find_damage
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_progress import read_progress
from xray_hpc.records.run_record import Failure, RunRecord, Status, read_record

SEED, EPOCHS = 7, 3


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """A run that was just created."""
    return write_run(
        SweepPaths(tmp_path / "s"), "cnn", status="created", seed=SEED, train__epochs=EPOCHS
    )


@pytest.fixture
def control(tmp_path: Path) -> Control:
    control = Control(tmp_path / "control")
    control.prepare(seconds=0, epochs=EPOCHS)
    return control


def start(paths: RunPaths, control: Control) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "xray_hpc.training", str(paths.folder)],
        env=os.environ | control.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def trained(paths: RunPaths, control: Control) -> int:
    with start(paths, control) as process:
        return process.wait(60)


def record(paths: RunPaths) -> RunRecord:
    found = read_record(paths)
    assert found is not None
    return found


def test_it_leaves_a_finished_run(paths: RunPaths, control: Control) -> None:
    assert trained(paths, control) == 0
    assert record(paths).status is Status.FINISHED
    assert find_damage(paths, "cnn") is None
    progress = read_progress(paths)
    assert progress is not None
    assert (progress.done, progress.epochs, progress.first) == (EPOCHS, EPOCHS, 0)


def test_its_audit_tells_each_epoch_and_the_digest_of_all(
    paths: RunPaths, control: Control
) -> None:
    trained(paths, control)
    audit = control.audit(SEED)
    assert [(line["what"], line["epoch"]) for line in audit] == [
        (what, epoch) for epoch in range(EPOCHS) for what in ("begin", "end")
    ]
    assert audit[-1]["digest"] == digest_of(EPOCHS)


def test_told_to_end_it_goes_on_after_its_last_epoch(paths: RunPaths, control: Control) -> None:
    control.pace(seconds=600)
    with start(paths, control) as process:
        while not control.audit(SEED):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    control.pace(seconds=0)
    assert trained(paths, control) == 0
    audit = control.audit(SEED)
    assert [line["epoch"] for line in audit if line["what"] == "begin"] == [0, 0, 1, 2]
    assert audit[-1]["digest"] == digest_of(EPOCHS)


def test_two_at_once_are_seen(paths: RunPaths, control: Control) -> None:
    control.pace(seconds=600)
    with start(paths, control) as first:
        while not control.audit(SEED):  # who begins at the same moment may not see the other
            time.sleep(0.02)
        with start(paths, control) as second:
            while len(audit := control.audit(SEED)) < 2:
                time.sleep(0.02)
            second.kill()
        first.kill()
    assert [line["beside"] for line in audit] == [[], [audit[0]["pid"]]]


def test_it_raises_where_it_is_told_to(paths: RunPaths, control: Control) -> None:
    control.order(SEED, "raise", epoch=1)
    assert trained(paths, control) == 1
    assert record(paths).failure == Failure.BUG.value
    control.countermand(SEED)
    assert trained(paths, control) == 0


def test_it_exits_where_it_is_told_to(paths: RunPaths, control: Control) -> None:
    control.order(SEED, "exit", epoch=1, amount=3)
    assert trained(paths, control) == 3
