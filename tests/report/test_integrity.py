"""Launch, status and collect judge the same folder in the same way, whatever is wrong with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.fake_runs import FakeRun, write_run
from xray_hpc.monitoring.run_state import State, decide_launch, read_evidence, state_of
from xray_hpc.monitoring.sweep_status import SweepMonitor
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_integrity import config_state, result_states
from xray_hpc.records.run_record import update_record
from xray_hpc.report.read_run import read_run

SECOND = 10**9
FILES = (
    *("config.yaml", "metrics.json", "run.json", "model.keras", "model.txt", "figures/model.png"),
    *("cnn_accuracy_per_epoch.csv", "cnn_loss_per_epoch.csv", "cnn_auc_per_epoch.csv"),
    *("cnn_validation_yscores.csv", "cnn_test_yscores.csv"),
    *("cnn_validation_roc.csv", "cnn_test_roc.csv"),
)
OPTIONAL = ("model.keras", "model.txt", "figures/model.png")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    fake = FakeRun(epochs=3, images={"validation": 20, "test": 20})
    run = write_run(SweepPaths(tmp_path_factory.mktemp("s")), "cnn", fake)
    run.figures.mkdir(exist_ok=True)
    for name in OPTIONAL:
        (run.folder / name).write_bytes(os.urandom(1000))
    update_record(run, files=result_states(run, "cnn"))
    return run


@pytest.fixture
def run(finished_run: RunPaths, tmp_path: Path) -> RunPaths:
    return copy(finished_run, tmp_path)


def copy(run: RunPaths, folder: Path, *, times: bool = True) -> RunPaths:
    """Copy a run, with or without the times of its files."""
    target = SweepPaths(folder / "sweep").run(run.name)
    target.folder.parent.mkdir(parents=True)
    function = shutil.copy2 if times else shutil.copyfile
    shutil.copytree(run.folder, target.folder, copy_function=function)
    return RunPaths(target.folder)


def change_bytes(change: Callable[[bytes], bytes], seconds: int = 1) -> Callable[[Path], None]:
    """Return a function that changes the content of a file, and its time by so many seconds."""

    def damage(path: Path) -> None:
        before = path.stat()
        path.write_bytes(change(path.read_bytes()))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + seconds * SECOND))

    return damage


def flip_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


def replaced_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], None], State]] = {
    "nothing": (lambda path: None, State.FINISHED),
    "another time": (change_bytes(lambda content: content), State.FINISHED),
    "empty": (change_bytes(lambda content: b""), State.DAMAGED),
    "cut": (change_bytes(lambda content: content[: len(content) // 2]), State.DAMAGED),
    "garbage": (change_bytes(lambda content: bytes(len(content))), State.DAMAGED),
    "longer": (change_bytes(lambda content: content + b"\n0"), State.DAMAGED),
    "a flipped bit": (change_bytes(flip_bit), State.DAMAGED),
    "a flipped bit at the same time": (change_bytes(flip_bit, 0), State.DAMAGED),
    "40 GB, sparse": (lambda path: os.truncate(path, 40 << 30), State.DAMAGED),
    "missing": (Path.unlink, State.DAMAGED),
    "a folder": (replaced_by(Path.mkdir), State.UNREADABLE),
    "a FIFO": (replaced_by(os.mkfifo), State.UNREADABLE),
    "a link loop": (replaced_by(lambda path: path.symlink_to(path.name)), State.UNREADABLE),
    "40 GB": (lambda path: os.truncate(path, 40 << 30), State.DAMAGED),  # sparse
    "a dangling link": (replaced_by(lambda path: path.symlink_to("nowhere")), State.DAMAGED),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_launch_status_and_collect_agree(run: RunPaths, name: str, damage: str) -> None:
    change, expected = DAMAGES[damage]
    change(run.folder / name)
    if not (run.folder / name).exists() and expected is State.DAMAGED:
        if name in OPTIONAL:
            expected = State.FINISHED  # they can be deleted to save space
        elif name == "run.json":
            expected = State.MISSING
    if (damage, name) == ("40 GB", "run.json"):
        expected = State.UNREADABLE  # nothing says how large it was
    if name == "run.json" and "sparse" in damage:
        expected = State.UNREADABLE  # it is not read to find out what it holds
    collected = read_run(run)
    (status,) = SweepMonitor().read_status([run.sweep])[0].runs
    decision = decide_launch(read_evidence(run))
    assert (collected.status, status.state) == (expected.value, expected)
    assert decision.run == (expected in (State.DAMAGED, State.MISSING))
    assert decision.blocked == (expected is State.UNREADABLE)
    if expected in (State.DAMAGED, State.UNREADABLE):
        assert name in (collected.error or "")
        assert name in status.reason
        assert name in decision.reason


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_config_of_an_unfinished_run(tmp_path: Path, damage: str) -> None:
    run = write_run(SweepPaths(tmp_path), "cnn", status="failed")
    update_record(run, files=config_state(run))
    change, expected = DAMAGES[damage]
    change(run.config)
    expected = State.FAILED if expected is State.FINISHED else expected
    assert read_run(run).status == expected.value
    assert state_of(read_evidence(run)) is expected


def test_every_bit_of_run_json_is_covered(run: RunPaths) -> None:
    content = run.record.read_bytes()
    before = read_evidence(run)
    for position in range(0, len(content), 7):
        run.record.write_bytes(
            content[:position]
            + bytes([content[position] ^ (1 << position % 8)])
            + content[position + 1 :]
        )
        evidence = read_evidence(run)
        # A bit in the name of the checksum itself changes nothing else.
        assert state_of(evidence) is State.DAMAGED or evidence.record == before.record


def test_copy_is_compared_once(finished_run: RunPaths, tmp_path: Path) -> None:
    run = copy(finished_run, tmp_path, times=False)
    assert state_of(read_evidence(run)) is State.FINISHED
    assert read_run(run).status == "finished"
    assert run.model.stat().st_mtime_ns == finished_run.model.stat().st_mtime_ns
