"""Measure the memory of a sweep whose trainings run side by side.

``XRAY_HPC_IMAGES=5000 python -m tests.benchmarks --only memory`` sets the number of images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.markdown_table import SPREAD, Table, spread
from tests.benchmarks.process_monitor import ResourceUse, measure_process
from tests.benchmarks.timing import log_progress

IMAGES = int(os.environ.get("XRAY_HPC_IMAGES", "500"))
SIZE, BATCH, RUNS = 96, 32, 4


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield one table: the same runs one after another, and all at the same time."""
    table = Table(
        "Memory of a sweep",
        f"A local launch of {RUNS} runs of `cnn`, one epoch on {IMAGES:,} demo images at {SIZE} px "
        f"(RGB) in batches of {BATCH}, from drawing the images to the report. The peak of the "
        "proportional set sizes (PSS) of all processes: memory that several share, such as the "
        "image store, counts once.",
        ("runs at the same time", f"GB: {SPREAD}", f"wall s: {SPREAD}"),
    )
    for parallel in (1, RUNS):
        samples = []
        for i in range(repeat):
            log_progress(f"memory: {parallel} of {RUNS} runs at the same time")
            samples.append(_launch(folder, f"memory-{parallel}-{i}", parallel))
        peaks = spread(sample.peak / 1e9 for sample in samples)
        table.rows.append((str(parallel), peaks, spread(sample.wall for sample in samples)))
    yield table


def _launch(folder: Path, name: str, parallel: int) -> ResourceUse:
    words = (
        *("model=cnn", "data=demo", f"data.demo_images={IMAGES}", f"data.image_size={SIZE}"),
        *("data.channels=3", f"train.batch_size={BATCH}", "train.epochs=1"),
        *(f"seed={','.join(map(str, range(RUNS)))}", "cluster=local", f"name={name}"),
        *(f"cluster.parallel={parallel}", f"results={folder}", f"cache={folder / 'cache'}"),
    )
    return measure_process(("-m", "xray_hpc.launch", "-m", *words), {}, shared_once=True)
