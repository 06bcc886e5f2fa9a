"""Write large sweeps of fake runs: a few are generated, the others are copies of these."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import sweep_commands

if TYPE_CHECKING:
    from xray_hpc.records.paths import RunPaths, SweepPaths

GENERATED = 40
# The number of images of the random validation split and of the test split of the real data set.
IMAGES = {"validation": 1043, "test": 624}
EPOCHS = 50
# The other files of a run, which only their sizes and checksums are known of.
MODEL_BYTES, FIGURES, FIGURE_BYTES = 1 << 18, 9, 1 << 14


def make_sweep(folder: Path, size: int) -> SweepPaths:
    """Write a sweep of ``size`` runs."""
    from tests.report.fake_sweeps import write_ledger
    from xray_hpc.records.paths import SweepPaths

    sweep = SweepPaths(folder)
    sweep.runs.mkdir(parents=True)
    overrides = sweep_commands.jobs(-(-size // 100) * 100)[:size]
    runs = {f"ft-{i:08x}": overrides[i] for i in range(size)}
    write_ledger(sweep, runs)
    for name, run_overrides in runs.items():
        _copy(sweep.run(name), run_overrides)
    return sweep


def _copy(run: RunPaths, overrides: list[str]) -> None:
    """Write a finished run with these overrides and the numbers of a generated run."""
    source = _generate(run.sweep.folder.parent / "generated")[int(run.name[3:], 16) % GENERATED]
    from xray_hpc.records.run_integrity import result_states
    from xray_hpc.records.run_record import read_record, write_record

    run.folder.mkdir()
    for file in os.listdir(source.folder):
        shutil.copyfile(source.folder / file, run.folder / file)
    values = {
        key.rpartition(".")[2]: value
        for key, value in (override.split("=") for override in overrides)
    }
    del values["model"]
    values["learning_rate"] = (
        f"{float(values['learning_rate']):.1e}"  # YAML parses 1e-6 as a string
    )
    lines = source.config.read_text().splitlines()
    run.config.write_text("".join(f"{_set_value(line, values)}\n" for line in lines))
    run.model.write_bytes(os.urandom(MODEL_BYTES))
    run.summary.write_text("layers\n")
    run.figures.mkdir()
    for number in range(FIGURES):
        (run.figures / f"{number}.png").write_bytes(os.urandom(FIGURE_BYTES))
    record = read_record(source)
    assert record is not None
    files = result_states(run, record.model)
    write_record(run, dataclasses.replace(record, run=run.name, files=files))


def _set_value(line: str, values: Mapping[str, str]) -> str:
    head = line.split(":")[0]
    return f"{head}: {values[head.strip()]}" if head.strip() in values else line


@functools.cache
def _generate(folder: Path) -> list[RunPaths]:
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
        for seed in range(GENERATED)
    ]
