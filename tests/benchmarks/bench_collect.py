"""Measure the time and memory of the collector on sweeps of fake runs."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import sweep_commands
from tests.benchmarks.markdown_table import TIMES, Table, number, times
from tests.benchmarks.process_monitor import ResourceUse, measure_process
from tests.benchmarks.synthetic_sweep import EPOCHS, GENERATED, IMAGES, make_sweep
from tests.benchmarks.timing import Sample, heavy_imports, log_progress

if TYPE_CHECKING:
    from xray_hpc.records.paths import SweepPaths

SIZES = (3, 100, 1000, 10_000)
ONCE = 10_000  # sweeps of this size are collected only once
LARGE = 1000  # sweeps of this size are also collected again, when no figure changed


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield one table: sweeps of ``SIZES``, large ones also again."""
    table = Table(
        "Collecting",
        "`python -m xray_hpc.collect` on sweeps of finished runs with random numbers: "
        f"{EPOCHS} epochs, {IMAGES['validation']:,} validation and {IMAGES['test']:,} test scores "
        f"each. {GENERATED} runs have their own numbers, the others are copies. "
        f"{sweep_commands.ABOUT} Start-up is included. "
        "Memory is the peak resident memory of all processes; shared memory counts in each.",
        ("runs", *TIMES, "CPU-ms per run", "MB"),
    )
    for size in SIZES:
        for what, usage in _measurements(folder / "collect", size, 1 if size >= ONCE else repeat):
            samples = [Sample(one.wall, one.cpu) for one in usage]
            per_run = 1000 * statistics.median(one.cpu for one in usage) / size
            peak = max(one.peak for one in usage) / 1e6
            table.rows.append((what, *times(samples), number(per_run), number(peak)))
    sweep = make_sweep(folder / "collect" / "loads", 3)
    heavy_imports(_command(sweep))
    loads = ", ".join(heavy_imports(_command(sweep))) or "none"
    table.remarks.append(f"Large libraries imported if no run is new: {loads}.")
    yield table


def _measurements(
    folder: Path, size: int, repeat: int
) -> Iterator[tuple[str, Sequence[ResourceUse]]]:
    log_progress(f"writing {size:,} runs")
    sweep = make_sweep(folder / str(size), size)
    log_progress(f"collecting {size:,} runs")
    yield f"{size:,}", [_collect(sweep, from_scratch=True) for _ in range(repeat)]
    if size >= LARGE:
        yield f"{size:,} again, nothing new", [_collect(sweep) for _ in range(repeat)]
    shutil.rmtree(sweep.folder)


def _collect(sweep: SweepPaths, *, from_scratch: bool = False) -> ResourceUse:
    if from_scratch:
        shutil.rmtree(sweep.report, ignore_errors=True)
    return measure_process(("-m", *_command(sweep)), {})


def _command(sweep: SweepPaths) -> tuple[str, str]:
    return "xray_hpc.collect", str(sweep.folder)
