"""How long a command takes before it does anything, beside what importing TensorFlow takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.markdown_table import TIMES, Table, times
from tests.benchmarks.timing import heavy_imports, python, runs_of

COMMANDS = (
    "xray_hpc.launch --help",
    "xray_hpc.launch --cfg job",
    "xray_hpc.train --help",
    "xray_hpc.stage --help",
    "xray_hpc.collect --help",
)
SCALE = ("pass", "import hydra", "import pandas", "import tensorflow")


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """One table: our commands, then bare imports for scale."""
    table = Table(
        "Start-up",
        "Each command in a process of its own, its modules compiled and in the page cache. "
        "`loads` lists which large libraries it has imported when it ends.",
        ("command", *TIMES, "loads"),
    )
    for command in COMMANDS:
        words = command.split()
        loads = heavy_imports(words)  # also warms the caches
        if "tensorflow" in loads:
            table.remarks.append(f"`python -m {command}` imports TensorFlow, which it must not.")
        samples = runs_of(("-m", *words), repeat)
        table.rows.append((f"`python -m {command}`", *times(samples), ", ".join(loads) or "none"))
    for code in SCALE:
        python("-c", code)
        samples = runs_of(("-c", code), repeat)
        table.rows.append((f"for scale: `python -c '{code}'`", *times(samples), ""))
    yield table
