"""How long the collector takes over sweeps of made-up runs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from measuring import REPOSITORY, heavy_imports, median_cpu, runs_of
from table import TIMES, Table, number, times

SIZES = (3, 30, 300)
# What a run on the real set has: the images of its random split, and of the test.
IMAGES = {"validation": 1046, "test": 624}
EPOCHS = 50


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """One table: sweeps of ``SIZES``."""
    table = Table(
        "Collecting",
        f"`python -m xray_hpc.collect` over sweeps of finished runs with made-up numbers: "
        f"{EPOCHS} epochs, {IMAGES['validation']:,} validation and {IMAGES['test']:,} test "
        "scores each. Start-up is included.",
        ("runs", *TIMES, "CPU-ms a run"),
    )
    for size, sweep in _sweeps(folder / "collect"):
        words = ("xray_hpc.collect", str(sweep))
        if size == SIZES[0]:
            loads = ", ".join(heavy_imports(words)) or "none"
            table.remarks.append(f"Of the large libraries it loads: {loads}.")
        samples = runs_of(("-m", *words), repeat)
        each = 1000 * median_cpu(samples) / size
        table.rows.append((str(size), *times(samples), number(each)))
    yield table


def _sweeps(folder: Path) -> Iterator[tuple[int, Path]]:
    """Sweeps of ``SIZES``: the smaller ones hold the largest one's first runs."""
    sys.path.append(str(REPOSITORY / "tests" / "report"))
    from synthetic import Drawn, plan, write_run

    from xray_hpc.runs.paths import SweepPaths

    largest = SweepPaths(folder / str(SIZES[-1]))
    rates = [digit * 10.0**-exponent for exponent in (6, 5, 4, 3) for digit in (1, 2, 5)]
    runs = {}
    for seed, (depth, rate) in zip(range(SIZES[-1]), product(range(1, 26), rates), strict=False):
        drawn = Drawn(skill=1 + seed % 20 / 10, epochs=EPOCHS, images=IMAGES, seed=seed)
        run = write_run(largest, "ft", drawn, model__unfreeze=depth, train__learning_rate=rate)
        runs[run.name] = [f"train.learning_rate={rate}", f"model.unfreeze={depth}"]
    for size in SIZES:
        sweep = SweepPaths(folder / str(size))
        chosen = dict(list(runs.items())[:size])
        for name in chosen if sweep.folder != largest.folder else ():
            shutil.copytree(largest.run(name).folder, sweep.run(name).folder)
        plan(sweep, chosen)
        yield size, sweep.folder
