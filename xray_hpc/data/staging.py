"""Packing a data set ahead of the runs, and showing what is in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from xray_hpc.config import DataConfig
from xray_hpc.data import figures, summary
from xray_hpc.data.dataset import load_index
from xray_hpc.data.index import Index, scan
from xray_hpc.runs.paths import SweepPaths


def stage_data(config: DataConfig, cache: Path, sweep: SweepPaths) -> Path:
    """Pack the images of ``config``, print what is in them, and write index and figures.

    Returns:
        The folder of the index and the figures, one a data set: ``results/<sweep>/data/<key>/``.

    Raises:
        UserError: the data cannot be used; the line says why.
    """
    index = scan(config, cache)
    dataset = load_index(index, config, cache)
    print(summary.text(dataset, index), flush=True)
    folder = sweep.data / _key(index, config)
    summary.write_index(dataset, folder / "index.csv")
    figures.write_figures(dataset, folder)
    print(f"index and figures: {folder}", flush=True)
    return folder


def _key(index: Index, config: DataConfig) -> str:
    """Name the images and how they are split."""
    drawn = (config.split, config.validation_fraction, config.split_seed, config.per_class)
    return hashlib.sha256(f"{index.pack_key(config)} {drawn}".encode()).hexdigest()[:8]
