"""Train a few steps of a run over and over, with checkpoints and without, and time what they take.

python -m tests.benchmarks.checkpoint_overhead RUN SECONDS REPEAT FILE

What was timed goes into ``FILE``. Training is a real one's: its model, its images, its loop over
steps and its checkpoints; only its epochs have no end.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from tests.benchmarks.timing import Sample, cpu_seconds, repeated
from xray_hpc.config.train_config import CheckpointConfig
from xray_hpc.data.dataset import load_dataset
from xray_hpc.records.frozen_run import FrozenRun, read_frozen_run
from xray_hpc.records.paths import RunPaths
from xray_hpc.training.callbacks import BestWeights
from xray_hpc.training.checkpoint import CheckpointCallback, capture, restore, restore_metrics
from xray_hpc.training.checkpoint_store import Checkpoint, CheckpointStore, Position
from xray_hpc.training.loop import run_epochs
from xray_hpc.training.strategy import make_strategy
from xray_hpc.training.train_run import prepare_devices
from xray_hpc.training.training_model import make_training_model

PARTS_REPEAT = 5
FEWEST_STEPS = 4
ENDLESS = 1_000_000
PLACE = Position(0, 1)


@dataclass(frozen=True)
class CountedFiles(CheckpointStore):
    """Knows how many it has written."""

    written: list[Position] = field(default_factory=list)

    def save(self, state: Checkpoint) -> None:
        super().save(state)
        self.written.append(state.position)


class WaitedFor(CheckpointCallback):
    """Knows how many seconds training has waited for it."""

    waited = 0.0

    def save_if_due(self) -> None:
        began = time.perf_counter()
        super().save_if_due()
        self.waited += time.perf_counter() - began


class TimeIsUpError(Exception):
    """It has been trained for as long as it was to be."""


class Until(keras.callbacks.Callback):
    """Ends a training after so many seconds, and knows what its steps took.

    The first one is left out: it waits for the first images.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.steps = -1
        self.began = Sample(0, 0)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.steps += 1
        if self.steps == 0:
            self.began = Sample(time.perf_counter(), cpu_seconds())
        elif self.steps >= FEWEST_STEPS and self.sample().wall >= self.seconds:
            raise TimeIsUpError

    def sample(self) -> Sample:
        """What it has taken from the end of the first step until now."""
        wall, cpu = time.perf_counter(), cpu_seconds()
        return Sample(wall - self.began.wall, cpu - self.began.cpu)


class Steps:
    """A model in training."""

    def __init__(self, run: FrozenRun) -> None:
        self.config = run.config
        self.data = load_dataset(run.config.data, run.cache)
        self.training_model = make_training_model(run.config, self.data, make_strategy(), run.cache)
        self.model = self.training_model.trained_model
        self.keep = BestWeights("val_loss")
        self.keep.weights = self.model.get_weights()  # as after an epoch: a checkpoint has them too

    @property
    def in_epoch(self) -> int:
        """How many steps an epoch has."""
        return len(self.data.splits["train"]) // self.config.train.batch_size

    def batches(self, first_step: int = 0) -> tf.data.Dataset:
        """Those of the run."""
        return self.training_model.feed.training(range(10_000), first_step)

    def train(self, seconds: float, every: float | None) -> dict[str, float]:
        """Train for ``seconds``, with a checkpoint as often as ``every`` says; what that took."""
        until = Until(seconds)
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(TimeIsUpError):
            files, config = CountedFiles(Path(folder), {}), CheckpointConfig(seconds=every)
            with WaitedFor(
                files,
                config,
                best_weights=self.keep,
                callbacks=[],
                checkpoint=None,
                clock=float,
                epochs=1,
                steps=ENDLESS,
            ) as checkpointing:
                run_epochs(
                    self.model,
                    self.batches(),
                    [until, checkpointing],
                    start=Position(0, 0),
                    epochs=1,
                    steps=ENDLESS,
                )
        spent = {"waited": checkpointing.waited, "written": len(files.written)}
        return {"steps": until.steps, **asdict(until.sample()), **spent}

    def parts(self) -> dict[str, list[float]]:
        """Seconds on the clock of each thing that is done with a state; ``bytes`` of one."""

        def copied() -> Checkpoint:
            return capture(self.model, [], self.keep.weights, position=PLACE, seconds=0.0)

        def put_back() -> None:
            restore(state, self.model, [])
            restore_metrics(state, self.model)

        state = copied()
        with tempfile.TemporaryDirectory() as folder:
            files = CheckpointStore(Path(folder), {})
            calls = {
                "copy": copied,
                "write": lambda: files.save(state),
                "read": files.load_newest,
                "put back": put_back,
                "first batch": lambda: next(iter(self.batches())),
                "middle batch": lambda: next(iter(self.batches(self.in_epoch // 2))),
            }
            parts = {name: walls(repeated(call, PARTS_REPEAT)) for name, call in calls.items()}
            (file,) = Path(folder).iterdir()
            return parts | {"bytes": [file.stat().st_size]}


def walls(samples: list[Sample]) -> list[float]:
    """Seconds on the clock."""
    return [sample.wall for sample in samples]


def main() -> None:
    """The command."""
    run_folder, seconds, repeat, file = sys.argv[1:]
    prepare_devices(gpus=0)
    run = read_frozen_run(RunPaths(Path(run_folder)))
    steps = Steps(run)
    steps.train(0, None)  # traces the graph
    usual = run.config.train.checkpoint.seconds
    assert usual is not None
    ways = {"never": None, "default": usual, "always": 0.0}
    if 2 * usual > float(seconds):
        del ways["default"]  # hardly one would be written
    spent: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(int(repeat)):
        for way, every in ways.items():
            spent[way].append(steps.train(float(seconds), every))
    found = {"usual": usual, "in_epoch": steps.in_epoch, "parts": steps.parts(), "spent": spent}
    Path(file).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
