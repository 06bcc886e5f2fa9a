"""The paths of the files of a sweep and of a run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.absolute_path import working_folder
from xray_hpc.errors import StorageError

SPLITS = ("validation", "test")
EXIT_CODE = "exit_code"
"""File in the folder of a features job: its exit code."""
UNRECORDED_END = "unrecorded_end"
"""File ``unrecorded_end.N`` in a submission: why the end of task N is in no ``run.json``."""


class _Child:
    """A path in the folder of a run or a sweep; computed once."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.attribute = attribute

    def __get__(self, instance: RunPaths | SweepPaths, owner: type) -> Path:
        path = instance.__dict__[self.attribute] = instance.folder / self.name
        return path


@dataclass(frozen=True)
class RunPaths:
    """The files of one run: ``results/<sweep>/runs/<model>-<hash>/``."""

    folder: Path

    config = _Child("config.yaml")
    record = _Child("run.json")
    metrics = _Child("metrics.json")
    progress = _Child("progress.json")
    model = _Child("model.keras")
    summary = _Child("model.txt")
    checkpoint_folder = _Child("checkpoint")
    weights_folder = _Child("checkpoints")
    figures = _Child("figures")
    worst_miss_figures = _Child("figures/worst_misses")
    event_folder = _Child("tensorboard")
    log = _Child("log")
    lease = _Child(".lease")

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def sweep(self) -> SweepPaths:
        return SweepPaths(self.folder.parent.parent)

    def epoch_weights(self, epoch: int) -> Path:
        """Return the file of the weights after ``epoch``, from 1."""
        return self.weights_folder / f"epoch-{epoch:04}.weights.h5"

    def accuracy(self, model: str) -> Path:
        return self.folder / f"{model}_accuracy_per_epoch.csv"

    def loss(self, model: str) -> Path:
        return self.folder / f"{model}_loss_per_epoch.csv"

    def auc(self, model: str) -> Path:
        return self.folder / f"{model}_auc_per_epoch.csv"

    def scores(self, model: str, split: str) -> Path:
        return self.folder / f"{model}_{split}_yscores.csv"

    def roc(self, model: str, split: str) -> Path:
        return self.folder / f"{model}_{split}_roc.csv"

    def worst_misses(self, model: str) -> Path:
        return self.folder / f"{model}_worst_misses.csv"


@dataclass(frozen=True)
class SweepPaths:
    """The files of one sweep: ``results/<sweep>/``."""

    folder: Path

    runs = _Child("runs")
    sweep_yaml = _Child("sweep.yaml")
    private_yaml = _Child("private.yaml")
    ledger = _Child("ledger.jsonl")
    lock = _Child(".lock")
    report = _Child("report")
    data = _Child("data")
    slurm = _Child("slurm")
    code = _Child("code")

    @property
    def name(self) -> str:
        return self.folder.name

    def run(self, name: str) -> RunPaths:
        return RunPaths(self.runs / name)


def require_folder(sweep: SweepPaths) -> None:
    """Raise ``StorageError`` if the folder of the sweep is gone."""
    if not os.path.isdir(sweep.folder):
        raise StorageError(f"{sweep.folder} is gone; if it was renamed, use its new name")


def missing_folder(paths: RunPaths) -> str:
    """Return the message for a run whose folder was renamed or removed."""
    return f"{paths.folder} is gone; if it was renamed, launch its sweep from there"


def is_name(value: object) -> bool:
    """Return whether a value from a file may be the name of a run's or a submission's folder.

    A name such as ``../x`` would lead out of the sweep.
    """
    return isinstance(value, str) and re.fullmatch(r"\w[\w.+-]{0,199}", value, re.ASCII) is not None


def display_path(path: Path) -> str:
    """Return a path relative to the current folder if it is inside it, else as it is."""
    try:
        return str(path.relative_to(working_folder()))
    except ValueError:
        return str(path)
