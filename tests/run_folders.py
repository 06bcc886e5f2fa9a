"""Sweep folders and fake Slurm commands for tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.records import ledger
from xray_hpc.records.json_record import write_json_record
from xray_hpc.records.paths import SPLITS, RunPaths, SweepPaths
from xray_hpc.records.run_metrics import ClassMetrics, RunMetrics, SplitMetrics
from xray_hpc.records.run_progress import TrainingProgress, write_progress
from xray_hpc.records.run_record import ErrorInfo, RunRecord, Status, write_record

HOUR = ("2026-01-01T12:00:00+00:00", "2026-01-01T13:00:00+00:00")
FAILED = ErrorInfo("ValueError", "crop must be below 1")


def split_metrics(classes: Sequence[str] = ("NORMAL", "PNEUMONIA"), **known: Any) -> SplitMetrics:
    """Return metrics of ten images of the first class; only the ``known`` ones are not ``None``."""
    rows = [[10] + [0] * (len(classes) - 1), *([0] * len(classes) for _ in classes[1:])]
    unknown = dict.fromkeys(field.name for field in dataclasses.fields(SplitMetrics))
    per_class = {name: ClassMetrics(10, None, None, None, None) for name in classes}
    counts = {"images": 10, "per_class": per_class, "confusion": rows}
    return SplitMetrics(**(unknown | {"accuracy": 0.5, "loss": 0.5, "tied": 0.0} | counts | known))


def run_metrics(
    validation: Mapping[str, Any] | None = None,
    test: Mapping[str, Any] | None = None,
    classes: Sequence[str] = ("NORMAL", "PNEUMONIA"),
    **known: Any,
) -> RunMetrics:
    """Return the metrics of a run, as :func:`split_metrics` does those of its splits."""
    defaults: dict[str, Any] = {
        "threshold": 0.5 if len(classes) == 2 else None,
        **{"best_epoch": 4, "epochs": 8, "stopped_early": False},
        **{"parameters": 100, "trainable_parameters": 10, "flags": []},
    }
    return RunMetrics(
        classes=list(classes),
        validation=split_metrics(classes, **validation or {}),
        test=split_metrics(classes, **test or {}),
        **defaults | known,
    )


class Sweep:
    """A sweep folder to which a test adds runs."""

    def __init__(self, folder: Path) -> None:
        self.paths = SweepPaths(folder)
        self.paths.runs.mkdir(parents=True)

    def add(self, name: str, *overrides: str, epochs: int = 10, **fields: Any) -> RunPaths:
        """Add a run with these overrides; ``fields`` are the fields of its record."""
        ledger.append(self.paths, "planned", runs={name: list(overrides)})
        paths = self.paths.run(name)
        paths.folder.mkdir()
        model = name.split("-")[0]
        record = RunRecord(
            name, self.paths.name, model, overrides=list(overrides), epochs=epochs, **fields
        )
        write_record(paths, record)
        return paths

    def finished(self, name: str, *overrides: str, **fields: Any) -> RunPaths:
        """Add a finished run with all its files."""
        paths = self.add(name, *overrides, status=Status.FINISHED, **fields)
        model = name.split("-")[0]
        for path in (paths.accuracy(model), paths.loss(model), paths.auc(model)):
            path.touch()
        for split in SPLITS:
            paths.scores(model, split).touch()
            paths.roc(model, split).touch()
        metrics = run_metrics(validation={"accuracy": 0.875, "auc": 0.9375})
        write_json_record(paths.metrics, metrics)
        return paths

    def submitted(self, job: str, *tasks: Sequence[str], kind: str = "runs") -> None:
        """Add an accepted submission named ``s<job>`` to the ledger."""
        listed = [list(runs) for runs in tasks] or [[]]
        ledger.append(self.paths, "submitting", submission=f"s{job}", kind=kind, tasks=listed)
        ledger.append(self.paths, "submitted", submission=f"s{job}", job=job)


def trained(paths: RunPaths, done: int, **fields: Any) -> None:
    """Write the progress of a run after ``done`` of 10 epochs."""
    start = TrainingProgress(done, 10, 0, 60.0, 1, 0.75, 0.5, 0.8125)
    write_progress(paths, dataclasses.replace(start, **fields))


class Programs:
    """Fake Slurm commands in the only folder on ``PATH``, which record their calls."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", str(folder))

    def say(self, name: str, *lines: str, code: int = 0, before: str = "") -> None:
        """Make a command print lines; ``before`` is shell code to run first."""
        output = "".join(f"echo '{line}'\n" for line in lines)
        record = f"echo {name} $* >> {self.folder}/calls\n"
        program = self.folder / f".{name}"
        program.write_text(f"#!/bin/bash\n{record}{before}\n{output}exit {code}\n")
        program.chmod(0o755)
        program.replace(self.folder / name)  # another process may be calling it

    def queue(self, **jobs: str) -> None:
        """Make ``squeue`` list jobs: ``j17_3="RUNNING|None|gpu-01|1:00"``."""
        self.say(
            "squeue",
            *(
                f"{job.lstrip('j')}|{what}|/results/slurm/s{job.lstrip('j').split('_')[0]}/job.sh"
                for job, what in jobs.items()
            ),
        )

    def calls(self, name: str) -> list[str]:
        """Return the arguments of its calls, oldest first."""
        calls = self.folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line.partition(" ")[2] for line in lines if line.split()[0] == name]
