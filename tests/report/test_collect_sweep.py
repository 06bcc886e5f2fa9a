"""Tests of whole reports, and of folders that are not sweeps."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.report.fake_runs import FakeRun, ended_attempt, hold_lease, write_run
from tests.report.fake_sweeps import experiment_sweep, grid_sweep, write_ledger
from xray_hpc.errors import ConfigError, UserError
from xray_hpc.records.atomic_files import write_text
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_progress import TrainingProgress, write_progress
from xray_hpc.report.collect_sweep import ReportRequest, collect, collect_sweep
from xray_hpc.report.compare import COLUMNS
from xray_hpc.report.typed_csv import parse_csv, typed_columns

GOLDEN = Path(__file__).parent / "golden" / "report.md"

SECOND_ATTEMPT = {
    "queued": "2026-11-22T03:42:40+00:00",
    "started": "2026-11-22T03:43:10+00:00",
    "ended": "2026-11-22T03:44:10+00:00",
}


def sweep_with_all_states(folder: Path) -> SweepPaths:
    """Write a sweep with a run in every state."""
    sweep = SweepPaths(folder)
    runs = [
        write_run(sweep, "cnn", FakeRun(skill=1.2, seed=0)),
        write_run(sweep, "tl", FakeRun(skill=2.0, seed=1), train__learning_rate=5e-4),
        write_run(sweep, "ft", FakeRun(skill=2.4, seed=2), train__learning_rate=1e-5),
        write_run(sweep, "ft", FakeRun(skill=2.1, seed=3), train__learning_rate=1e-6),
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
                    ended_attempt(
                        "12_4", failure="out_of_memory", peak_memory=16380, requeued=True
                    ),
                    ended_attempt(
                        "12_4",
                        **SECOND_ATTEMPT,
                        failure="bad_data",
                        memory=24576,
                        peak_memory=16900,
                    ),
                ],
            },
        ),
        write_run(sweep, "tl", FakeRun(epochs=3), status="running", train__learning_rate=1e-4),
        write_run(sweep, "tl", FakeRun(epochs=1), status="running", train__learning_rate=1e-5),
        write_run(sweep, "tl", status="created", train__learning_rate=1e-3),
        write_run(sweep, "tl", FakeRun(epochs=2), status="interrupted", train__learning_rate=1e-2),
        write_run(sweep, "cnn", FakeRun(seed=5), train__learning_rate=1e-2),
    ]
    runs[-1].metrics.unlink()
    hold_lease(runs[5])
    write_progress(runs[5], TrainingProgress(3, 8, 0, 20.0, 2, 0.7, 0.6, None))
    (sweep.data / "5f0c9e1d").mkdir(parents=True)
    (sweep.data / "5f0c9e1d" / "class_bars.png").write_bytes(b"png")
    write_text(sweep.data / "5f0c9e1d" / "index.csv", "file\n")
    planned = {run.name: [f"model={run.name.split('-')[0]}"] for run in runs[:-1]}
    write_ledger(sweep, planned | {"ft-00000000": ["model=ft", "train.learning_rate=0.0003"]})
    return sweep


def report_files(sweep: SweepPaths) -> dict[str, bytes]:
    """Return the visible files of the report; hidden ones serve the next collector."""
    visible = (path for path in sweep.report.rglob("*") if not path.name.startswith("."))
    return {
        path.relative_to(sweep.report).as_posix(): path.read_bytes()
        for path in visible
        if path.is_file()
    }


def test_report_of_runs_in_every_state_matches_the_golden_file(tmp_path: Path) -> None:
    sweep = sweep_with_all_states(tmp_path / "results" / "states")
    collect_sweep(sweep)
    written = sweep.report / "report.md"
    assert written.read_text() == GOLDEN.read_text(), f"if this is right: cp {written} {GOLDEN}"


METRICS = (
    *("accuracy", "balanced_accuracy", "f1", "auc", "auc_micro", "sensitivity", "specificity"),
    *("false_negatives", "false_positives", "loss", "tied"),
)


def test_csv_files_have_documented_columns(tmp_path: Path) -> None:
    sweep = experiment_sweep(tmp_path / "experiments")
    collect_sweep(sweep)
    heads = {path.name: path.read_text().splitlines()[0] for path in sweep.report.glob("*.csv")}
    swept = (
        *("experiment", "data.image_size", "data.channels", "data.per_class", "data.demo_classes"),
        *("model.backbone", "model.weights", "model.head_units", "model.head_dropout"),
        *("augment.rotation", "train.optimizer", "model.backbones.demo"),
    )
    runs = (
        *("run", "model", *swept, "status", "classes", "flags", "best_epoch", "epochs"),
        *(f"{split}_{metric}" for split in ("validation", "test") for metric in METRICS),
        *("parameters", "trainable_parameters", "seconds", "seconds_per_epoch", "queue_seconds"),
        *("gpu_hours", "gpu_use", "cpu_use", "peak_memory_mb", "requested_memory_mb", "node"),
        *("gpus", "replicas", "job_id", "attempts", "restarts", "failure", "error"),
    )
    compared = {f"{name}.csv": ",".join(columns) for name, columns in COLUMNS.items()}
    assert heads.pop("ranking.csv").startswith("data,rank,run,label,setting,model,experiment,")
    assert heads == {
        **{name: head for name, head in compared.items() if name in heads},
        "runs.csv": ",".join(runs),
        "per_class.csv": "run,model,split,class,images,precision,recall,f1,auc",
        "epochs.csv": "run,model,epoch,train_accuracy,val_accuracy,train_loss,val_loss,val_auc",
        "scores.csv": "run,model,split,score_of,file,patient,y_true,y_scores,logit",
        "roc.csv": "run,model,split,score_of,fpr,tpr,thresholds",
    }


def test_report_contains_and_links_every_file(sweep: SweepPaths) -> None:
    report = collect_sweep(sweep)
    tables = ["runs.csv", "per_class.csv", "epochs.csv", "scores.csv", "roc.csv"]
    assert [path.name for path in report.paths] == ["report.html", "report.md", "runs.csv"]
    parquet = ["runs.parquet", "scores.parquet"]
    files = report_files(sweep)
    assert {"report.html", "report.md", *tables, *parquet} <= files.keys()
    text = files["report.md"].decode()
    images = [name for name in files if name.endswith(".png")]
    assert sorted(images) == ["figures/ranking.png", "figures/roc_test.png"]
    assert all(f"]({name})" in text for name in ["report.html", *tables, *images])
    page = files["report.html"].decode()
    figures = [name for name in files if name.endswith(".pdf")]
    assert len(figures) > 8
    assert all(f'href="{name}"' in page for name in figures)


def test_collecting_twice_writes_equal_bytes(tmp_path: Path) -> None:
    sweep = grid_sweep(tmp_path / "grid", complete=False)
    collect_sweep(sweep)
    first = report_files(sweep)
    collect_sweep(sweep)
    assert report_files(sweep) == first
    assert "figures/learning_rate_unfreeze.pdf" in first


def test_files_that_no_longer_apply_are_removed(tmp_path: Path) -> None:
    sweep = grid_sweep(tmp_path / "grid")
    collect_sweep(sweep)
    killed = (
        "import os, sys; from pathlib import Path; "
        "from xray_hpc.records.atomic_files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", killed, sweep.report / "roc.csv"])
    assert any(path.name.endswith(".roc.csv") for path in sweep.report.iterdir())
    (sweep.report / "notes.txt").write_text("the user's own")
    first, *others = sorted(sweep.runs.iterdir())
    for folder in others:
        shutil.rmtree(folder)
    (first / "metrics.json").unlink()
    sweep.ledger.unlink()
    report = collect_sweep(sweep)
    left = {path.name for path in sweep.report.rglob("*")}
    figures = {"learning_rate_unfreeze.pdf", "confusion_test.pdf", "roc_test.pdf", "roc_test.png"}
    assert not left & figures
    assert not any(re.search(r"[0-9a-f]{16}\.roc\.csv", name) for name in left)
    assert "notes.txt" in left
    assert "learning_rate_unfreeze" not in report.paths[0].read_text()


def test_runs_are_in_launch_order_then_by_name(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path / "order")
    runs = [write_run(sweep, "cnn", status="created", seed=seed).name for seed in range(4)]
    write_ledger(sweep, {runs[2]: [], runs[0]: []})
    others = sorted([runs[1], runs[3]])
    assert [run.name for run in collect_sweep(sweep).runs] == [runs[2], runs[0], *others]


def test_hidden_folders_and_files_are_not_runs(sweep: SweepPaths) -> None:
    (sweep.runs / ".snapshot").mkdir()
    (sweep.runs / "notes.txt").write_text("")
    assert len(collect_sweep(sweep).runs) == 3


def test_copy_of_a_run_is_damaged(sweep: SweepPaths) -> None:
    first = sorted(sweep.runs.iterdir())[0]
    shutil.copytree(first, sweep.runs / "old-copy")
    report = collect_sweep(sweep)
    assert "4 runs: 3 finished, 1 damaged" in report.table()
    assert (sweep.report / "scores.csv").read_text().count("person0_normal_0.jpeg") == 6


def test_truncated_ledger_keeps_its_complete_lines(sweep: SweepPaths) -> None:
    with sweep.ledger.open("a") as ledger:
        ledger.write('{"event": "planned", "ru')
    assert len(collect_sweep(sweep).runs) == 3


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as refusal:
        collect_sweep(SweepPaths(folder))
    return str(refusal.value)


def test_sweep_without_runs_is_refused_and_unchanged(tmp_path: Path) -> None:
    folder = _made(tmp_path / "empty")
    (folder / "runs").mkdir()
    assert refused(folder) == f"{folder} has no runs yet; launch the sweep first"
    assert [path.name for path in folder.iterdir()] == ["runs"]


def test_unwritable_report_folder_is_an_error(sweep: SweepPaths) -> None:
    sweep.report.write_text("in the way")
    assert refused(sweep.folder).startswith("cannot write the report: ")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_formula_and_markup_in_class_names_are_text_in_every_file(tmp_path: Path) -> None:
    classes = ("+", "-1", "=x", "a|<b>\x1b[1m")
    sweep = SweepPaths(tmp_path / "sweep")
    run = write_run(sweep, "lung", FakeRun(classes=classes))
    write_ledger(sweep, {run.name: ["model=lung"]})
    report = collect_sweep(sweep)
    tables = {
        name: parse_csv((sweep.report / name).read_bytes())
        for name in ("scores.csv", "roc.csv", "per_class.csv")
    }
    for name, column in (
        ("scores.csv", "score_of"),
        ("roc.csv", "score_of"),
        ("per_class.csv", "class"),
    ):
        assert {*tables[name][column]} >= {"'+", "'-1", "'=x", classes[3]}
    table = typed_columns(tables["scores.csv"], {"score_of": "str", "logit": "float64"})
    assert {*table["score_of"]} == {*classes}
    assert table["logit"].min() < 0
    found = pd.read_csv(sweep.report / "classes.csv", keep_default_na=False)
    assert {*found["class"]} == {"'+", "'-1", "'=x", classes[3]}
    for name in ("report.md", "ranking.tex"):
        assert "\x1b" not in (sweep.report / name).read_text()
    assert all(line.isprintable() for line in report.table().split("\n"))


def test_several_sweeps_are_one_report_and_copies_of_runs_are_one_run(tmp_path: Path) -> None:
    first, second = SweepPaths(tmp_path / "a"), SweepPaths(tmp_path / "b")
    run = write_run(first, "cnn", FakeRun(seed=1))
    write_run(second, "tl", FakeRun(seed=2))
    write_run(second, "cnn", status="created", seed=7)
    shutil.copytree(run.folder, second.runs / run.name)
    report = collect(ReportRequest([first, second], tmp_path / "both"))
    table = pd.read_csv(tmp_path / "both" / "runs.csv")
    assert sorted(table["model"]) == ["cnn", "cnn", "tl"]
    assert dict(zip(table["run"], table["sweep"], strict=True))[run.name] == "a"
    assert len(report.runs) == 3


def test_several_sweeps_need_a_folder_that_is_no_sweep(tmp_path: Path) -> None:
    sweeps = [SweepPaths(tmp_path / name) for name in "ab"]
    for sweep in sweeps:
        write_run(sweep, "cnn")
    with pytest.raises(ConfigError, match="add --out"):
        collect(ReportRequest(sweeps))
    with pytest.raises(ConfigError, match="is a sweep"):
        collect(ReportRequest(sweeps, sweeps[0].folder))


def test_where_and_by_select_and_average_runs(tmp_path: Path) -> None:
    sweep = grid_sweep(tmp_path / "grid", seeds=2)
    where = "model=ft and train.learning_rate<=1e-5"
    report = collect(ReportRequest([sweep], where=where, by=["train.learning_rate"]))
    runs = pd.read_csv(sweep.report / "runs.csv")
    means = pd.read_csv(sweep.report / "by.csv")
    assert len(report.runs) == len(runs) == 12
    assert list(means["runs"]) == [6, 6]
    for rate, group in runs.groupby("train.learning_rate"):
        (row,) = means[means["train.learning_rate"] == rate].to_dict("records")
        assert row["test_auc_mean"] == pytest.approx(group["test_auc"].mean())
        assert row["test_auc_sd"] == pytest.approx(group["test_auc"].std())


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("modle=ft", "no run has a 'modle'; did you mean 'model'?"),
        ("model", "'model' is no condition"),
        ("seed<x", "compares with 'x'"),
        ("model=vgg", "no run fulfills 'model=vgg'"),
    ],
)
def test_invalid_expressions_are_refused(sweep: SweepPaths, where: str, error: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        collect(ReportRequest([sweep], where=where))
    assert error in str(refusal.value)
