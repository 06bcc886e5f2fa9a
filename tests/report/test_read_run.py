"""Tests of reading complete and unfinished run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.report.fake_runs import (
    PNEUMONIA,
    THREE_CLASSES,
    FakeRun,
    change_json,
    ended_attempt,
    hold_lease,
    write_run,
)
from xray_hpc.records.atomic_files import write_csv
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_progress import TrainingProgress, write_progress
from xray_hpc.records.run_record import write_record
from xray_hpc.report.read_run import flatten, read_run
from xray_hpc.report.resource_usage import resource_usage
from xray_hpc.report.typed_csv import row_count


def test_read_finished_run(run: RunPaths) -> None:
    read = read_run(run)
    assert (read.status, read.error, read.finished) == ("finished", None, True)
    assert read.config["train.learning_rate"] == 0.001
    assert read.metric("test", "images") == row_count(read.scores["test"]) == 80
    assert read.epochs is not None
    assert list(read.epochs) == [
        *("epoch", "train_accuracy", "val_accuracy", "train_loss", "val_loss", "val_auc")
    ]
    assert read.classes == ("NORMAL", PNEUMONIA)
    assert set(read.roc["test"]["score_of"]) == {PNEUMONIA}


def test_read_run_of_three_classes(three_class_run: RunPaths) -> None:
    read = read_run(three_class_run)
    assert (read.status, read.error) == ("finished", None)
    assert read.classes == THREE_CLASSES
    heads = [f"{kind}_{name}" for kind in ("y_scores", "logit") for name in THREE_CLASSES]
    assert list(read.scores["test"]) == ["file", "patient", "y_true", *heads]
    assert set(read.roc["test"]["score_of"]) == {*THREE_CLASSES, "micro average", "macro average"}
    assert read.metric("test", "sensitivity") is None
    assert list(read.metric("test", "per_class")) == list(THREE_CLASSES)


def test_classes_are_read_from_scores_without_metrics(three_class_run: RunPaths) -> None:
    three_class_run.metrics.unlink()
    read = read_run(three_class_run)
    assert read.error == "metrics.json is missing"
    assert list(read.scores["test"])[3:6] == [f"y_scores_{name}" for name in THREE_CLASSES]
    assert "macro average" in set(read.roc["test"]["score_of"])


def test_class_names_may_contain_commas_and_quotes(tmp_path: Path) -> None:
    classes = ('Covid, "PCR"', "Normal", "y_scores")
    read = read_run(write_run(SweepPaths(tmp_path), "lung", FakeRun(classes=classes)))
    assert read.finished
    assert list(read.scores["test"])[3:6] == [f"y_scores_{name}" for name in classes]


def test_undefined_auc_of_an_epoch_is_nan(run: RunPaths) -> None:
    table = pd.read_csv(run.auc("cnn"))
    table.loc[2, "val_auc"] = float("nan")
    write_csv(run.auc("cnn"), table)
    read = read_run(run)
    assert read.finished
    assert read.epochs is not None
    assert np.isnan(read.epochs["val_auc"]).tolist() == [i == 2 for i in range(8)]


def test_missing_run_has_its_planned_overrides(tmp_path: Path) -> None:
    read = read_run(SweepPaths(tmp_path).run("ft-00000000"), ["model=ft", "++seed=2", "~data"])
    assert read.overrides == {"model": "ft", "seed": "2"}


def test_numbers_are_read_exactly(run: RunPaths) -> None:
    value = 0.1234567890123456789
    table = pd.DataFrame({"epoch": range(8), "train_loss": value, "val_loss": 1e-300})
    write_csv(run.loss("cnn"), table)
    read = read_run(run)
    assert read.epochs is not None
    assert read.epochs["train_loss"].tolist() == [value] * 8
    assert read.epochs["val_loss"].tolist() == [1e-300] * 8


def test_text_that_looks_like_a_missing_value_is_kept(run: RunPaths) -> None:
    path = run.scores("cnn", "test")
    table = pd.read_csv(path).assign(file='NA, "null".jpeg', patient="nan")
    write_csv(path, table)
    scores = read_run(run).scores["test"]
    assert set(scores["file"]) == {'NA, "null".jpeg'}
    assert set(scores["patient"]) == {"nan"}


def test_planned_run_without_a_folder_is_missing(tmp_path: Path) -> None:
    read = read_run(SweepPaths(tmp_path).run("ft-00000000"))
    assert (read.model, read.status, read.error) == ("ft", "missing", "folder is missing")


def test_folder_without_a_record_is_missing(tmp_path: Path) -> None:
    paths = SweepPaths(tmp_path).run("ft-00000000")
    paths.folder.mkdir(parents=True)
    assert read_run(paths).error == "run.json is missing"


@pytest.mark.parametrize("status", ["created", "running", "interrupted"])
def test_unfinished_run_without_results_is_not_damaged(tmp_path: Path, status: str) -> None:
    paths = write_run(SweepPaths(tmp_path), "tl", status=status)
    if status == "running":
        hold_lease(paths)
    read = read_run(paths)
    assert (read.status, read.error, read.metrics, read.scores) == (status, None, None, {})
    assert (read.epochs is None) == (status == "created")


def test_failed_run_has_a_one_line_error(tmp_path: Path) -> None:
    error = {"type": "ValueError", "message": "no such\nlayer"}
    paths = write_run(SweepPaths(tmp_path), "tl", status="failed", record={"error": error})
    assert read_run(paths).error == "ValueError: no such layer"


def test_error_of_a_classified_failure_has_no_type(tmp_path: Path) -> None:
    error = {"type": "TrainingDivergedError", "message": "the training diverged"}
    record = {"error": error, "failure": "nan_loss"}
    paths = write_run(SweepPaths(tmp_path), "tl", status="failed", record=record)
    assert read_run(paths).error == "the training diverged"


def test_diverged_loss_is_nan_and_not_damage(run: RunPaths) -> None:
    table = pd.read_csv(run.loss("cnn"))
    table.loc[3:, "train_loss"] = float("nan")
    write_csv(run.loss("cnn"), table)
    read = read_run(run)
    assert read.finished
    assert read.epochs is not None
    assert np.isnan(read.epochs["train_loss"]).sum() == 5


def test_split_with_one_class_has_no_roc_and_auc(run: RunPaths) -> None:
    points = {"fpr": [None, None], "tpr": [0.0, 1.0], "thresholds": [float("inf"), 0.2]}
    write_csv(run.roc("cnn", "test"), pd.DataFrame(points))
    change_json(run.metrics, lambda value: value["test"].update(auc=None, specificity=None))
    read = read_run(run)
    assert read.finished
    assert read.metric("test", "auc") is None


def test_deleted_model_is_not_damage(run: RunPaths) -> None:
    assert not run.model.exists()
    assert read_run(run).finished


def test_table_that_is_an_epoch_ahead_is_read(tmp_path: Path) -> None:
    """The run wrote one of its tables while it was read."""
    paths = write_run(SweepPaths(tmp_path), "tl", FakeRun(epochs=3), status="running")
    write_csv(paths.auc("tl"), pd.read_csv(paths.auc("tl"))[:2])
    read = read_run(paths)
    assert read.error is None
    assert read.epochs is not None
    assert read.epochs["epoch"].tolist() == [1, 2, 3]
    assert np.isnan(read.epochs["val_auc"]).tolist() == [False, False, True]


def test_running_run_without_a_lease_is_lost(tmp_path: Path) -> None:
    paths = write_run(SweepPaths(tmp_path), "tl", status="running")
    assert read_run(paths).status == "lost"
    hold_lease(paths)
    assert read_run(paths).status == "running"


def test_run_is_cancelled_until_it_starts_again(tmp_path: Path) -> None:
    paths = write_run(SweepPaths(tmp_path), "tl", status="interrupted")
    assert read_run(paths, cancelled=1).status == "cancelled"
    assert read_run(paths, cancelled=-1).status == "interrupted"


@pytest.mark.parametrize("attempts", [[{"started": 1, "node": "n"}], [{"node": "n"}], ["attempt"]])
def test_invalid_attempts_are_damage(run: RunPaths, attempts: list[Any]) -> None:
    change_json(run.record, lambda value: value.update(attempts=attempts))
    assert read_run(run).status == "damaged"


def test_usage_is_computed_from_attempts(run: RunPaths) -> None:
    assert read_run(run).usage == resource_usage([ended_attempt("12_0")])


@pytest.mark.parametrize("done", ["3", None, True])
def test_invalid_progress_is_ignored(tmp_path: Path, done: Any) -> None:
    paths = write_run(SweepPaths(tmp_path), "tl", status="running")
    progress = TrainingProgress(3, 8, 0, 20.0, 2, 0.7, 0.6, None)
    write_progress(paths, progress)
    assert read_run(paths).progress == progress
    change_json(paths.progress, lambda value: value.update(done=done))
    assert read_run(paths).progress is None


def test_flatten_joins_keys_with_dots() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": None}}, "e": [2]}) == {
        "a.b": 1,
        "a.c.d": None,
        "e": [2],
    }


def test_record_with_unknown_keys_is_read(run: RunPaths) -> None:
    change_json(run.record, lambda value: value.update(new_key=1))
    read = read_run(run)
    assert read.finished
    assert read.record is not None
    write_record(run, read.record)  # the record can be written again
