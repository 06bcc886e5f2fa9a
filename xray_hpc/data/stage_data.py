"""Prepare a data set before the runs: decode its images, write its index and figures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xray_hpc.config.run_config import AugmentConfig, DataConfig
from xray_hpc.config.schema import build
from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.data import augmentation_figure, dataset_figures, dataset_summary
from xray_hpc.data.augmentation_figure import NamedAugmentation
from xray_hpc.data.dataset import load_indexed
from xray_hpc.data.index import Index, build_index
from xray_hpc.errors import UserError
from xray_hpc.figure_files import save_figure
from xray_hpc.records.atomic_files import write_csv
from xray_hpc.records.frozen_run import FrozenRun, read_frozen_run
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.resources import resource


def stage_data(
    config: DataConfig,
    cache: Path,
    sweep: SweepPaths,
    shown: Sequence[NamedAugmentation],
    seed: int,
) -> Path:
    """Decode the images of ``config``, print a summary, and write index and figures.

    Args:
        shown: the augmentations of ``augmentations.png``, which is omitted if none has an effect.
        seed: the seed of their random draws.

    Returns:
        The folder of index and figures, ``results/<sweep>/data/<key>/``.

    Raises:
        UserError: the data is invalid.
    """
    index = build_index(config, cache)
    dataset = load_indexed(index, config, cache)
    print(dataset_summary.summary_text(dataset, index), flush=True)
    folder = sweep.data / _key(index, config)
    write_csv(folder / "index.csv", dataset_summary.index_table(dataset))
    dataset_figures.write_figures(dataset, folder)
    changing = [item for item in shown if item.crop < 1 or not item.augment.identity]
    if changing:
        drawn = augmentation_figure.augmentation_figure(dataset, config, changing, seed)
        save_figure(drawn, folder / "augmentations.png", dpi=augmentation_figure.DPI, grey=True)
    print(f"index and figures: {folder}", flush=True)
    return folder


def build_augmentation(values: Mapping[str, Any]) -> AugmentConfig:
    """Build the augmentation of an ``augment`` section, leaving out its number of views."""
    return build(AugmentConfig, {k: v for k, v in values.items() if k != "views"}, "augment")


def used_augmentations(sweep: SweepPaths, run: FrozenRun) -> list[NamedAugmentation]:
    """Return the distinct augmentations of the sweep's runs on the same images as ``run``.

    Each has the name of its file in ``conf/augment``, or ``"as given"``. Runs whose configuration
    cannot be read are ignored.
    """
    files = sorted((resource("conf") / "augment").glob("*.yaml"))
    names = {build_augmentation(read_yaml(file)): file.stem for file in files}
    used: dict[NamedAugmentation, None] = {}
    for folder in sorted(path.parent for path in sweep.runs.glob("*/config.yaml")):
        try:
            other = read_frozen_run(RunPaths(folder))
        except UserError:
            continue
        data, augment = other.config.data, replace(other.config.augment, views=None)
        if other.inputs.data == run.inputs.data and replace(data, crop=1.0) == replace(
            run.config.data, crop=1.0
        ):
            used[NamedAugmentation(names.get(augment, "as given"), augment, data.crop)] = None
    return sorted(used, key=lambda item: (item.name, item.crop))


def _key(index: Index, config: DataConfig) -> str:
    """Return a short hash of the images and their split."""
    drawn = (config.split, config.validation_fraction, config.split_seed, config.per_class)
    return hashlib.sha256(f"{index.store_key(config)} {drawn}".encode()).hexdigest()[:8]
