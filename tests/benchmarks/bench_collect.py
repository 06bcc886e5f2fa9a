"""How long the collector takes over sweeps of made-up runs, and how much memory."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import sweep_commands
from tests.benchmarks.markdown_table import TIMES, Table, number, times
from tests.benchmarks.process_monitor import Spent, measure_process
from tests.benchmarks.synthetic_sweep import DRAWN, EPOCHS, IMAGES, finish, make
from tests.benchmarks.timing import Sample, heavy_imports, progress

if TYPE_CHECKING:
    from xray_hpc.records.paths import SweepPaths

SIZES = (3, 100, 1000, 10_000)
ONCE = 10_000  # so many runs are collected once only
STEPS = 1000  # so many are collected again, and after one more
SETTLED_SECONDS = 3  # what changed less long ago is read again


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """One table: sweeps of ``SIZES``, the large ones again and after one more run."""
    table = Table(
        "Collecting",
        "`python -m xray_hpc.collect` over sweeps of finished runs with made-up numbers: "
        f"{EPOCHS} epochs, {IMAGES['validation']:,} validation and {IMAGES['test']:,} test scores "
        f"each. {DRAWN} runs have numbers of their own, the others are copies of these. "
        f"{sweep_commands.ABOUT} Start-up is included. "
        "Memory is the most that all processes together had "
        "resident; what they share counts in each.",
        ("runs", *TIMES, "CPU-ms a run", "MB"),
    )
    for size in SIZES:
        for what, spent in _spent(folder / "collect", size, 1 if size >= ONCE else repeat):
            samples = [Sample(one.wall, one.cpu) for one in spent]
            each = 1000 * statistics.median(one.cpu for one in spent) / size
            most = max(one.peak for one in spent) / 1e6
            table.rows.append((what, *times(samples), number(each), number(most)))
    sweep, _ = make(folder / "collect" / "loads", 3)
    heavy_imports(_words(sweep))
    loads = ", ".join(heavy_imports(_words(sweep))) or "none"
    table.remarks.append(f"Of the large libraries it loads where nothing is new: {loads}.")
    yield table


def _spent(folder: Path, size: int, repeat: int) -> Iterator[tuple[str, Sequence[Spent]]]:
    progress(f"writing {size:,} runs")
    sweep, more = make(folder / str(size), size, repeat)
    time.sleep(SETTLED_SECONDS)
    progress(f"collecting {size:,} runs")
    yield f"{size:,}", [_collected(sweep, anew=True) for _ in range(repeat)]
    if size >= STEPS:
        yield f"{size:,} again, nothing new", [_collected(sweep) for _ in range(repeat)]
        yield f"{size:,} and one more", [_collected(sweep, one_more=name) for name in more]
    shutil.rmtree(sweep.folder)


def _collected(sweep: SweepPaths, *, anew: bool = False, one_more: str | None = None) -> Spent:
    if anew:
        shutil.rmtree(sweep.report, ignore_errors=True)
    if one_more:
        finish(sweep, one_more)
    return measure_process(("-m", *_words(sweep)), {})


def _words(sweep: SweepPaths) -> tuple[str, str]:
    return "xray_hpc.collect", str(sweep.folder)
