"""Saying how far the training has come: in the log, and in ``progress.json``."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

import keras

from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import Progress, write_progress
from xray_hpc.training.callbacks import EpochTables, Keep, Logs


class ProgressLine(keras.callbacks.Callback):
    """One line an epoch; within a long epoch a bar in a terminal, or a line every 30 seconds."""

    def __init__(self, epochs: int, steps: int, *, bar: bool) -> None:
        super().__init__()
        self.epochs = epochs
        self.steps = steps
        self.every = 0.2 if bar else 30.0
        self.bar = bar
        self.shown = self.began = time.monotonic()
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch = epoch
        self.shown = self.began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        now = time.monotonic()
        if now - self.shown < self.every:
            return
        self.shown = now
        done = f"epoch {self.epoch + 1}/{self.epochs} step {batch + 1}/{self.steps}"
        if self.bar:
            filled = round(30 * (batch + 1) / self.steps)
            sys.stdout.write(f"{done} [{'=' * filled}{' ' * (30 - filled)}]\r")
            sys.stdout.flush()
        else:
            print(done, flush=True)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        assert logs is not None
        print(
            f"epoch {epoch + 1}/{self.epochs} loss {logs['loss']:.4f} "
            f"accuracy {logs['accuracy']:.3f} val_loss {logs['val_loss']:.4f} "
            f"val_accuracy {logs['val_accuracy']:.3f} val_auc {logs['val_auc']:.3f} "
            f"lr {logs['learning_rate']:.2e} "
            f"{time.monotonic() - self.began:.1f} s".ljust(79 if self.bar else 0),
            flush=True,
        )


class ProgressFile(keras.callbacks.Callback):
    """Keep ``progress.json`` true; its measures are those of the kept epoch.

    It goes behind what puts back the state of an earlier process, which has done ``begun`` epochs,
    the last perhaps in part. ``clock`` gives the seconds that the training has taken, in all
    processes.
    """

    def __init__(
        self,
        paths: RunPaths,
        keep: Keep,
        tables: EpochTables,
        epochs: int,
        begun: float,
        clock: Callable[[], float],
    ) -> None:
        super().__init__()
        self.paths = paths
        self.keep = keep
        self.tables = tables
        self.epochs = epochs
        self.begun = begun
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
        epochs = epoch + 1 - self.begun
        self._write((self.clock() - self.began) / epochs if epochs else 0.0)

    def _write(self, seconds_per_epoch: float) -> None:
        best = self.tables.history[self.keep.epoch]
        write_progress(
            self.paths,
            Progress(
                done=len(self.tables.history),
                epochs=self.epochs,
                first=self.first,
                seconds_per_epoch=seconds_per_epoch,
                best_epoch=self.keep.epoch,
                val_accuracy=best["val_accuracy"],
                val_loss=best["val_loss"],
                val_auc=None if math.isnan(best["val_auc"]) else best["val_auc"],
            ),
        )
