"""Tests of reading damaged run folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.fake_runs import FakeRun, change_json, write_run
from xray_hpc.records.atomic_files import write_csv
from xray_hpc.records.paths import SPLITS, RunPaths, SweepPaths
from xray_hpc.report.read_run import read_run

Damage = Callable[[RunPaths], object]


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
@given(garbage=st.binary(max_size=200), which=st.integers(0, 9))
def test_arbitrary_file_content_does_not_raise(
    finished_run: RunPaths, tmp_path_factory: pytest.TempPathFactory, garbage: bytes, which: int
) -> None:
    copy = RunPaths(tmp_path_factory.mktemp("copy") / finished_run.name)
    shutil.copytree(finished_run.folder, copy.folder)
    [*results(copy), copy.record][which].write_bytes(garbage)
    assert read_run(copy).status in ("damaged", "finished")  # any mapping is a valid config


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda run: run.record.write_text("{"), "run.json is not JSON"),
        (lambda run: run.record.write_text("[]"), "run.json is not a JSON object"),
        (lambda run: run.record.write_text("{}"), "run.json does not match its checksum"),
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
        (lambda run: run.config.write_text("a: [1"), "config.yaml, line 2: not valid YAML"),
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
            lambda run: run.scores("cnn", "test").write_text("y_true,y_scores,logit\n1,0.5,0\n"),
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
            "cnn_test_yscores.csv has 6 cells for 5 columns in row 2",
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
            "unreadable: cnn_test_roc.csv (Is a directory)",
        ),
    ],
)
def test_damage_is_reported(run: RunPaths, damage: Damage, reason: str | None) -> None:
    damage(run)
    read = read_run(run)
    state = "finished" if reason is None else "damaged"
    assert read.status == ("unreadable" if (reason or "").startswith("unreadable") else state)
    assert (read.error or "").startswith(reason or "")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda run: replace_text(run.scores("lung", "test"), "_Normal,", "_Healthy,"),
            "lung_test_yscores.csv has no column y_scores_Normal",
        ),
        (
            lambda run: replace_text(run.roc("lung", "test"), ",score_of\n", ",kind\n"),
            "lung_test_roc.csv has no column score_of",
        ),
        (
            lambda run: write_csv(
                run.roc("lung", "test"),
                pd.read_csv(run.roc("lung", "test")).query("score_of != 'Covid'"),
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
