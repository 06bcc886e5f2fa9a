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
from dataclasses import replace
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
from killing import End, Ended, Trainer

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
# One kill in each place, in the order of a run; what is being written is torn in two.
KILLS = {
    "a half-written run.json": End("start", 2, "open temporary run.json", torn=0.5),
    "in the middle of an epoch": End("step", 2, "before"),
    "a half-written checkpoint": End("checkpoint", 2, "open checkpoint/temporary", torn=0.5),
    "a checkpoint just in place": End("checkpoint", 0, "os.remove checkpoint/temporary"),
    "in the middle of a validation": End("validation", 0, "after on_predict_batch_end"),
    "half-written weights": End("best weights", 1, "open checkpoints/temporary", torn=0.5),
    "between two tables": End("tables", 0, "os.remove temporary cnn_loss"),
    "between two epochs": End("training", 0, "os.rename temporary progress.json"),
    "in the middle of a prediction": End("evaluation", 0, "after on_predict_batch_end"),
    "a half-written figure": End("evaluation", 2, "open figures/temporary", torn=0.5),
    "a half-written model": End("export", 0, "os.rename temporary model.keras", torn=0.5),
    "after the last file": End("before finished", 0, "open run.json"),
    "just finished": End("finished", 0, "run.json says so"),
    "half of the checkpoints removed": End("finished", 0, "os.remove epoch"),
}
PLACES = tuple(dict.fromkeys(end.place for end in KILLS.values()))

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


def weights(paths: RunPaths) -> dict[str, npt.NDArray[np.float32]]:
    """Those of the saved model, by their names in its archive."""
    found = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.size:
            found[name] = item[()]

    with (
        zipfile.ZipFile(paths.model) as archive,
        archive.open("model.weights.h5") as file,
        h5py.File(file) as arrays,
    ):
        arrays.visititems(visit)
    return found


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


SMALL = RunConfig(
    data=data("cnn"),
    model=MODELS["cnn"],
    augment=AugmentConfig(rotation=10, zoom=0.2),
    train=TrainConfig(
        epochs=2,
        batch_size=8,
        learning_rate=1e-3,
        keep="last",
        save_best=True,
        reduce_lr=ReduceLROnPlateauConfig("val_loss", patience=0, min_delta=100.0),
        early_stopping=None,
    ),
    seed=3,
)


def checkpointed(config: RunConfig, steps: int | None) -> RunConfig:
    """The same run, with a checkpoint every so many steps."""
    train = replace(config.train, checkpoint=CheckpointConfig(steps, seconds=None))
    return replace(config, train=train)


@pytest.fixture(scope="module")
def alone(trainer: Trainer, new_run: NewRun) -> RunPaths:
    paths = new_run(SMALL)
    ended = trainer.train(paths)
    assert ended.code == 0, ended.output
    return paths


def test_a_run_killed_in_each_place_of_all_ends_with_the_same_files(
    trainer: Trainer, new_run: NewRun, alone: RunPaths
) -> None:
    paths = new_run(checkpointed(SMALL, steps=2))
    for where, end in KILLS.items():
        ended = trainer.train(paths, end)
        assert ended.code == -9, f"{where}: {ended.output}"
        assert end.counts(ended.events[-1]), where
        assert is_finished(paths) == (end.place == "finished"), where
        if end.place == "finished":
            assert_same_files(paths, alone)
    assert trainer.train(paths).code == 0
    assert_same_files(paths, alone)
    assert_sound(paths)


def test_a_run_told_to_end_loses_no_step(
    trainer: Trainer, new_run: NewRun, alone: RunPaths
) -> None:
    paths = new_run(checkpointed(SMALL, steps=None))
    step = "before on_train_batch_end"
    first = trainer.train(paths, End("step", 5, step, by="SIGTERM"))
    assert first.code == 143
    told = re.search(r"told to end; (step ./4 of epoch 2/2) is done", first.output)
    assert told, first.output
    then = trainer.train(paths)
    assert f"going on after {told[1]}" in then.output
    assert sum(event.what == step for event in first.events + then.events) == 8
    assert_same_files(paths, alone)


# With Adam a change of replicas shows more: where a gradient is nearly zero, its rounding errors
# are scaled up to a share of the learning rate.
REPLICATED = replace(SMALL, train=replace(SMALL.train, optimizer="sgd"))


@pytest.fixture(scope="module")
def on_two(trainer: Trainer, new_run: NewRun) -> RunPaths:
    paths = new_run(REPLICATED)
    ended = trainer.train(paths, replicas=2)
    assert ended.code == 0, ended.output
    return paths


@pytest.mark.parametrize(("first", "then"), [(2, 2), (2, 1), (1, 2)])
def test_a_run_killed_on_some_replicas_goes_on_with_others(
    trainer: Trainer, new_run: NewRun, on_two: RunPaths, first: int, then: int
) -> None:
    paths = new_run(checkpointed(REPLICATED, steps=1))
    assert trainer.train(paths, End("step", 6, "before"), replicas=first).code == -9
    ended = trainer.train(paths, replicas=then)
    assert "going on after step " in ended.output
    mine, expected = weights(paths), weights(on_two)
    assert mine.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(mine[name], values, rtol=0, atol=1e-6, err_msg=name)
    for table in (paths.loss("cnn"), paths.auc("cnn"), paths.scores("cnn", "test")):
        one, other = (pd.read_csv(folder / table.name) for folder in (paths.folder, on_two.folder))
        pd.testing.assert_frame_equal(one, other, rtol=0, atol=1e-6)
    if first == then:
        assert_same_files(paths, on_two)
