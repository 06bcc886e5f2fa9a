"""Train a few steps of a run repeatedly with and without checkpoints, and measure the cost.

python -m tests.benchmarks.checkpoint_overhead RUN SECONDS REPEAT FILE

The results are written to ``FILE``. Model, images, training loop and checkpoints are those of a
real training; only the epoch is endless.
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

from tests.benchmarks.timing import Sample, cpu_seconds, time_calls
from xray_hpc.config.train_config import CheckpointConfig
from xray_hpc.data.dataset import load_dataset
from xray_hpc.records.frozen_run import FrozenRun, read_frozen_run
from xray_hpc.records.paths import RunPaths
from xray_hpc.training.checkpoint import CheckpointCallback, capture, restore, restore_metrics
from xray_hpc.training.checkpoint_store import Checkpoint, CheckpointStore, Position
from xray_hpc.training.epoch_callbacks import BestWeights
from xray_hpc.training.loop import run_epochs
from xray_hpc.training.strategy import make_strategy
from xray_hpc.training.train_run import prepare_devices
from xray_hpc.training.training_model import make_training_model

REPEATS = 5  # of each part of a checkpoint
MIN_STEPS = 4
ENDLESS = 1_000_000
POSITION = Position(0, 1)


@dataclass(frozen=True)
class CountingStore(CheckpointStore):
    """Records the checkpoints that it saves."""

    written: list[Position] = field(default_factory=list)

    def save(self, state: Checkpoint) -> None:
        super().save(state)
        self.written.append(state.position)


class TimedCheckpointing(CheckpointCallback):
    """Measures how long training waits for it."""

    waited = 0.0

    def save_if_due(self) -> None:
        start = time.perf_counter()
        super().save_if_due()
        self.waited += time.perf_counter() - start


class TimeLimitError(Exception):
    """The training has reached its time limit."""


class StopAfter(keras.callbacks.Callback):
    """Stops a training after a number of seconds, and measures its steps.

    The first step is excluded, because it waits for the first images.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.steps = -1
        self.start = Sample(0, 0)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.steps += 1
        if self.steps == 0:
            self.start = Sample(time.perf_counter(), cpu_seconds())
        elif self.steps >= MIN_STEPS and self.sample().wall >= self.seconds:
            raise TimeLimitError

    def sample(self) -> Sample:
        """Return the time since the end of the first step."""
        wall, cpu = time.perf_counter(), cpu_seconds()
        return Sample(wall - self.start.wall, cpu - self.start.cpu)


class StepTrainer:
    """Trains steps of a run."""

    def __init__(self, run: FrozenRun) -> None:
        self.config = run.config
        self.data = load_dataset(run.config.data, run.cache)
        self.training_model = make_training_model(run.config, self.data, make_strategy(), run.cache)
        self.model = self.training_model.trained_model
        self.best = BestWeights("val_loss")
        self.best.weights = self.model.get_weights()  # part of a checkpoint after an epoch

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps per epoch."""
        return len(self.data.splits["train"]) // self.config.train.batch_size

    def batches(self, first_step: int = 0) -> tf.data.Dataset:
        """Return the training batches of the run."""
        return self.training_model.feed.training(range(10_000), first_step)

    def train(self, seconds: float, interval: float | None) -> dict[str, float]:
        """Train for ``seconds`` with a checkpoint every ``interval`` seconds; return the cost."""
        stop = StopAfter(seconds)
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(TimeLimitError):
            store, config = CountingStore(Path(folder), {}), CheckpointConfig(seconds=interval)
            with TimedCheckpointing(
                store,
                config,
                best_weights=self.best,
                callbacks=[],
                checkpoint=None,
                clock=float,
                epochs=1,
                steps=ENDLESS,
            ) as checkpointing:
                run_epochs(
                    self.model,
                    self.batches(),
                    [stop, checkpointing],
                    start=Position(0, 0),
                    epochs=1,
                    steps=ENDLESS,
                )
        checkpoints = {"waited": checkpointing.waited, "written": len(store.written)}
        return {"steps": stop.steps, **asdict(stop.sample()), **checkpoints}

    def parts(self) -> dict[str, list[float]]:
        """Measure the wall-clock seconds of the parts of a checkpoint, and its ``bytes``."""

        def copy() -> Checkpoint:
            return capture(self.model, [], self.best.weights, position=POSITION, seconds=0.0)

        def restore_all() -> None:
            restore(state, self.model, [])
            restore_metrics(state, self.model)

        state = copy()
        with tempfile.TemporaryDirectory() as folder:
            store = CheckpointStore(Path(folder), {})
            calls = {
                "copy": copy,
                "write": lambda: store.save(state),
                "read": store.load_newest,
                "restore": restore_all,
                "first batch": lambda: next(iter(self.batches())),
                "middle batch": lambda: next(iter(self.batches(self.steps_per_epoch // 2))),
            }
            parts = {name: wall_seconds(time_calls(call, REPEATS)) for name, call in calls.items()}
            (file,) = Path(folder).iterdir()
            return parts | {"bytes": [file.stat().st_size]}


def wall_seconds(samples: list[Sample]) -> list[float]:
    """Return the wall-clock seconds of samples."""
    return [sample.wall for sample in samples]


def main() -> None:
    """Run the command."""
    run_folder, seconds, repeat, file = sys.argv[1:]
    prepare_devices(gpus=0)
    run = read_frozen_run(RunPaths(Path(run_folder)))
    trainer = StepTrainer(run)
    trainer.train(0, None)  # traces the graph
    default = run.config.train.checkpoint.seconds
    assert default is not None
    intervals = {"never": None, "default": default, "always": 0.0}
    if 2 * default > float(seconds):
        del intervals["default"]  # too few would be written
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in intervals}
    for _ in range(int(repeat)):
        for name, interval in intervals.items():
            samples[name].append(trainer.train(float(seconds), interval))
    results = {"interval": default, "parts": trainer.parts(), "samples": samples}
    Path(file).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
