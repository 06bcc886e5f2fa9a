"""A whole report, compared with recorded ones; and folders that are no sweeps."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.synthetic import Drawn, experiments, grid, hold, one_attempt, plan, write_run
from xray_hpc.errors import UserError
from xray_hpc.records.atomic_files import write_text
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_progress import TrainingProgress, write_progress
from xray_hpc.report.collect_sweep import collect

GOLDEN = Path(__file__).parent / "golden"


LATER = {
    "queued": "2026-11-22T03:42:40+00:00",
    "started": "2026-11-22T03:43:10+00:00",
    "ended": "2026-11-22T03:44:10+00:00",
}


def states(folder: Path) -> SweepPaths:
    """A sweep with a run in every state."""
    sweep = SweepPaths(folder)
    runs = [
        write_run(sweep, "cnn", Drawn(skill=1.2, seed=0)),
        write_run(sweep, "tl", Drawn(skill=2.0, seed=1), train__learning_rate=5e-4),
        write_run(sweep, "ft", Drawn(skill=2.4, seed=2), train__learning_rate=1e-5),
        write_run(sweep, "ft", Drawn(skill=2.1, seed=3), train__learning_rate=1e-6),
        write_run(
            sweep,
            "ft",
            status="failed",
            train__learning_rate=0.5,
            record={
                "error": {"type": "UserError", "message": "3 of 60 scores | are not finite"},
                "restarts": 1,
                "failure": "bad_data",
                "attempts": [
                    one_attempt("12_4", failure="out_of_memory", peak_memory=16380, requeued=True),
                    one_attempt(
                        "12_4", **LATER, failure="bad_data", memory=24576, peak_memory=16900
                    ),
                ],
            },
        ),
        write_run(sweep, "tl", Drawn(epochs=3), status="running", train__learning_rate=1e-4),
        write_run(sweep, "tl", Drawn(epochs=1), status="running", train__learning_rate=1e-5),
        write_run(sweep, "tl", status="created", train__learning_rate=1e-3),
        write_run(sweep, "tl", Drawn(epochs=2), status="interrupted", train__learning_rate=1e-2),
        write_run(sweep, "cnn", Drawn(seed=5), train__learning_rate=1e-2),
    ]
    runs[-1].metrics.unlink()
    hold(runs[5])
    write_progress(runs[5], TrainingProgress(3, 8, 0, 20.0, 2, 0.7, 0.6, None))
    (sweep.data / "5f0c9e1d").mkdir(parents=True)
    (sweep.data / "5f0c9e1d" / "class_bars.png").write_bytes(b"png")
    write_text(sweep.data / "5f0c9e1d" / "index.csv", "file\n")
    planned = {run.name: [f"model={run.name.split('-')[0]}"] for run in runs[:-1]}
    plan(sweep, planned | {"ft-00000000": ["model=ft", "train.learning_rate=0.0003"]})
    return sweep


def written(sweep: SweepPaths) -> dict[str, bytes]:
    """The report; what is hidden is for the next collector."""
    shown = (path for path in sweep.report.iterdir() if not path.name.startswith("."))
    return {path.name: path.read_bytes() for path in shown}


@pytest.mark.parametrize("make", [states, experiments], ids=["states", "experiments"])
def test_the_report_is_as_recorded(tmp_path: Path, make: Callable[[Path], SweepPaths]) -> None:
    sweep = make(tmp_path / "results" / make.__name__)
    table = collect(sweep).table() + "\n"
    write_text(sweep.report / "table.txt", table)
    for golden in sorted((GOLDEN / make.__name__).iterdir()):
        got = sweep.report / golden.name
        assert got.read_text() == golden.read_text(), f"if right: cp {got} {golden}"


def test_every_file_is_there_and_named(sweep: SweepPaths) -> None:
    report = collect(sweep)
    figures = [
        *("roc_validation.png", "roc_test.png", "confusion_test.png"),
        *("accuracy.png", "loss.png", "auc.png"),
    ]
    tables = ["runs.csv", "per_class.csv", "epochs.csv", "scores.csv", "roc.csv"]
    assert [path.name for path in report.paths] == ["report.md", "runs.csv", *figures]
    assert sorted(written(sweep)) == sorted(["report.md", *tables, *figures])
    text = (sweep.report / "report.md").read_text()
    assert all(f"]({name})" in text for name in [*tables, *figures])


def test_collecting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    sweep = grid(tmp_path / "grid", complete=False)
    collect(sweep)
    first = written(sweep)
    collect(sweep)
    assert written(sweep) == first
    assert "learning_rate_unfreeze.png" in first


def test_what_does_not_apply_any_more_is_removed(tmp_path: Path) -> None:
    sweep = grid(tmp_path / "grid")
    collect(sweep)
    killed = (
        "import os, sys; from pathlib import Path; "
        "from xray_hpc.records.atomic_files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", killed, sweep.report / "roc_test.png"])
    assert any(path.name.endswith(".roc_test.png") for path in sweep.report.iterdir())
    (sweep.report / "notes.txt").write_text("the user's own")
    first, *others = sorted(sweep.runs.iterdir())
    for folder in others:
        shutil.rmtree(folder)
    (first / "metrics.json").unlink()
    sweep.ledger.unlink()
    report = collect(sweep)
    left = {path.name for path in sweep.report.iterdir()}
    assert not left & {"learning_rate_unfreeze.png", "confusion_test.png", "roc_test.png"}
    assert not any(name.endswith(".roc_test.png") for name in left)
    assert "notes.txt" in left
    assert "learning_rate_unfreeze" not in report.paths[0].read_text()


def test_runs_come_in_launch_order_then_by_name(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path / "order")
    runs = [write_run(sweep, "cnn", status="created", seed=seed).name for seed in range(4)]
    plan(sweep, {runs[2]: [], runs[0]: []})
    others = sorted([runs[1], runs[3]])
    assert [run.name for run in collect(sweep).runs] == [runs[2], runs[0], *others]


def test_hidden_folders_and_loose_files_are_no_runs(sweep: SweepPaths) -> None:
    (sweep.runs / ".snapshot").mkdir()
    (sweep.runs / "notes.txt").write_text("")
    assert len(collect(sweep).runs) == 3


def test_a_copied_run_does_not_count_twice(sweep: SweepPaths) -> None:
    first = sorted(sweep.runs.iterdir())[0]
    shutil.copytree(first, sweep.runs / "old-copy")
    report = collect(sweep)
    assert "4 runs: 3 finished, 1 damaged" in report.table()
    assert (sweep.report / "scores.csv").read_text().count("person0_normal_0.jpeg") == 6


def test_a_torn_ledger_still_lists_what_it_can(sweep: SweepPaths) -> None:
    with sweep.ledger.open("a") as ledger:
        ledger.write('{"event": "planned", "ru')
    assert len(collect(sweep).runs) == 3


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as refusal:
        collect(SweepPaths(folder))
    return str(refusal.value)


def test_a_sweep_without_runs_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = _made(tmp_path / "empty")
    (folder / "runs").mkdir()
    assert refused(folder) == f"{folder} has no runs yet; launch the sweep first"
    assert [path.name for path in folder.iterdir()] == ["runs"]


def test_a_folder_that_cannot_be_written_to_is_named(sweep: SweepPaths) -> None:
    sweep.report.write_text("in the way")
    assert refused(sweep.folder).startswith("cannot write the report: ")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
