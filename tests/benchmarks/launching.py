"""How long launching takes where nothing is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import sweeps
from measuring import heavy_imports
from table import Table


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """One table: launching with ``cluster=none``, into a new folder and again."""
    table = Table(
        "Launching, nothing started",
        "`python -m xray_hpc.launch -m ... cluster=none`: compose, check and name every run and "
        f"write its folder. {sweeps.ABOUT}",
        sweeps.COLUMNS,
    )
    loads = heavy_imports(sweeps.command(folder / "warm", 3, "none"))
    table.remarks.append(f"Of the large libraries it loads: {', '.join(loads) or 'none'}.")
    for size in sweeps.SIZES:
        results = [folder / f"dry-{size}-{i}" for i in range(repeat)]
        new = [sweeps.launch(path, size, "none") for path in results]
        again = [sweeps.launch(path, size, "none") for path in results]
        table.rows.append(sweeps.row("new", size, new))
        table.rows.append(sweeps.row("the same again", size, again))
    yield table
