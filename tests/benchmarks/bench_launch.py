"""Measure the steps of a launch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.benchmarks import launch_steps, paused_cluster, sweep_commands
from tests.benchmarks.markdown_table import TIMES, Table, times
from tests.benchmarks.paused_cluster import SkippedError, start_paused_cluster
from tests.benchmarks.timing import Sample, heavy_imports, log_progress, run_python, time_call

SIZE = 1000


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield one table: the steps of a launch."""
    table = Table(
        f"Steps of a launch of {SIZE:,} runs",
        "Measured within the process, including programs that it waits for; `all` is the whole "
        f"process, measured from outside. {paused_cluster.ABOUT}",
        ("step", *TIMES),
    )
    loads = heavy_imports(sweep_commands.command(folder / "warm", sweep_commands.SIZES[0], "none"))
    table.remarks.append(f"Large libraries imported: {', '.join(loads) or 'none'}.")
    try:
        measured = _measure_steps(folder / "launch", repeat)
    except SkippedError as reason:
        table.rows.append((f"skipped: {reason}", "-", "-"))
    else:
        table.rows += [(step, *times(samples)) for step, samples in measured.items()]
    yield table


def _measure_steps(folder: Path, repeat: int) -> dict[str, list[Sample]]:
    """Return the samples of each step and of the whole launch."""
    measured: dict[str, list[Sample]] = {}
    with start_paused_cluster(folder) as cluster:
        for i in range(repeat):
            log_progress(f"the steps of a launch of {SIZE} runs, {i + 1} of {repeat}")
            file = folder / f"{i}.json"
            arguments = sweep_commands.command(folder / f"results-{i}", SIZE)[1:]
            command = ("-m", launch_steps.__name__, str(time.monotonic()), str(file))
            whole = time_call(partial(run_python, *command, *arguments, **cluster.environment))
            cluster.empty()
            for step, (wall, cpu) in json.loads(file.read_text()).items():
                measured.setdefault(step, []).append(Sample(wall, cpu))
            measured.setdefault("all", []).append(whole)
    return measured
