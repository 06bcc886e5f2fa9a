"""The event files of TensorBoard, after trainings that were killed and resumed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import metadata
from tensorboard.util.tensor_util import make_ndarray

from tests.run_files import differing_files
from tests.training.killing import End, Trainer
from tests.training.small_runs import MODELS, SMALL, assert_sound, checkpointed, new_run
from xray_hpc.config.run_config import RunConfig
from xray_hpc.errors import ConfigError
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_integrity import find_damage
from xray_hpc.records.run_metrics import read_metrics
from xray_hpc.records.run_record import read_record, update_record
from xray_hpc.training.epoch_callbacks import EpochTables
from xray_hpc.training.event_files import TAGS, EventFiles, hyperparameters
from xray_hpc.training.train_run import remove_leftovers


class Case(NamedTuple):
    model: str
    features: Any
    replicas: int


CASES = [Case("ft", "float32", 0), Case("cnn", "off", 2)]


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    with Trainer() as started:
        yield started


def with_event_files(config: RunConfig, wanted: bool = True) -> RunConfig:
    return replace(config, train=replace(config.train, tensorboard=wanted))


@pytest.fixture(scope="module", params=CASES, ids=["cached features", "two replicas"])
def runs(
    request: pytest.FixtureRequest, trainer: Trainer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunPaths, RunPaths]:
    """Return a run that was killed twice and finished, and the same run without event files."""
    case, results = request.param, tmp_path_factory.mktemp("results")
    train = replace(SMALL.train, features=case.features, epochs=3, explain=False)
    config = replace(SMALL, model=MODELS[case.model], train=train)
    if case.features != "off":
        config = replace(config, augment=replace(config.augment, views=2))
    config = checkpointed(config, steps=1)
    paths, plain = new_run(results, with_event_files(config)), new_run(results, config)
    update_record(paths, overrides=[f"model={case.model}", "train.epochs=3", "augment=lung"])
    for end in (End("step", 6, "before"), End("evaluation", 0), None):
        ended = trainer.train(paths, end, replicas=case.replicas, wait=True)
        assert ended.code == (0 if end is None else -9), ended.output
        assert "incomplete" not in ended.output
    assert trainer.train(plain, replicas=case.replicas).code == 0
    return paths, plain


def read_events(paths: RunPaths) -> list[tuple[str, int, Any]]:
    """Return the tag, the step and the value of each summary; hyperparameters as a message."""
    found = []
    for file in paths.event_folder.iterdir():
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.tag == metadata.SESSION_START_INFO_TAG:
                    content = value.metadata.plugin_data.content
                    found.append(
                        (value.tag, 0, metadata.parse_session_start_info_plugin_data(content))
                    )
                else:
                    found.append((value.tag, event.step, make_ndarray(value.tensor).item()))
    return found


def steps(events: list[tuple[str, int, Any]], tag: str) -> list[int]:
    return [step for name, step, _ in events if name == tag]


def values(events: list[tuple[str, int, Any]], tag: str) -> list[float]:
    return [value for name, _, value in events if name == tag]


def test_killed_and_resumed_run_has_each_epoch_once(runs: tuple[RunPaths, RunPaths]) -> None:
    paths, _ = runs
    assert_sound(paths)
    events, model = read_events(paths), paths.name.split("-")[0]
    table = pd.read_csv(paths.loss(model))
    assert values(events, "loss/train") == pytest.approx(list(table["train_loss"]), rel=1e-6)
    assert values(events, "loss/validation") == pytest.approx(list(table["val_loss"]), rel=1e-6)
    # It falls after the second epoch, which does not improve by a min_delta of 100.
    assert values(events, "learning_rate") == pytest.approx([1e-3, 1e-3, 2e-4], rel=1e-6)
    for tag in TAGS.values():
        assert steps(events, tag) == [1, 2, 3]


def test_event_files_have_the_final_metrics_and_hyperparameters_once(
    runs: tuple[RunPaths, RunPaths],
) -> None:
    paths, _ = runs
    events, metrics = read_events(paths), read_metrics(paths)
    assert values(events, "test/auc") == pytest.approx([metrics.test.auc])
    assert values(events, "validation/loss") == pytest.approx([metrics.validation.loss])
    assert steps(events, "test/auc") == [metrics.best_epoch]
    (session,) = (value for tag, _, value in events if tag == metadata.SESSION_START_INFO_TAG)
    found = {
        key: getattr(value, str(value.WhichOneof("kind"))) for key, value in session.hparams.items()
    }
    assert session.group_name
    assert found == {
        "model": paths.name.split("-")[0],
        "train.learning_rate": 1e-3,
        "seed": 3,
        "train.epochs": 3,
        "augment": "lung",
    }


def test_event_files_change_no_result(runs: tuple[RunPaths, RunPaths]) -> None:
    paths, plain = runs
    assert paths.name == plain.name
    # On two replicas, those of the sums of metrics that a checkpoint restores differ by rounding.
    rounded = {"figures/cnn_learning_curve_loss.png", "cnn_loss_per_epoch.csv"}
    assert set(differing_files(paths, plain)) - rounded == {"config.yaml"}


def test_damaged_event_file_is_no_damage_of_the_run(runs: tuple[RunPaths, RunPaths]) -> None:
    paths, _ = runs
    record = read_record(paths)
    assert record is not None
    for file in paths.event_folder.iterdir():
        file.write_bytes(b"damaged")
    assert find_damage(paths, record, whole=True) is None


def event_files(folder: Path) -> EventFiles:
    paths = RunPaths(folder)
    tables = EpochTables(paths, "cnn")
    names = ("epoch", "learning_rate", *EpochTables.METRICS)
    tables.history.append(dict.fromkeys(names, 0.5))
    return EventFiles(paths, SMALL, tables)


def test_event_files_that_cannot_be_written_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callback = event_files(tmp_path)
    callback.paths.event_folder.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        callback.on_train_begin()
        callback.on_epoch_end(0)
        callback.on_train_end()
    (message,) = caplog.messages
    assert message.startswith("The event files of TensorBoard are incomplete: ")


def test_event_files_without_tensorboard_installed_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.plugins.hparams", None)
    with pytest.raises(ConfigError, match=r"train\.tensorboard=true needs .* pip install"):
        event_files(tmp_path)


def test_new_attempt_removes_event_files(tmp_path: Path) -> None:
    callback = event_files(tmp_path)
    callback.on_train_begin()
    callback.on_train_end()
    assert list(callback.paths.event_folder.iterdir())
    remove_leftovers(callback.paths)
    assert not callback.paths.event_folder.exists()


def test_hyperparameters_are_values_of_the_run_and_names_of_groups() -> None:
    config = replace(SMALL, model=MODELS["ft"])
    words = ["model=ft", "model.unfreeze=8", "model.backbones=null", "experiment=larcc"]
    words += ["cluster=slurm", "train.checkpoint.steps=1", "report.images=false", "sweep=seeds"]
    assert hyperparameters(config, [*words, "+train.learning_rates.x=1"]) == {
        "model": "ft",
        "train.learning_rate": 1e-3,
        "seed": 3,
        "model.unfreeze": 8,
        "model.backbones": "null",
        "experiment": "larcc",
        "train.learning_rates.x": "1",
    }
