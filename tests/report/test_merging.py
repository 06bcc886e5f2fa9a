"""Nothing is lost and nothing doubled when records are merged."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import LUNGS, PNEUMONIA, Drawn, plan, write_run

from xray_hpc.report.merging import (
    CLASS_COLUMNS,
    EPOCH_COLUMNS,
    ROC_COLUMNS,
    SCORE_COLUMNS,
    classes_table,
    epochs_table,
    long_scores,
    roc_table,
    runs_table,
    write_scores,
)
from xray_hpc.report.reading import read_run
from xray_hpc.report.run import Run
from xray_hpc.runs.paths import SPLITS, RunPaths, SweepPaths
from xray_hpc.runs.record import RunRecord

Rows = list[dict[str, str]]


def rows(path: Path) -> Rows:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SweepPaths:
    sweep = SweepPaths(tmp_path_factory.mktemp("small") / "sweep")
    images = {"validation": 12, "test": 11}
    two, three = Drawn(epochs=3, images=images), Drawn(epochs=3, images=images, classes=LUNGS)
    drawn = {"cnn": two, "tl": two, "lung": three}
    runs = [write_run(sweep, model, of_model) for model, of_model in drawn.items()]
    plan(sweep, {run.name: [] for run in runs})
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

    kept = write_scores(sweep.folder / "scores.csv", [read_run(sweep.run(n)) for n in names])
    merged = rows(sweep.folder / "scores.csv")

    assert runs_table(kept)["run"].tolist() == names
    recorded = [sweep.run(n) for n in names if sweep.run(n).record.exists()]
    models = {run.name: run.name.split("-")[0] for run in recorded}
    assert merged == [
        {"run": run.name, "model": models[run.name], "split": split, **row}
        for run in recorded
        for split in SPLITS
        if run.scores(models[run.name], split).exists()
        for row in long_rows(run, models[run.name], split)
    ]

    points = roc_table(kept)
    curves = [run.roc(models[run.name], split) for run in recorded for split in SPLITS]
    expected_points = sum(len(rows(path)) for path in curves if path.exists())
    assert len(points) == len(points.drop_duplicates()) == expected_points

    measured = classes_table(kept)
    with_metrics = {run.name for run in recorded if run.metrics.exists()}
    assert set(measured["run"]) == with_metrics
    assert len(measured) == sum(2 * (3 if models[name] == "lung" else 2) for name in with_metrics)

    epochs = epochs_table(kept)
    with_epochs = [
        run.name
        for run in recorded
        if any(table(models[run.name]).exists() for table in (run.accuracy, run.loss, run.auc))
    ]
    pairs = list(epochs[["run", "epoch"]].itertuples(index=False, name=None))
    assert pairs == [(name, epoch) for name in with_epochs for epoch in range(3)]


def long_rows(run: RunPaths, model: str, split: str) -> Rows:
    """What scores.csv must hold of a run's own table: its positive class only metrics name."""
    positive = PNEUMONIA if run.metrics.exists() else ""
    found = []
    for row in rows(run.scores(model, split)):
        image = {key: row[key] for key in ("file", "patient")}
        if "y_scores" in row:
            scores = {"y_true": row["y_true"], "y_scores": row["y_scores"]}
            found.append({"class": positive, **image, **scores})
            continue
        for label, name in enumerate(LUNGS):
            truth = str(int(int(row["y_true"]) == label))
            scores = {"y_true": truth, "y_scores": row[f"y_scores_{name}"]}
            found.append({"class": name, **image, **scores})
    return found


@given(
    labels=st.lists(st.integers(0, 3), max_size=8),
    seed=st.integers(0, 9),
)
def test_scores_of_many_classes_come_back_from_their_long_form(
    labels: list[int], seed: int
) -> None:
    classes = ["a", "b, c", "d", "e"]
    names = [f"{i}.png" for i in range(len(labels))]
    wide = pd.DataFrame({"file": names, "patient": names, "y_true": pd.Series(labels, dtype=int)})
    drawn = np.random.default_rng(seed).dirichlet(np.ones(4), len(labels))
    for i, name in enumerate(classes):
        wide[f"y_scores_{name}"] = drawn[:, i]
    long = long_scores(wide, classes)
    assert len(long) == len(labels) * len(classes)
    assert long["class"].tolist() == classes * len(labels)
    assert long["y_scores"].to_numpy().reshape(-1, 4).tolist() == drawn.tolist()
    assert long["y_true"].to_numpy().reshape(-1, 4).argmax(axis=1).tolist() == labels
    assert long["y_true"].sum() == len(labels)


def test_the_average_curves_stand_beside_the_classes(small: SweepPaths) -> None:
    points = roc_table([read_run(small.run(path.name)) for path in small.runs.iterdir()])
    found = points.groupby("model")["class"].unique().map(sorted).to_dict()
    averages = ["macro average", "micro average"]
    assert found == {"cnn": [PNEUMONIA], "tl": [PNEUMONIA], "lung": sorted([*LUNGS, *averages])}


def test_nothing_to_merge_leaves_the_heads(tmp_path: Path) -> None:
    runs = [Run("ft-1", "ft", "missing")]
    assert list(epochs_table(runs)) == list(EPOCH_COLUMNS)
    assert list(roc_table(runs)) == list(ROC_COLUMNS)
    assert list(classes_table(runs)) == list(CLASS_COLUMNS)
    write_scores(tmp_path / "scores.csv", runs)
    assert (tmp_path / "scores.csv").read_text() == ",".join(SCORE_COLUMNS) + "\n"


def test_scores_are_let_go_once_they_are_written(small: SweepPaths, tmp_path: Path) -> None:
    runs = [read_run(small.run(path.name)) for path in small.runs.iterdir()]
    assert all(run.scores for run in runs)
    assert not any(run.scores for run in write_scores(tmp_path / "scores.csv", runs))


def test_an_unreadable_run_leaves_no_half_file(tmp_path: Path) -> None:
    def broken() -> Any:
        yield Run("ft-1", "ft", "missing")
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write_scores(tmp_path / "scores.csv", broken())
    assert list(tmp_path.iterdir()) == []


def test_missing_stays_empty_and_zero_stays_zero(tmp_path: Path) -> None:
    record = RunRecord("ft-1", "s", "ft", restarts=0)
    metrics = {"best_epoch": 0, "test": {"auc": None, "false_negatives": 0}}
    table = runs_table([Run("ft-1", "ft", "finished", record=record, metrics=metrics)])
    table.to_csv(tmp_path / "runs.csv", index=False)
    (row,) = rows(tmp_path / "runs.csv")
    zero = {key for key, value in row.items() if value == "0"}
    assert zero == {"best_epoch", "test_false_negatives", "restarts", "tries"}
    assert {key for key, value in row.items() if value} - zero == {"run", "model", "status"}


def test_whole_numbers_stay_whole_beside_empty_cells() -> None:
    runs = [
        Run("ft-1", "ft", "finished", config={"model.unfreeze": 4}, metrics={"epochs": 10}),
        Run("cnn-2", "cnn", "finished", config={"model.unfreeze": None}),
    ]
    table = runs_table(runs)
    assert table["model.unfreeze"].tolist() == [4, None]
    assert table.to_csv(columns=["model.unfreeze", "epochs"], index=False) == (
        "model.unfreeze,epochs\n4,10\n,\n"
    )


def test_a_run_that_never_began_shows_what_was_planned() -> None:
    runs = [
        Run("ft-1", "ft", "finished", config={"seed": 1, "train.learning_rate": 1e-3}),
        Run("ft-2", "ft", "finished", config={"seed": 2, "train.learning_rate": 1e-4}),
        Run("ft-3", "ft", "missing", overrides={"train.learning_rate": "1e-05"}),
    ]
    table = runs_table(runs)
    assert table["train.learning_rate"].tolist() == [1e-3, 1e-4, "1e-05"]
    assert table["seed"].tolist() == [1, 2, None]


def test_what_a_run_used_has_columns(small: SweepPaths) -> None:
    (run,) = (read_run(small.run(path.name)) for path in small.runs.glob("lung-*"))
    (row,) = runs_table([run]).to_dict("records")
    assert {key: row[key] for key in ("tries", "waiting_seconds", "gpu_use", "cpu_use")} == {
        **{"tries": 1, "waiting_seconds": 60, "gpu_use": 0.62, "cpu_use": 0.5}
    }
    assert (row["peak_memory_mb"], row["asked_memory_mb"]) == (4096, 16384)
    assert row["gpu_hours"] == pytest.approx(100 / 3600)
    assert row["failure"] is None


def test_the_table_survives_a_round_trip(small: SweepPaths, tmp_path: Path) -> None:
    runs = [read_run(small.run(path.name)) for path in sorted(small.runs.iterdir())]
    runs_table(runs).to_csv(tmp_path / "runs.csv", index=False)
    back = pd.read_csv(tmp_path / "runs.csv")
    for run, auc in zip(runs, back["validation_auc"], strict=True):
        metrics = json.loads(small.run(run.name).metrics.read_text())
        assert auc == metrics["validation"]["auc"]
