"""A run that is killed repeatedly, at any point, ends with the files of an uninterrupted one.

``XRAY_HPC_KILLS=50`` sets the number of examples; ``--hypothesis-show-statistics`` shows where the
processes ended.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, note, settings
from hypothesis import strategies as st

from tests.training.killing import End, Ended, Trainer
from tests.training.small_runs import (
    MODELS,
    SMALL,
    assert_same_files,
    assert_sound,
    checkpointed,
    data,
    is_finished,
    new_run,
)
from xray_hpc.config.run_config import AugmentConfig, RunConfig
from xray_hpc.config.train_config import (
    CheckpointConfig,
    EarlyStoppingConfig,
    ReduceLROnPlateauConfig,
    TrainConfig,
)
from xray_hpc.records import exit_codes
from xray_hpc.records.atomic_files import is_temporary_file
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, read_record, write_record

FEW = 3
EXAMPLES = int(os.environ.get("XRAY_HPC_KILLS", FEW))
MOST = 4 if EXAMPLES > FEW else 2  # kills of a run

# One kill in each phase, in the order of a run; files that are being written are truncated.
KILLS = {
    "a half-written run.json": End("start", 0, "os.rename temporary run.json", torn=0.5),
    "in the middle of an epoch": End("step", 2, "before"),
    "a half-written checkpoint": End("checkpoint", 2, "open checkpoint/temporary", torn=0.5),
    "in the middle of a validation": End("validation", 0, "after predict_batch"),
    "half-written weights": End("best weights", 1, "open checkpoints/temporary", torn=0.5),
    "between two tables": End("tables", 0, "os.remove temporary cnn_loss"),
    "between two epochs": End("training", 0, "os.rename temporary progress.json"),
    "in the middle of a prediction": End("evaluation", 0, "after predict_batch"),
    "a half-written model": End("export", 0, "os.rename temporary model.keras", torn=0.5),
    "a half-written picture": End(
        "explanation", 1, "os.rename figures/worst_misses/temporary", torn=0.5
    ),
    "after the last file": End("before finished", 0, "open run.json"),
    "just finished": End("finished", 0, "run.json says so"),
    "half of the checkpoints removed": End("finished", 0, "os.remove epoch"),
}
PHASES = tuple(dict.fromkeys(end.phase for end in KILLS.values()))


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    with Trainer() as started:
        yield started


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


MONITORS = st.sampled_from(["val_loss", "val_accuracy", "val_auc"])
TRAINING = st.builds(
    TrainConfig,
    epochs=st.integers(2, 3),
    batch_size=st.sampled_from([8, 12]),
    learning_rate=st.just(1e-3),
    optimizer=st.sampled_from(["adam", "rmsprop", "sgd"]),
    balance=st.sampled_from(["none", "class_weights", "sampling"]),
    keep=st.one_of(MONITORS, st.just("last")),
    save_best=st.booleans(),
    # A min_delta of 100 is never reached: training stops early and the learning rate falls.
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
    precision=st.sampled_from([*["float32"] * 4, "mixed_float16", "mixed_bfloat16"]),
    checkpoint=st.builds(
        CheckpointConfig,
        steps=st.none() | st.integers(1, 6),
        seconds=st.sampled_from([None, None, 0.2]),
    ),
)
AUGMENTS = st.just(AugmentConfig()) | st.just(
    AugmentConfig(rotation=10.0, zoom=0.2, height_shift=0.1, horizontal_flip=True, brightness=0.2)
)


# How a process ends: the phase, the fraction of the events of that phase (whose number varies with
# the moments at which checkpoints are due), and the signal.
DRAWN_ENDS = st.tuples(
    st.sampled_from(PHASES),
    st.floats(0, 1, exclude_max=True),
    st.one_of(
        st.just({}),
        st.just({"by": "SIGTERM"}),
        st.builds(lambda fraction: {"torn": fraction}, st.floats(0, 1)),
        st.builds(lambda seconds: {"after": seconds}, st.floats(0, 0.1)),
    ),
)


def train_through(trainer: Trainer, paths: RunPaths, ends: Sequence[End]) -> list[Ended]:
    """Restart the training after each end until it is finished; return how each attempt ended."""
    done = []
    for end in [*ends, None]:
        ended = trainer.train(paths, end)
        assert ended.code in (0, -9, 143), ended.output
        assert "Traceback" not in ended.output
        done.append(ended)
        if ended.code == 0:
            break
    return done


@settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example takes many seconds
    suppress_health_check=[HealthCheck.too_slow],
)
@given(drawn=st.data())
def test_killed_anywhere_a_run_ends_with_the_same_files(
    trainer: Trainer, results: Path, drawn: st.DataObject
) -> None:
    assume(drawn.draw(st.integers(0, 999)))  # skip the simplest example, in which little happens
    model = drawn.draw(st.sampled_from(sorted(MODELS)))
    config = RunConfig(
        data=data(model),
        model=MODELS[model],
        augment=drawn.draw(AUGMENTS),
        train=drawn.draw(TRAINING),
        seed=drawn.draw(st.integers(0, 99)),
    )
    expected = new_run(results, config)
    uninterrupted = trainer.train(expected)
    assert uninterrupted.code == 0, uninterrupted.output
    assert_sound(expected)
    counts = Counter(phase for phase, _ in uninterrupted.events)
    ends = [
        End(phase, int(fraction * counts[phase]), **how)
        for phase, fraction, how in drawn.draw(st.lists(DRAWN_ENDS, min_size=1, max_size=MOST))
    ]
    paths = new_run(results, config)
    for ended in train_through(trainer, paths, ends):
        note(f"{ended.code} {ended.events[-1]}\n{ended.output}")
        event(f"{ended.code} in {ended.events[-1].phase}")
    assert_same_files(paths, expected)
    assert_sound(paths)


@pytest.fixture(scope="module")
def alone(trainer: Trainer, results: Path) -> RunPaths:
    paths = new_run(results, SMALL)
    ended = trainer.train(paths)
    assert ended.code == 0, ended.output
    return paths


def test_killed_in_every_phase_a_run_ends_with_the_same_files(
    trainer: Trainer, results: Path, alone: RunPaths
) -> None:
    paths = new_run(results, checkpointed(SMALL, steps=2))
    for where, end in KILLS.items():
        ended = trainer.train(paths, end, wait=True)
        assert ended.code == -9, f"{where}: {ended.output}"
        assert end.counts(ended.events[-1]), where
        assert is_finished(paths) == (end.phase == "finished"), where
        if end.phase == "finished":
            assert_same_files(paths, alone)
    assert trainer.train(paths).code == 0
    assert_same_files(paths, alone)
    assert_sound(paths)


def test_failing_disk_in_any_phase_is_one_line_and_the_run_ends_with_the_same_files(
    trainer: Trainer, results: Path, alone: RunPaths
) -> None:
    paths = new_run(results, checkpointed(SMALL, steps=2))
    errors = itertools.cycle((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS))
    for number, (where, end) in enumerate(KILLS.items()):
        if end.phase == "finished":
            continue
        passes = number % 2 == 0
        end = End(end.phase, end.number, end.action, error=next(errors), passes=passes)
        before = read_record(paths)
        ended = trainer.train(paths, end, wait=True)
        assert ended.code == exit_codes.STORAGE_ERROR, f"{where}: {ended.output}"
        assert "Traceback" not in ended.output, where
        lines = [line for line in ended.output.splitlines() if " ERROR " in line]
        assert len(lines) == 1, where
        assert str(paths.folder) in lines[0]
        assert os.strerror(end.error or 0) in lines[0]
        assert not is_finished(paths), where
        assert not [path for path in paths.folder.rglob(".*") if is_temporary_file(path)], where
        record = read_record(paths)
        assert record is not None
        if passes:  # else no record can be written either
            assert record.failure == Failure.STORAGE.value, f"{where}: {ended.output}"
            assert before is not None
            write_record(paths, before)
    assert trainer.train(paths).code == 0
    assert_same_files(paths, alone)
    assert_sound(paths)


@pytest.mark.parametrize(
    "end",
    [
        End("validation", 1, "after predict_batch", by="SIGTERM"),
        End("best weights", 0, by="SIGTERM"),
    ],
    ids=["while it validates", "at the end of an epoch"],
)
def test_signal_loses_no_step(trainer: Trainer, results: Path, alone: RunPaths, end: End) -> None:
    paths = new_run(results, checkpointed(SMALL, steps=None))
    first = trainer.train(paths, end)
    assert first.code == 143
    saved = re.search(r"checkpoint saved at (.*)\.", first.output)
    assert saved, first.output
    then = trainer.train(paths)
    assert f"Resuming from {saved[1]}." in then.output
    steps = [action for _, action in first.events + then.events]
    assert steps.count("before on_train_batch_end") == 8
    assert_same_files(paths, alone)
