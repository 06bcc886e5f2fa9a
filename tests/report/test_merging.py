"""Nothing is lost and nothing doubled when records are merged."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import Drawn, plan, write_run

from xray_hpc.report.merging import (
    EPOCH_COLUMNS,
    ROC_COLUMNS,
    SCORE_COLUMNS,
    epochs_table,
    roc_table,
    runs_table,
    write_scores,
)
from xray_hpc.report.reading import Run, read_run
from xray_hpc.runs.paths import SPLITS, SweepPaths
from xray_hpc.runs.record import RunRecord

Rows = list[dict[str, str]]


def rows(path: Path) -> Rows:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SweepPaths:
    sweep = SweepPaths(tmp_path_factory.mktemp("small") / "sweep")
    drawn = Drawn(epochs=3, images={"validation": 6, "test": 5})
    runs = [write_run(sweep, model, drawn) for model in ("cnn", "tl", "ft")]
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

    assert runs_table(kept, {}, {})["run"].tolist() == names
    recorded = [sweep.run(n) for n in names if sweep.run(n).record.exists()]
    expected = [
        {"run": run.name, "model": model, "split": split, **row}
        for run in recorded
        for model in [run.name.split("-")[0]]
        for split in SPLITS
        if run.scores(model, split).exists()
        for row in rows(run.scores(model, split))
    ]
    assert merged == expected

    points = roc_table(kept)
    expected_points = sum(
        len(rows(run.roc(model, split)))
        for run in recorded
        for model in [run.name.split("-")[0]]
        for split in SPLITS
        if run.roc(model, split).exists()
    )
    assert len(points) == len(points.drop_duplicates()) == expected_points

    epochs = epochs_table(kept)
    with_epochs = [
        run.name
        for run in recorded
        for model in [run.name.split("-")[0]]
        if run.accuracy(model).exists() or run.loss(model).exists()
    ]
    pairs = list(epochs[["run", "epoch"]].itertuples(index=False, name=None))
    assert pairs == [(name, epoch) for name in with_epochs for epoch in range(3)]


def test_nothing_to_merge_leaves_the_heads(tmp_path: Path) -> None:
    runs = [Run("ft-1", "ft", "missing")]
    assert list(epochs_table(runs)) == list(EPOCH_COLUMNS)
    assert list(roc_table(runs)) == list(ROC_COLUMNS)
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
    table = runs_table([Run("ft-1", "ft", "finished", record=record, metrics=metrics)], {}, {})
    table.to_csv(tmp_path / "runs.csv", index=False)
    (row,) = rows(tmp_path / "runs.csv")
    zero = {key for key, value in row.items() if value == "0"}
    assert zero == {"best_epoch", "test_false_negatives", "restarts"}
    assert {key for key, value in row.items() if value} - zero == {"run", "model", "status"}


def test_whole_numbers_stay_whole_beside_empty_cells() -> None:
    runs = [
        Run("ft-1", "ft", "finished", config={"model.unfreeze": 4}, metrics={"epochs": 10}),
        Run("cnn-2", "cnn", "finished", config={"model.unfreeze": None}),
    ]
    table = runs_table(runs, {}, {})
    assert table["model.unfreeze"].tolist() == [4, None]
    assert table.to_csv(columns=["model.unfreeze", "epochs"], index=False) == (
        "model.unfreeze,epochs\n4,10\n,\n"
    )


def test_a_run_that_never_began_shows_what_was_planned() -> None:
    runs = [
        Run("ft-1", "ft", "finished", config={"seed": 1, "train.learning_rate": 1e-3}),
        Run("ft-2", "ft", "finished", config={"seed": 2, "train.learning_rate": 1e-4}),
        Run("ft-3", "ft", "missing"),
    ]
    overrides = {"ft-3": ["model=ft", "++train.learning_rate=1e-05", "~data"]}
    table = runs_table(runs, overrides, {})
    assert table["train.learning_rate"].tolist() == [1e-3, 1e-4, "1e-05"]
    assert table["seed"].tolist() == [1, 2, None]


@pytest.mark.parametrize(
    ("started", "submitted", "queued"),
    [
        ("2026-11-22T04:00:00+00:00", ["2026-11-22T03:00:00+00:00"], 3600),
        (
            "2026-11-22T04:00:00+00:00",
            [f"2026-11-22T0{hour}:30:00+00:00" for hour in (1, 3, 5)],
            1800,
        ),
        ("2026-11-22T04:00:00+00:00", [], None),
        (None, ["2026-11-22T03:00:00+00:00"], None),
        ("2026-11-22T04:00:00", ["2026-11-22T03:00:00+00:00"], None),
        ("yesterday", ["2026-11-22T03:00:00+00:00"], None),
    ],
)
def test_the_wait_is_counted_from_the_last_submission_before_the_start(
    started: str | None, submitted: list[str], queued: int | None
) -> None:
    record = RunRecord("ft-1", "s", "ft", started=started)
    run = Run("ft-1", "ft", "finished", record=record)
    table = runs_table([run], {}, {"ft-1": submitted})
    assert table["queued_seconds"].tolist() == [queued]


def test_the_table_survives_a_round_trip(small: SweepPaths, tmp_path: Path) -> None:
    runs = [read_run(small.run(path.name)) for path in sorted(small.runs.iterdir())]
    runs_table(runs, {}, {}).to_csv(tmp_path / "runs.csv", index=False)
    back = pd.read_csv(tmp_path / "runs.csv")
    for run, auc in zip(runs, back["validation_auc"], strict=True):
        metrics = json.loads(small.run(run.name).metrics.read_text())
        assert auc == metrics["validation"]["auc"]
