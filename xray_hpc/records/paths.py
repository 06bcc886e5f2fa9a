"""The paths of the files of a sweep and of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SPLITS = ("validation", "test")
EXIT_CODE = "exit_code"
"""In the folder of a features job's submission: how it ended."""


@dataclass(frozen=True)
class RunPaths:
    """The files of one run: ``results/<sweep>/runs/<model>-<hash>/``."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def sweep(self) -> SweepPaths:
        return SweepPaths(self.folder.parent.parent)

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def record(self) -> Path:
        return self.folder / "run.json"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.json"

    @property
    def model(self) -> Path:
        return self.folder / "model.keras"

    @property
    def summary(self) -> Path:
        return self.folder / "model.txt"

    @property
    def weights_folder(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def lease(self) -> Path:
        return self.folder / ".lease"

    @property
    def progress(self) -> Path:
        return self.folder / "progress.json"

    @property
    def checkpoint_folder(self) -> Path:
        return self.folder / "checkpoint"

    def epoch_weights(self, epoch: int) -> Path:
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


@dataclass(frozen=True)
class SweepPaths:
    """The files of one sweep: ``results/<sweep>/``."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def run(self, name: str) -> RunPaths:
        return RunPaths(self.runs / name)

    @property
    def sweep_yaml(self) -> Path:
        return self.folder / "sweep.yaml"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    @property
    def lock(self) -> Path:
        return self.folder / ".lock"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def slurm(self) -> Path:
        return self.folder / "slurm"

    @property
    def code(self) -> Path:
        return self.folder / "code"


def display_path(path: Path) -> str:
    """Return a path relative to the current folder if it is inside it, else as it is."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
