"""Keras callbacks that report progress: lines in the log, and ``progress.json``."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

import keras

from xray_hpc.printable import unescaped
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import TrainingProgress, write_progress
from xray_hpc.training.epoch_callbacks import BestWeights, EpochTables, Logs


class ProgressLine(keras.callbacks.Callback):
    """Print one line per epoch; within a long epoch also a bar, or a line every 30 seconds."""

    def __init__(self, epochs: int, steps: int, *, bar: bool) -> None:
        super().__init__()
        self.epochs = epochs
        self.steps = steps
        self.bar = bar
        self.interval = 0.2 if bar else 30.0
        self.last_time = self.epoch_began = time.monotonic()
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch = epoch
        self.last_time = self.epoch_began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        now = time.monotonic()
        if now - self.last_time < self.interval:
            return
        self.last_time = now
        line = f"epoch {self.epoch + 1}/{self.epochs} step {batch + 1}/{self.steps}"
        if self.bar:
            filled = round(30 * (batch + 1) / self.steps)
            bar = f"{line} [{'=' * filled}{' ' * (30 - filled)}]\r"
            print(bar, end="", file=unescaped(sys.stdout), flush=True)
        else:
            print(line, flush=True)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        assert logs is not None
        print(
            f"epoch {epoch + 1}/{self.epochs} loss {logs['loss']:.4f} "
            f"accuracy {logs['accuracy']:.3f} val_loss {logs['val_loss']:.4f} "
            f"val_accuracy {logs['val_accuracy']:.3f} val_auc {logs['val_auc']:.3f} "
            f"lr {logs['learning_rate']:.2e} "
            f"{time.monotonic() - self.epoch_began:.1f} s".ljust(79 if self.bar else 0),
            flush=True,
        )


class ProgressFile(keras.callbacks.Callback):
    """Update ``progress.json`` after each epoch, with the metrics of the best epoch.

    Place it after the callback that restores the checkpoint.

    Args:
        paths: where the file is.
        best_weights: knows the best epoch.
        tables: hold the history.
        epochs: number of epochs.
        epochs_before: how many epochs earlier attempts completed; the last one perhaps in part.
        clock: returns the training time in seconds, over all attempts.
    """

    def __init__(
        self,
        paths: RunPaths,
        best_weights: BestWeights,
        tables: EpochTables,
        epochs: int,
        epochs_before: float,
        clock: Callable[[], float],
    ) -> None:
        super().__init__()
        self.paths = paths
        self.best_weights = best_weights
        self.tables = tables
        self.epochs = epochs
        self.epochs_before = epochs_before
        self.clock = clock
        self.first = 0
        self.began = 0.0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.first = len(self.tables.history)
        self.began = self.clock()
        if self.first:
            self._write(self.began / self.first)
        else:
            self.paths.progress.unlink(missing_ok=True)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        epochs = epoch + 1 - self.epochs_before
        self._write((self.clock() - self.began) / epochs if epochs else 0.0)

    def _write(self, seconds_per_epoch: float) -> None:
        best = self.tables.history[self.best_weights.epoch]
        write_progress(
            self.paths,
            TrainingProgress(
                done=len(self.tables.history),
                epochs=self.epochs,
                first=self.first,
                seconds_per_epoch=seconds_per_epoch,
                best_epoch=self.best_weights.epoch + 1,
                val_accuracy=best["val_accuracy"],
                val_loss=best["val_loss"],
                val_auc=None if math.isnan(best["val_auc"]) else best["val_auc"],
            ),
        )
