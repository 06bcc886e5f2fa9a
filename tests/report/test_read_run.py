"""Tests of reading complete, incomplete and damaged run folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.fake_runs import (
    PNEUMONIA,
    THREE_CLASSES,
    FakeRun,
    ended_attempt,
    hold_lease,
    write_run,
)
from xray_hpc.records.atomic_files import write_csv
from xray_hpc.records.paths import SPLITS, RunPaths, SweepPaths
from xray_hpc.records.run_progress import TrainingProgress, write_progress
from xray_hpc.records.run_record import write_record
from xray_hpc.report.csv_columns import row_count
from xray_hpc.report.read_run import flatten, read_run
from xray_hpc.report.resource_usage import resource_usage

Damage = Callable[[RunPaths], object]


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return write_run(SweepPaths(tmp_path), "cnn")


@pytest.fixture
def three_class_run(tmp_path: Path) -> RunPaths:
    """A finished run with three classes."""
    return write_run(SweepPaths(tmp_path), "lung", FakeRun(classes=THREE_CLASSES))


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """A finished run for tests to copy and damage."""
    folder = tmp_path_factory.mktemp("whole")
    return write_run(
        SweepPaths(folder), "cnn", FakeRun(epochs=3, images={"validation": 9, "test": 7})
    )


def results(paths: RunPaths) -> list[Path]:
    """Return the files that the report needs of a finished run."""
    tables = [paths.accuracy("cnn"), paths.loss("cnn"), paths.auc("cnn")]
    tables += [table("cnn", split) for split in SPLITS for table in (paths.scores, paths.roc)]
    return [paths.config, paths.metrics, *tables]


def test_read_finished_run(run: RunPaths) -> None:
    read = read_run(run)
    assert (read.status, read.error, read.finished) == ("finished", None, True)
    assert read.config["train.learning_rate"] == 0.001
    assert read.metric("test", "images") == row_count(read.scores["test"]) == 80
    assert read.epochs is not None
    assert list(read.epochs) == [
        *("epoch", "train_accuracy", "val_accuracy", "train_loss", "val_loss", "val_auc"),
    ]
    assert read.classes == ("NORMAL", PNEUMONIA)
    assert set(read.roc["test"]["class"]) == {PNEUMONIA}


def test_read_run_of_three_classes(three_class_run: RunPaths) -> None:
    read = read_run(three_class_run)
    assert (read.status, read.error) == ("finished", None)
    assert read.classes == THREE_CLASSES
    heads = [f"y_scores_{name}" for name in THREE_CLASSES]
    assert list(read.scores["test"]) == ["file", "patient", "y_true", *heads]
    assert set(read.roc["test"]["class"]) == {*THREE_CLASSES, "micro average", "macro average"}
    assert read.metric("test", "sensitivity") is None
    assert list(read.metric("test", "per_class")) == list(THREE_CLASSES)


def test_classes_are_read_from_scores_without_metrics(three_class_run: RunPaths) -> None:
    three_class_run.metrics.unlink()
    read = read_run(three_class_run)
    assert read.error == "metrics.json is missing"
    assert list(read.scores["test"])[3:] == [f"y_scores_{name}" for name in THREE_CLASSES]
    assert "macro average" in set(read.roc["test"]["class"])


def test_class_names_may_contain_commas_and_quotes(tmp_path: Path) -> None:
    classes = ('Covid, "PCR"', "Normal", "y_scores")
    read = read_run(write_run(SweepPaths(tmp_path), "lung", FakeRun(classes=classes)))
    assert read.finished
    assert list(read.scores["test"])[3:] == [f"y_scores_{name}" for name in classes]


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


@settings(max_examples=40, deadline=None)
@given(removed=st.sets(st.integers(0, 8)))
def test_missing_files_are_named_and_the_others_are_read(
    finished_run: RunPaths, tmp_path_factory: pytest.TempPathFactory, removed: set[int]
) -> None:
    copy = RunPaths(tmp_path_factory.mktemp("copy") / finished_run.name)
    shutil.copytree(finished_run.folder, copy.folder)
    names = [results(copy)[i].name for i in sorted(removed)]
    for name in names:
        (copy.folder / name).unlink()
    read = read_run(copy)
    assert read.status == ("damaged" if names else "finished")
    if names:
        assert read.error is not None
        listed = read.error.removesuffix(" is missing").removesuffix(" are missing")
        assert sorted(listed.split(", ")) == sorted(names)
    assert set(read.scores) == {s for s in SPLITS if copy.scores("cnn", s).exists()}
    assert set(read.roc) == {s for s in SPLITS if copy.roc("cnn", s).exists()}
    assert bool(read.metrics) == copy.metrics.exists()
    assert bool(read.config) == copy.config.exists()


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_truncated_table_is_damage(
    finished_run: RunPaths, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    copy = RunPaths(tmp_path_factory.mktemp("copy") / finished_run.name)
    shutil.copytree(finished_run.folder, copy.folder)
    path = data.draw(st.sampled_from([p for p in results(copy) if p.suffix == ".csv"]))
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    read = read_run(copy)
    assert read.status == "damaged"
    assert path.name in (read.error or "")


@settings(max_examples=60, deadline=None)
@given(
    garbage=st.binary(max_size=200),
    which=st.integers(0, 9),
)
def test_arbitrary_file_content_does_not_raise(
    finished_run: RunPaths, tmp_path_factory: pytest.TempPathFactory, garbage: bytes, which: int
) -> None:
    copy = RunPaths(tmp_path_factory.mktemp("copy") / finished_run.name)
    shutil.copytree(finished_run.folder, copy.folder)
    [*results(copy), copy.record][which].write_bytes(garbage)
    assert read_run(copy).status in ("damaged", "finished")  # any mapping is a valid config


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda run: run.record.write_text("{"), "run.json is not JSON"),
        (lambda run: run.record.write_text("[]"), "run.json is not a JSON object"),
        (lambda run: run.record.write_text("{}"), "run.json: run is missing"),
        (
            lambda run: change_json(run.record, lambda value: value.update(gpus=None)),
            "run.json: gpus is None",
        ),
        (
            lambda run: change_json(run.record, lambda value: value.update(seconds="long")),
            "run.json: seconds is 'long'",
        ),
        (
            lambda run: change_json(run.record, lambda value: value.update(run="cnn-other")),
            "run.json is the record of 'cnn-other'; this folder is a copy",
        ),
        (lambda run: run.config.write_text("a: [1"), "config.yaml is not readable YAML"),
        (lambda run: run.config.write_text("- 1\n"), "config.yaml does not hold a mapping"),
        (lambda run: run.metrics.write_text("nan"), "metrics.json is not JSON"),
        (
            lambda run: change_json(run.metrics, lambda value: value.pop("test")),
            "metrics.json: test is missing",
        ),
        (
            lambda run: change_json(run.metrics, lambda value: value["test"].pop("auc")),
            "metrics.json: test.auc is missing",
        ),
        (
            lambda run: change_json(run.metrics, lambda value: value["test"].update(auc="high")),
            "metrics.json: test.auc is 'high'",
        ),
        (
            lambda run: run.scores("cnn", "test").write_text("y_true,y_scores\n1,0.5\n"),
            "cnn_test_yscores.csv has no column file, patient",
        ),
        (
            lambda run: replace_text(run.scores("cnn", "test"), "\n0,0.", "\n2,0."),
            "cnn_test_yscores.csv has a y_true of 2 for 2 classes",
        ),
        (
            lambda run: replace_text(run.scores("cnn", "test"), "0,0.", "zero,0."),
            "cnn_test_yscores.csv has a y_true that is not a number",
        ),
        (
            lambda run: replace_text(run.scores("cnn", "test"), ".jpeg,", ","),
            None,  # a different file name is valid
        ),
        (
            lambda run: replace_text(run.scores("cnn", "test"), ".jpeg,", ".jpeg,a,"),
            "cnn_test_yscores.csv has 5 cells for 4 columns in row 2",
        ),
        (
            lambda run: replace_text(run.loss("cnn"), "\n3,", "\n2,"),
            "cnn_loss_per_epoch.csv does not count epochs from 0",
        ),
        (
            lambda run: replace_text(run.auc("cnn"), "epoch,val_auc", "epoch,auc"),
            "cnn_auc_per_epoch.csv has no column val_auc",
        ),
        (
            lambda run: change_json(run.metrics, lambda value: value.update(epochs=9)),
            "cnn_accuracy_per_epoch.csv has 8 rows for 9 epochs",
        ),
        (
            lambda run: (run.roc("cnn", "test").unlink(), run.roc("cnn", "test").mkdir()),
            "cnn_test_roc.csv cannot be read (Is a directory)",
        ),
    ],
)
def test_damage_is_reported(run: RunPaths, damage: Damage, reason: str | None) -> None:
    damage(run)
    read = read_run(run)
    assert read.status == ("finished" if reason is None else "damaged")
    assert (read.error or "").startswith(reason or "")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda run: replace_text(run.scores("lung", "test"), "_Normal,", "_Healthy,"),
            "lung_test_yscores.csv has no column y_scores_Normal",
        ),
        (
            lambda run: replace_text(run.roc("lung", "test"), ",class\n", ",kind\n"),
            "lung_test_roc.csv has no column class",
        ),
        (
            lambda run: write_csv(
                run.roc("lung", "test"),
                pd.read_csv(run.roc("lung", "test")).query("`class` != 'Covid'"),
            ),
            "lung_test_roc.csv has no curve of Covid",
        ),
        (
            lambda run: replace_text(run.roc("lung", "test"), "1.0,1.0,", "0.9,1.0,"),
            "lung_test_roc.csv does not end at (1, 1)",
        ),
    ],
)
def test_damage_of_a_run_of_three_classes_is_reported(
    three_class_run: RunPaths, damage: Damage, reason: str
) -> None:
    damage(three_class_run)
    read = read_run(three_class_run)
    assert (read.status, read.error) == ("damaged", reason)


def test_damage_of_an_unfinished_run_keeps_its_status(tmp_path: Path) -> None:
    paths = write_run(SweepPaths(tmp_path), "tl", status="interrupted")
    paths.loss("tl").write_text("epoch,tr")
    read = read_run(paths)
    assert read.status == "interrupted"
    assert read.error == "tl_loss_per_epoch.csv ends in the middle of a line"
    assert read.epochs is not None
    assert list(read.epochs) == ["epoch", "train_accuracy", "val_accuracy", "val_auc"]


def test_table_that_is_an_epoch_ahead_is_read(tmp_path: Path) -> None:
    """The run wrote one of its tables while it was read."""
    paths = write_run(SweepPaths(tmp_path), "tl", FakeRun(epochs=3), status="running")
    write_csv(paths.auc("tl"), pd.read_csv(paths.auc("tl"))[:2])
    read = read_run(paths)
    assert read.error is None
    assert read.epochs is not None
    assert read.epochs["epoch"].tolist() == [0, 1, 2]
    assert np.isnan(read.epochs["val_auc"]).tolist() == [False, False, True]


def test_running_run_without_a_lease_is_lost(tmp_path: Path) -> None:
    paths = write_run(SweepPaths(tmp_path), "tl", status="running")
    assert read_run(paths).status == "lost"
    hold_lease(paths)
    assert read_run(paths).status == "running"


def test_run_is_cancelled_until_it_starts_again(tmp_path: Path) -> None:
    paths = write_run(SweepPaths(tmp_path), "tl", status="interrupted")
    assert read_run(paths, cancelled="2026-11-23T00:00:00+00:00").status == "cancelled"
    assert read_run(paths, cancelled="2026-11-01T00:00:00+00:00").status == "interrupted"


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
