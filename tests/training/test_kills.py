"""A run that is really killed, anywhere and again and again, ends with the files of one that was
left alone.

``XRAY_HPC_KILLS=50`` draws so many examples of each model; ``--hypothesis-show-statistics`` tells
where their processes ended.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, note, settings
from hypothesis import strategies as st

from xray_hpc.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    EarlyStoppingConfig,
    ModelConfig,
    ReduceLROnPlateauConfig,
    RunConfig,
    TrainConfig,
)
from xray_hpc.data.index import scan
from xray_hpc.models.registry import weights_digests
from xray_hpc.runs.files import is_leftover
from xray_hpc.runs.frozen import FrozenRun, Inputs, read_frozen, write_frozen
from xray_hpc.runs.paths import RunPaths
from xray_hpc.runs.progress import read_progress
from xray_hpc.runs.record import RunRecord, Status, read_record, write_record

sys.path.insert(0, str(Path(__file__).parent))
from killing import End, Ended, Event, Trainer  # noqa: E402

HEAD = {"head_units": 8, "head_dropout": 0.3}
MODELS = {
    "cnn": ModelConfig("cnn"),
    "tl": ModelConfig("tl", "demo", "demo", **HEAD),
    "ft": ModelConfig("ft", "demo", "demo", unfreeze=8, **HEAD),
    "stacked": ModelConfig("stacked", backbones={"demo": "demo", "mobilenet_v2": "none"}),
    "vgg": ModelConfig("vgg"),
    "conv": ModelConfig("conv", preprocessing="midrange", output="softmax"),
    "lung": ModelConfig("lung"),
}
PLACES = (
    "start",
    "training",
    "step",
    "checkpoint",
    "validation",
    "best weights",
    "tables",
    "evaluation",
    "export",
    "before finished",
    "finished",
)

NewRun = Callable[[RunConfig], RunPaths]


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    with Trainer() as started:
        yield started


@pytest.fixture(scope="module")
def new_run(tmp_path_factory: pytest.TempPathFactory) -> NewRun:
    results = tmp_path_factory.mktemp("results")

    def new(config: RunConfig) -> RunPaths:
        cache = results / ".cache"
        inputs = Inputs(scan(config.data, cache).fingerprint, weights_digests(config.model))
        run = FrozenRun(config, inputs, cache)
        sweep = f"sweep-{len(list(results.iterdir()))}"
        paths = RunPaths(results / sweep / "runs" / run.name)
        write_frozen(paths, run)
        epochs = config.train.epochs
        write_record(paths, RunRecord(run.name, sweep, config.model.name, epochs=epochs))
        return paths

    return new


def data(model: str) -> DataConfig:
    """Sixty images: four batches of eight train, two validate."""
    return DataConfig(
        source="demo",
        image_size=48 if model == "conv" else 32,
        channels=1,
        split="patient",
        validation_fraction=0.2,
        split_seed=0,
        demo_images=60,
        demo_seed=0,
        demo_classes=3 if model == "lung" else 2,
    )


MONITORS = st.sampled_from(["val_loss", "val_accuracy", "val_auc"])
TRAINING = st.builds(
    TrainConfig,
    epochs=st.integers(2, 4),
    batch_size=st.sampled_from([8, 12]),
    learning_rate=st.just(1e-3),
    optimizer=st.sampled_from(["adam", "rmsprop", "sgd"]),
    balance=st.sampled_from(["none", "class_weights", "sampling"]),
    keep=st.one_of(MONITORS, st.just("last")),
    save_best=st.booleans(),
    # With so much to gain an epoch, training stops early, and the learning rate falls.
    early_stopping=st.none()
    | st.builds(EarlyStoppingConfig, MONITORS, st.integers(1, 2), st.sampled_from([0.0, 100.0])),
    reduce_lr=st.none()
    | st.builds(
        ReduceLROnPlateauConfig,
        MONITORS,
        patience=st.integers(0, 1),
        min_delta=st.sampled_from([0.0, 100.0]),
        cooldown=st.integers(0, 1),
    ),
    mixed_precision=st.sampled_from([False, False, False, True]),
    checkpoint=st.builds(
        CheckpointConfig,
        steps=st.none() | st.integers(1, 6),
        seconds=st.sampled_from([None, None, 0.2]),
    ),
)
AUGMENTS = st.just(AugmentConfig()) | st.just(
    AugmentConfig(rotation=10, zoom=0.2, height_shift=0.1, mirror=True, brightness=0.2)
)


@st.composite
def ends(draw: st.DrawFn, counts: Counter[str]) -> End:
    """How a process ends: at any of the events that ``counts`` numbers by their places."""
    place = draw(st.sampled_from([place for place in PLACES if counts[place]]))
    number = draw(st.integers(0, counts[place] - 1))
    how = draw(st.sampled_from(["kill", "torn", "later", "told"]))
    if how == "torn":
        return End(place, number, torn=draw(st.floats(0, 1)))
    if how == "later":
        return End(place, number, after=draw(st.floats(0, 0.1)))
    return End(place, number, by="SIGTERM" if how == "told" else "SIGKILL")


def contents(paths: RunPaths) -> dict[str, bytes]:
    """The bytes of each file that a run leaves, without those that tell the time.

    Nor the checkpoints; and a temporary ``run.json`` is left to the worker.
    """
    return {
        path.relative_to(paths.folder).as_posix(): path.read_bytes()
        for path in paths.folder.rglob("*")
        if path.is_file()
        and path not in (paths.config, paths.record, paths.progress)
        and path.parent != paths.state
        and not (is_leftover(path) and path.name.endswith(paths.record.name))
    }


def assert_same_files(paths: RunPaths, expected: RunPaths) -> None:
    mine, theirs = contents(paths), contents(expected)
    assert mine.keys() == theirs.keys()
    assert [name for name in theirs if mine[name] != theirs[name]] == []


def is_finished(paths: RunPaths) -> bool:
    record = read_record(paths)
    return record is not None and record.status is Status.FINISHED


def assert_sound(paths: RunPaths) -> None:
    """A finished run's tables have each epoch once; what it says of itself is true."""
    record, progress = read_record(paths), read_progress(paths)
    assert record is not None
    assert progress is not None
    assert record.status is Status.FINISHED
    assert (record.failure, record.error) == (None, None)
    assert record.ended is not None
    assert record.seconds is not None
    assert record.seconds_per_epoch is not None
    assert record.seconds > record.seconds_per_epoch > 0
    metrics = json.loads(paths.metrics.read_text())
    name = read_frozen(paths).config.model.name
    for table in (paths.accuracy(name), paths.loss(name), paths.auc(name)):
        assert list(pd.read_csv(table)["epoch"]) == list(range(metrics["epochs"]))
    assert progress.done == metrics["epochs"]
    assert progress.best_epoch == metrics["best_epoch"]
    assert not paths.state.exists()


def train_through(trainer: Trainer, paths: RunPaths, ends: Sequence[End]) -> list[Ended]:
    """Start the training again after each of its ends, until it is finished; what each was."""
    done = []
    for end in [*ends, None]:
        ended = trainer.train(paths, end)
        assert ended.code in (0, -9, 143), ended.output
        assert "Traceback" not in ended.output
        done.append(ended)
        if ended.code == 0:
            break
    return done


@pytest.mark.parametrize("model", MODELS)
@settings(
    max_examples=int(os.environ.get("XRAY_HPC_KILLS", "1")),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example takes many seconds
    suppress_health_check=[HealthCheck.too_slow],
)
@given(drawn=st.data())
def test_a_run_killed_anywhere_ends_with_the_same_files(
    trainer: Trainer, new_run: NewRun, model: str, drawn: st.DataObject
) -> None:
    assume(drawn.draw(st.integers(0, 999)))  # the simplest example comes first: not much happens
    config = RunConfig(
        data=data(model),
        model=MODELS[model],
        augment=drawn.draw(AUGMENTS),
        train=drawn.draw(TRAINING),
        seed=drawn.draw(st.integers(0, 99)),
    )
    expected = new_run(config)
    alone = trainer.train(expected)
    assert alone.code == 0, alone.output
    assert_sound(expected)
    counts = Counter(event.place for event in alone.events)
    paths = new_run(config)
    for ended in train_through(
        trainer, paths, drawn.draw(st.lists(ends(counts), min_size=1, max_size=4))
    ):
        note(f"{ended.code} {ended.events[-1]}\n{ended.output}")
        event(f"{ended.code} in {ended.events[-1].place}")
    assert_same_files(paths, expected)
    assert_sound(paths)
