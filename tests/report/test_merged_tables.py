"""Tests that merging records neither loses nor duplicates rows."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.fake_runs import PNEUMONIA, THREE_CLASSES, FakeRun, write_run
from tests.report.fake_sweeps import write_ledger
from tests.run_folders import run_metrics
from xray_hpc.records.paths import SPLITS, RunPaths, SweepPaths
from xray_hpc.records.run_record import RunRecord
from xray_hpc.report.long_tables import epoch_table, roc_table, score_table
from xray_hpc.report.merged_tables import (
    CLASS_COLUMNS,
    class_rows,
    csv_text,
    runs_rows,
)
from xray_hpc.report.read_run import read_run
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.table_files import write_csv_table

Rows = list[dict[str, str]]


def rows(path: Path) -> Rows:
    return parse_rows(path.read_text())


def parse_rows(text: str) -> Rows:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def numbers(found: Rows) -> list[dict[str, object]]:
    """Return rows with numbers for scores, whose text may differ (0.00001 and 1e-05)."""
    return [row | {key: float(row[key]) for key in ("y_scores", "logit")} for row in found]


def merged(file: str, runs: Sequence[RunResult]) -> Rows:
    """Return the rows of the table ``file`` for these runs."""
    makers = {"scores.csv": score_table, "roc.csv": roc_table, "epochs.csv": epoch_table}
    with tempfile.TemporaryDirectory() as folder:
        write_csv_table(Path(folder) / file, makers[file](runs))
        return rows(Path(folder) / file)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SweepPaths:
    sweep = SweepPaths(tmp_path_factory.mktemp("small") / "sweep")
    images = {"validation": 12, "test": 11}
    two, three = (
        FakeRun(epochs=3, images=images),
        FakeRun(epochs=3, images=images, classes=THREE_CLASSES),
    )
    fake_runs = {"cnn": two, "tl": two, "lung": three}
    runs = [write_run(sweep, model, fake) for model, fake in fake_runs.items()]
    write_ledger(sweep, {run.name: [] for run in runs})
    return sweep


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_row_of_every_readable_file_is_merged_once(
    small: SweepPaths, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    sweep = SweepPaths(tmp_path_factory.mktemp("copy") / "sweep")
    shutil.copytree(small.folder, sweep.folder)
    files = sorted(p for p in sweep.runs.rglob("*") if p.suffix in (".csv", ".json", ".yaml"))
    for path in data.draw(st.sets(st.sampled_from(files), max_size=len(files))):
        path.unlink()
    names = sorted(path.name for path in sweep.runs.iterdir())

    runs = [read_run(sweep.run(n)) for n in names]

    assert [row["run"] for row in runs_rows(runs)] == names
    recorded = [sweep.run(n) for n in names if sweep.run(n).record.exists()]
    models = {run.name: run.name.split("-")[0] for run in recorded}
    assert numbers(merged("scores.csv", runs)) == numbers(
        [
            {"run": run.name, "model": models[run.name], "split": split, **row}
            for run in recorded
            for split in SPLITS
            if run.scores(models[run.name], split).exists()
            for row in long_rows(run, models[run.name], split)
        ]
    )

    points = merged("roc.csv", runs)
    curves = [run.roc(models[run.name], split) for run in recorded for split in SPLITS]
    expected_points = sum(len(rows(path)) for path in curves if path.exists())
    assert len(points) == len({tuple(row.values()) for row in points}) == expected_points

    measured = class_rows(runs)
    with_metrics = {run.name for run in recorded if run.metrics.exists()}
    assert {row["run"] for row in measured} == with_metrics
    assert len(measured) == sum(2 * (3 if models[name] == "lung" else 2) for name in with_metrics)

    with_epochs = [
        run.name
        for run in recorded
        if any(table(models[run.name]).exists() for table in (run.accuracy, run.loss, run.auc))
    ]
    pairs = [(row["run"], int(row["epoch"])) for row in merged("epochs.csv", runs)]
    assert pairs == [(name, epoch) for name in with_epochs for epoch in (1, 2, 3)]


def long_rows(run: RunPaths, model: str, split: str) -> Rows:
    """Return the expected rows of scores.csv; only metrics name the positive class."""
    positive = PNEUMONIA if run.metrics.exists() else ""
    found = []
    for row in rows(run.scores(model, split)):
        image = {key: row[key] for key in ("file", "patient")}
        if "y_scores" in row:
            scores = {name: row[name] for name in ("y_true", "y_scores", "logit")}
            found.append({"score_of": positive, **image, **scores})
            continue
        for label, name in enumerate(THREE_CLASSES):
            truth = str(int(int(row["y_true"]) == label))
            scores = {kind: row[f"{kind}_{name}"] for kind in ("y_scores", "logit")}
            scores |= {"y_true": truth}
            found.append({"score_of": name, **image, **scores})
    return found


def test_roc_table_includes_average_curves(small: SweepPaths) -> None:
    points = merged("roc.csv", [read_run(small.run(path.name)) for path in small.runs.iterdir()])
    found = {
        row["model"]: {p["score_of"] for p in points if p["model"] == row["model"]}
        for row in points
    }
    averages = {"macro average", "micro average"}
    assert found == {"cnn": {PNEUMONIA}, "tl": {PNEUMONIA}, "lung": {*THREE_CLASSES, *averages}}


def test_run_without_files_has_no_lines() -> None:
    run = RunResult("ft-1", "ft", "missing")
    assert not any(len(table([run])) for table in (epoch_table, score_table, roc_table))
    assert csv_text(CLASS_COLUMNS, class_rows([run])) == ",".join(CLASS_COLUMNS) + "\n"


def runs_csv(runs: list[RunResult]) -> str:
    """Return ``runs.csv`` of these runs."""
    rows = runs_rows(runs)
    return csv_text(list(rows[0]), rows)


def test_missing_values_are_empty_and_zeros_are_kept() -> None:
    record = RunRecord("ft-1", "s", "ft", restarts=0)
    metrics = run_metrics(test={"auc": None, "false_negatives": 0}, trainable_parameters=0)
    (row,) = parse_rows(
        runs_csv([RunResult("ft-1", "ft", "finished", record=record, metrics=metrics)])
    )
    zero = {key for key, value in row.items() if value == "0"}
    assert zero == {"trainable_parameters", "test_false_negatives", "restarts", "attempts"}
    assert {row[key] for key in ("test_auc", "test_f1", "seconds", "node", "error")} == {""}


def test_integers_stay_integers_beside_empty_cells() -> None:
    metrics = run_metrics(epochs=10)
    runs = [
        RunResult("ft-1", "ft", "finished", config={"model.unfreeze": 4}, metrics=metrics),
        RunResult("cnn-2", "cnn", "finished", config={"model.unfreeze": None}),
    ]
    assert csv_text(["model.unfreeze", "epochs"], runs_rows(runs)) == (
        "model.unfreeze,epochs\n4,10\n,\n"
    )


def test_run_without_a_config_shows_its_planned_overrides() -> None:
    runs = [
        RunResult("ft-1", "ft", "finished", config={"seed": 1, "train.learning_rate": 1e-3}),
        RunResult("ft-2", "ft", "finished", config={"seed": 2, "train.learning_rate": 1e-4}),
        RunResult("ft-3", "ft", "missing", overrides={"train.learning_rate": "1e-05"}),
    ]
    found = [(row["train.learning_rate"], row["seed"]) for row in runs_rows(runs)]
    assert found == [(1e-3, 1), (1e-4, 2), ("1e-05", None)]


def test_resource_usage_has_columns(small: SweepPaths) -> None:
    (run,) = (read_run(small.run(path.name)) for path in small.runs.glob("lung-*"))
    (row,) = runs_rows([run])
    assert {key: row[key] for key in ("attempts", "queue_seconds", "gpu_use", "cpu_use")} == {
        **{"attempts": 1, "queue_seconds": 60, "gpu_use": 0.62, "cpu_use": 0.5}
    }
    assert (row["peak_memory_mb"], row["requested_memory_mb"]) == (4096, 16384)
    assert row["gpu_hours"] == pytest.approx(100 / 3600)
    assert row["failure"] is None


def test_runs_csv_survives_a_round_trip(small: SweepPaths, tmp_path: Path) -> None:
    runs = [read_run(small.run(path.name)) for path in sorted(small.runs.iterdir())]
    (tmp_path / "runs.csv").write_text(runs_csv(runs))
    back = pd.read_csv(tmp_path / "runs.csv")
    for run, auc in zip(runs, back["validation_auc"], strict=True):
        metrics = json.loads(small.run(run.name).metrics.read_text())
        assert auc == metrics["validation"]["auc"]
