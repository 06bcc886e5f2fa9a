"""Sweeps of finished runs with made-up numbers: a few are drawn, the others are copies of these."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import sweep_commands

if TYPE_CHECKING:
    from xray_hpc.records.paths import RunPaths, SweepPaths

DRAWN = 40
# What a run on the real set has: the images of its random split, and of the test.
IMAGES = {"validation": 1043, "test": 624}
EPOCHS = 50


def make(folder: Path, size: int, more: int = 0) -> tuple[SweepPaths, list[str]]:
    """A sweep of ``size`` runs, and the names of ``more`` that :func:`finish` can add to it."""
    from tests.report.fake_sweeps import write_ledger
    from xray_hpc.records.paths import SweepPaths

    sweep = SweepPaths(folder)
    sweep.runs.mkdir(parents=True)
    words = sweep_commands.jobs(-(-(size + more) // 100) * 100)[: size + more]
    names = [f"ft-{number:08x}" for number in range(size + more)]
    runs = dict(zip(names, words, strict=True))
    write_ledger(sweep, {name: runs[name] for name in names[:size]})
    for name in names:
        _copy(sweep.run(name), runs[name])
    for name in names[size:]:
        sweep.run(name).folder.rename(folder / name)
    return sweep, names[size:]


def finish(sweep: SweepPaths, name: str) -> None:
    """Put one more run into the sweep."""
    (sweep.folder / name).rename(sweep.run(name).folder)


def _copy(run: RunPaths, words: list[str]) -> None:
    """Write a finished run of these overrides, with the numbers of one that was drawn."""
    model = _drawn(run.sweep.folder.parent / "drawn")[int(run.name[3:], 16) % DRAWN]
    run.folder.mkdir()
    for file in os.listdir(model.folder):
        shutil.copyfile(model.folder / file, run.folder / file)
    said = dict(word.split("=") for word in words)
    values = {key.rpartition(".")[2]: value for key, value in said.items()}
    del values["model"]
    values["learning_rate"] = f"{float(values['learning_rate']):.1e}"  # YAML reads 1e-6 as a text
    lines = model.config.read_text().splitlines()
    run.config.write_text("".join(f"{_with(line, values)}\n" for line in lines))
    run.record.write_text(run.record.read_text().replace(model.name, run.name))


def _with(line: str, values: Mapping[str, str]) -> str:
    head = line.split(":")[0]
    return f"{head}: {values[head.strip()]}" if head.strip() in values else line


@functools.cache
def _drawn(folder: Path) -> list[RunPaths]:
    from tests.report.fake_runs import FakeRun, write_run
    from xray_hpc.records.paths import SweepPaths

    sweep = SweepPaths(folder)
    return [
        write_run(
            sweep,
            "ft",
            FakeRun(skill=1 + seed % 20 / 10, epochs=EPOCHS, images=IMAGES, seed=seed),
            train__epochs=EPOCHS,
            seed=seed,
        )
        for seed in range(DRAWN)
    ]
