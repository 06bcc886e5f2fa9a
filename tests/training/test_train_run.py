"""One small run: the files in its folder, and that they are the same every time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from tests.run_files import differing_files
from tests.training.small_runs import SMALL, new_run
from xray_hpc.data.dataset import load_dataset
from xray_hpc.metrics import class_logits, class_scores, roc_curves, split_metrics
from xray_hpc.records.frozen_run import FrozenRun, Inputs, read_frozen_run, write_frozen_run
from xray_hpc.records.paths import SPLITS, RunPaths
from xray_hpc.records.run_integrity import find_damage
from xray_hpc.records.run_metrics import read_metrics
from xray_hpc.records.run_record import Status, read_record, write_record
from xray_hpc.training.__main__ import execute_run
from xray_hpc.training.checkpoint_store import Checkpoint, CheckpointStore, Position

LAUNCH = [sys.executable, "-m", "xray_hpc.train"]
WORDS = [
    "model=ft",
    "model.head_units=8",
    "data.demo_images=60",
    "data.image_size=32",
    "train.epochs=3",
    "train.batch_size=8",
    "train.early_stopping.patience=0",
    "augment=larcc",
]


def run_train_command(
    folder: Path, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAUNCH, *WORDS, f"results={folder}", "name=s", *words],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def trained(folder: Path) -> RunPaths:
    done = run_train_command(folder)
    assert done.returncode == 0, done.stderr + done.stdout
    (run,) = (folder / "s" / "runs").iterdir()
    return RunPaths(run)


@pytest.fixture(scope="module")
def again(trained: RunPaths, folder: Path) -> RunPaths:
    """Train the run again elsewhere, after an interruption and with another number of threads."""
    paths = create_run(trained, RunPaths(folder / "again" / "runs" / trained.name), "running")
    lines = trained.accuracy("ft").read_text().splitlines(keepends=True)
    paths.accuracy("ft").write_text("".join(lines[:2]))
    done = run_train_command(folder, "name=again", SLURM_CPUS_PER_TASK="1")
    assert done.returncode == 0, done.stderr
    return paths


@pytest.fixture(scope="module")
def with_user_settings(trained: RunPaths, folder: Path) -> RunPaths:
    """Train the run elsewhere, as a user whose settings change every number or fail."""
    home = folder / "home"
    (home / ".keras").mkdir(parents=True)
    settings = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}
    (home / ".keras" / "keras.json").write_text(json.dumps(settings | {"backend": "jax"}))
    variables = {"KERAS_BACKEND": "jax", "TF_ENABLE_ONEDNN_OPTS": "0"}
    variables["TF_XLA_FLAGS"] = "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"
    (home / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\nsavefig.bbox: tight\n")
    variables |= {"MATPLOTLIBRC": str(home), "MPLCONFIGDIR": "/dev/null/none"}
    variables["MPLBACKEND"] = "module://missing_notebook.backend_inline"
    words = "name=user", f"cache={folder / 'user_cache'}"
    done = run_train_command(folder, *words, HOME=str(home), **variables)
    assert done.returncode == 0, done.stderr
    return RunPaths(folder / "user" / "runs" / trained.name)


def create_run(
    trained: RunPaths, paths: RunPaths, status: str, run: FrozenRun | None = None
) -> RunPaths:
    """Create a run folder as a launch does, for the run of ``trained``."""
    write_frozen_run(paths, run or read_frozen_run(trained))
    record = read_record(trained)
    assert record is not None
    write_record(paths, replace(record, run=paths.name, status=Status(status)))
    return paths


def test_run_folder_has_every_file(trained: RunPaths) -> None:
    files = {p.relative_to(trained.folder).as_posix() for p in trained.folder.rglob("*")}
    explained = pd.read_csv(trained.worst_misses("ft"))
    assert len(explained)
    assert files - {*explained["image"]} == {
        ".lease",
        ".lease/1",
        "config.yaml",
        "run.json",
        "log",
        "progress.json",
        "metrics.json",
        "model.keras",
        "model.txt",
        "ft_accuracy_per_epoch.csv",
        "ft_loss_per_epoch.csv",
        "ft_auc_per_epoch.csv",
        "ft_validation_yscores.csv",
        "ft_validation_roc.csv",
        "ft_test_yscores.csv",
        "ft_test_roc.csv",
        "ft_worst_misses.csv",
        "figures",
        "figures/worst_misses",
        "figures/ft_learning_curve_accuracy.png",
        "figures/ft_learning_curve_loss.png",
        "figures/ft_learning_curve_auc.png",
        "figures/ft_roc_curve_validation.png",
        "figures/ft_roc_curve_test.png",
        "figures/ft_confusion_validation.png",
        "figures/ft_confusion_test.png",
        "figures/model.png",
        "figures/augmented.png",
    }


def test_tables_have_their_names_and_columns(trained: RunPaths) -> None:
    columns = {
        trained.accuracy("ft"): ["epoch", "train_accuracy", "val_accuracy"],
        trained.loss("ft"): ["epoch", "train_loss", "val_loss"],
        trained.auc("ft"): ["epoch", "val_auc"],
        trained.scores("ft", "test"): ["y_true", "y_scores", "logit", "file", "patient"],
        trained.roc("ft", "test"): ["fpr", "tpr", "thresholds"],
    }
    for path, expected in columns.items():
        assert list(pd.read_csv(path).columns) == expected


def test_run_json_has_the_state_of_every_result_file(trained: RunPaths) -> None:
    record = read_record(trained)
    assert record is not None
    files = {path.relative_to(trained.folder).as_posix() for path in trained.folder.rglob("*.*")}
    varying = {"run.json", "progress.json", ".lease"}
    assert set(record.files) == files - varying - {f for f in files if f.startswith(".lease/")}
    assert find_damage(trained, record, whole=True) is None


def test_run_json_has_status_node_and_versions(trained: RunPaths) -> None:
    record = read_record(trained)
    assert record is not None
    assert record.status is Status.FINISHED
    assert record.replicas == 1
    assert record.restarts == 0
    assert record.error is None
    assert record.node
    assert set(record.versions) == {"python", "tensorflow", "keras", "numpy", "opencv"}


def test_user_settings_change_no_byte(
    trained: RunPaths, with_user_settings: RunPaths, folder: Path
) -> None:
    assert set(differing_files(with_user_settings, trained)) <= {"config.yaml"}
    (features,) = (folder / ".cache").glob("features-*.h5")
    assert (folder / "user_cache" / features.name).exists()


@pytest.mark.parametrize("split", SPLITS)
def test_metrics_and_roc_follow_from_the_scores(trained: RunPaths, split: str) -> None:
    table = pd.read_csv(trained.scores("ft", split))
    logits = class_logits(table[["logit"]].to_numpy())
    assert table["y_scores"].tolist() == class_scores(table["logit"]).tolist()
    metrics = read_metrics(trained)
    classes = ("NORMAL", "PNEUMONIA")
    assert metrics.classes == list(classes)
    assert metrics.threshold == 0.5
    assert metrics.split(split) == split_metrics(table["y_true"], logits, classes)
    roc = pd.read_csv(trained.roc("ft", split))
    (curve,) = roc_curves(table["y_true"], logits, classes).values()
    for name, values in zip(roc.columns, curve, strict=True):
        np.testing.assert_allclose(roc[name], values)


def test_best_epoch_has_the_lowest_validation_loss(trained: RunPaths) -> None:
    losses = pd.read_csv(trained.loss("ft"))
    metrics = json.loads(trained.metrics.read_text())
    assert metrics["best_epoch"] == losses["val_loss"].idxmin() + 1
    best = losses["val_loss"].min()
    assert metrics["validation"]["loss"] == pytest.approx(best, abs=1e-6)


def test_saved_model_takes_raw_pixels_and_gives_the_scores(trained: RunPaths) -> None:
    run = read_frozen_run(trained)
    data = load_dataset(run.config.data, run.cache)
    model = keras.models.load_model(trained.model)
    scores = model.predict(data.images[data.splits["test"]], verbose=0)[:, 0]
    table = pd.read_csv(trained.scores("ft", "test"))
    np.testing.assert_allclose(table["y_scores"], scores, atol=1e-6)
    assert table["file"].tolist() == [data.files[i] for i in data.splits["test"]]


def test_some_parameters_are_trainable(trained: RunPaths) -> None:
    metrics = json.loads(trained.metrics.read_text())
    model = keras.models.load_model(trained.model)
    assert metrics["parameters"] == model.count_params()
    assert 0 < metrics["trainable_parameters"] < metrics["parameters"]


@pytest.mark.parametrize(
    "name",
    [
        "ft_accuracy_per_epoch.csv",
        "ft_loss_per_epoch.csv",
        "ft_auc_per_epoch.csv",
        "ft_validation_yscores.csv",
        "ft_test_yscores.csv",
        "ft_test_roc.csv",
        "model.keras",
        "model.txt",
        "figures/ft_learning_curve_loss.png",
        "figures/ft_roc_curve_test.png",
        "figures/ft_confusion_test.png",
        "figures/augmented.png",
    ],
)
def test_run_gives_the_same_bytes_again(trained: RunPaths, again: RunPaths, name: str) -> None:
    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    assert digest(trained.folder / name) == digest(again.folder / name)


def test_interrupted_run_counts_its_restart(again: RunPaths) -> None:
    record = read_record(again)
    assert record is not None
    assert (record.status, record.restarts) == (Status.FINISHED, 1)


def test_changed_images_are_refused(
    folder: Path,
    trained: RunPaths,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = read_frozen_run(trained)
    changed = FrozenRun(run.config, Inputs("0" * 64, run.inputs.weights), run.cache)
    paths = RunPaths(folder / "changed" / "runs" / changed.name)
    create_run(trained, paths, "created", changed)
    assert execute_run(paths) == 2
    assert "have changed since this run was created" in caplog.text
    record = read_record(paths)
    assert record is not None
    assert (record.status, record.failure) == (Status.FAILED, "bad_data")
    assert asdict(record)["error"]["type"] == "DataError"


def test_file_in_the_place_of_a_folder_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    paths = new_run(tmp_path, SMALL)
    paths.checkpoint_folder.touch()

    def train(paths: RunPaths, *, bar: bool) -> None:
        store = CheckpointStore(paths.checkpoint_folder, {})
        store.save(Checkpoint(Position(1, 0), False, 1.0, {}, {}))

    monkeypatch.setattr("xray_hpc.training.train_run.train_run", train)
    assert execute_run(paths) == 2
    assert caplog.messages == [
        f"{paths.checkpoint_folder} is in the way (File exists); remove it and launch again"
    ]
    record = read_record(paths)
    assert record is not None
    assert (record.status, record.failure) == (Status.FAILED, "bad_data")
    paths.checkpoint_folder.unlink()
    assert execute_run(paths) == 0


def test_file_outside_of_the_run_is_a_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = new_run(tmp_path, SMALL)

    def train(paths: RunPaths, *, bar: bool) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other").mkdir()

    monkeypatch.setattr("xray_hpc.training.train_run.train_run", train)
    with pytest.raises(FileExistsError):
        execute_run(paths)
