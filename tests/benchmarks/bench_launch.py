"""Where the time of a launch goes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.benchmarks import launch_steps, paused_cluster, sweep_commands
from tests.benchmarks.markdown_table import TIMES, Table, times
from tests.benchmarks.paused_cluster import SkippedError, start_paused_cluster
from tests.benchmarks.timing import Sample, heavy_imports, progress, python, timed

SIZE = 1000


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """One table: the steps of a launch."""
    table = Table(
        f"Where a launch of {SIZE:,} runs spends its time",
        "Timed within the process, with the programs that it waits for; `all` is the whole "
        f"process, from outside. {paused_cluster.ABOUT}",
        ("step", *TIMES),
    )
    loads = heavy_imports(sweep_commands.command(folder / "warm", sweep_commands.SIZES[0], "none"))
    table.remarks.append(f"Of the large libraries it loads: {', '.join(loads) or 'none'}.")
    try:
        spent = _spent(folder / "launch", repeat)
    except SkippedError as why:
        table.rows.append((f"left out: {why}", "-", "-"))
    else:
        table.rows += [(step, *times(samples)) for step, samples in spent.items()]
    yield table


def _spent(folder: Path, repeat: int) -> dict[str, list[Sample]]:
    """The samples of each step, and of all."""
    spent: dict[str, list[Sample]] = {}
    with start_paused_cluster(folder) as cluster:
        for i in range(repeat):
            progress(f"the steps of a launch of {SIZE} runs, {i + 1} of {repeat}")
            file = folder / f"{i}.json"
            words = sweep_commands.command(folder / f"results-{i}", SIZE)[1:]
            begin = ("-m", launch_steps.__name__, str(time.monotonic()), str(file))
            whole = timed(partial(python, *begin, *words, **cluster.environment))
            cluster.empty()
            for step, (wall, cpu) in json.loads(file.read_text()).items():
                spent.setdefault(step, []).append(Sample(wall, cpu))
            spent.setdefault("all", []).append(whole)
    return spent
