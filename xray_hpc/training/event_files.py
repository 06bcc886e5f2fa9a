"""Event files of a run: its metrics as TensorBoard reads them.

They are a copy for viewing and not part of the result: they hold times, so that two trainings of a
run do not write the same bytes, and a damaged one does no harm.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from xray_hpc.config.run_config import RunConfig
from xray_hpc.config.train_config import NEUTRAL_KEYS
from xray_hpc.errors import ConfigError
from xray_hpc.records.paths import SPLITS, RunPaths
from xray_hpc.records.run_metrics import MEASURES, RunMetrics
from xray_hpc.records.run_record import read_record
from xray_hpc.shared_folder import make_subfolder
from xray_hpc.training.epoch_callbacks import EpochTables, Logs

logger = logging.getLogger(__name__)

TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/validation",
    "val_auc": "auc/validation",
    "learning_rate": "learning_rate",
}
"""The tag of each column of the history; TensorBoard groups tags by their first part."""
SECTIONS = {"experiment", *(item.name for item in dataclasses.fields(RunConfig))}


class EventFiles(keras.callbacks.Callback):
    """Write the metrics of each epoch, from 1, and the hyperparameters of the run.

    Place it after the callback that restores the checkpoint: an attempt writes the epochs of
    earlier ones again, whose event files are removed when it starts. So each epoch is there once.

    Args:
        paths: the run.
        config: its configuration.
        tables: hold the history.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, paths: RunPaths, config: RunConfig, tables: EpochTables) -> None:
        super().__init__()
        _import_hparams()
        self.paths = paths
        self.tables = tables
        record = read_record(paths)
        self.hyperparameters = hyperparameters(config, record.overrides if record else ())
        self.writer: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        with _failure_logged():
            make_subfolder(self.paths.event_folder)
            self.writer = tf.summary.create_file_writer(str(self.paths.event_folder))
            with self.writer.as_default():
                _import_hparams().hparams(self.hyperparameters, trial_id=self.paths.name)
            self._write(self.tables.history)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.writer is not None:
            with _failure_logged():
                self._write(self.tables.history[-1:])

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.writer is not None:
            with _failure_logged():
                self.writer.close()

    def _write(self, history: Sequence[Mapping[str, float]]) -> None:
        with self.writer.as_default():
            for row in history:
                for column, tag in TAGS.items():
                    _write_scalar(tag, row[column], int(row["epoch"]) + 1)
        self.writer.flush()


def write_final_metrics(paths: RunPaths, metrics: RunMetrics) -> None:
    """Write the metrics of the finished run, ``{split}/{metric}``, at its best epoch."""
    with _failure_logged():
        writer = tf.summary.create_file_writer(str(paths.event_folder))
        with writer.as_default():
            for split in SPLITS:
                for name in MEASURES:
                    value = getattr(metrics.split(split), name)
                    _write_scalar(f"{split}/{name}", value, metrics.best_epoch)
        writer.close()


def hyperparameters(config: RunConfig, overrides: Sequence[str]) -> dict[str, str | float | bool]:
    """Return the model, learning rate and seed of a run, and what its overrides set.

    A key has its value in ``config``. An override of a group, such as ``augment=lung``, has the
    name of its option.
    """
    found: dict[str, str | float | bool] = {
        "model": config.model.name,
        "train.learning_rate": config.train.learning_rate,
        "seed": config.seed,
    }
    for override in overrides:
        key, _, text = override.lstrip("+~").partition("=")
        section, _, rest = key.partition(".")
        if section not in SECTIONS or rest.partition(".")[0] in NEUTRAL_KEYS:
            continue
        value: Any = dataclasses.asdict(config)
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        found[key] = value if isinstance(value, bool | int | float | str) else text
    return found


def _write_scalar(tag: str, value: float | None, step: int) -> None:
    if value is not None and math.isfinite(value):
        tf.summary.scalar(tag, value, step)


def _import_hparams() -> Any:
    """Import TensorBoard's HParams API, which ``tf.summary`` needs too."""
    try:
        from tensorboard.plugins.hparams import api
    except ImportError as error:
        problem = f"train.tensorboard=true needs TensorBoard ({error})"
        raise ConfigError(f"{problem}; install it: pip install tensorboard") from error
    return api


@contextmanager
def _failure_logged() -> Iterator[None]:
    """Log an error of the file system: the run does not need these files."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        logger.warning("The event files of TensorBoard are incomplete: %s", error)
