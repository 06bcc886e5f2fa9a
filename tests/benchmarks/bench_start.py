"""Measure the start-up of commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.markdown_table import TIMES, Table, times
from tests.benchmarks.timing import heavy_imports, run_python, time_python

COMMANDS = (
    "xray_hpc.launch --help",
    "xray_hpc.launch --cfg job",
    "xray_hpc.train --help",
    "xray_hpc.stage --help",
    "xray_hpc.collect --help",
)
SCALE = ("pass", "import hydra", "import pandas", "import tensorflow")


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield one table: the commands, then plain imports for scale."""
    table = Table(
        "Start-up",
        "Each command in its own process, with compiled modules in the page cache. `loads` lists "
        "the large libraries that it has imported when it ends.",
        ("command", *TIMES, "loads"),
    )
    for command in COMMANDS:
        words = command.split()
        loads = heavy_imports(words)  # also fills the caches
        if "tensorflow" in loads:
            table.remarks.append(f"`python -m {command}` imports TensorFlow, which it must not.")
        samples = time_python(("-m", *words), repeat)
        table.rows.append((f"`python -m {command}`", *times(samples), ", ".join(loads) or "none"))
    for code in SCALE:
        run_python("-c", code)
        samples = time_python(("-c", code), repeat)
        table.rows.append((f"for scale: `python -c '{code}'`", *times(samples), ""))
    yield table
