"""Prepare a data set before the runs: decode its images, write its index, facts and figures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from xray_hpc.config.dataclass_conversion import build
from xray_hpc.config.run_config import AugmentConfig, DataConfig
from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.count_text import format_count
from xray_hpc.data import augmentation_figure, dataset_figures
from xray_hpc.data.augmentation_figure import NamedAugmentation
from xray_hpc.data.data_facts import flow_table, intensity_table
from xray_hpc.data.dataset import Dataset, load_indexed
from xray_hpc.data.flow_diagram import flow_diagram
from xray_hpc.data.index import Index, build_index
from xray_hpc.data.index_entry import SPLIT_NAMES, describe_skipped, ignored_line
from xray_hpc.errors import UserError
from xray_hpc.figure_files import write_figure
from xray_hpc.package_folders import resource
from xray_hpc.printable import printable
from xray_hpc.records.atomic_files import (
    remove_temporary_files,
    storage_errors,
    write_csv,
    write_text,
)
from xray_hpc.records.file_lock import file_lock
from xray_hpc.records.frozen_run import FrozenRun, read_frozen_run
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.shared_folder import make_subfolder


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
    """
    index = build_index(config, cache)
    dataset = load_indexed(index, config, cache)
    print(summary_text(dataset, index, config), flush=True)
    split = (config.split, config.validation_fraction, config.split_seed, config.per_class)
    key = hashlib.sha256(f"{index.store_key(config)} {split}".encode()).hexdigest()
    folder = sweep.data / key[:8]
    make_subfolder(sweep.data)
    make_subfolder(folder)
    waiting = f"waiting for another process to write {folder}"
    with storage_errors(folder), file_lock(folder / ".lock", message=waiting):
        remove_temporary_files(folder)
        write_csv(folder / "index.csv", index_table(dataset))
        flow = flow_table(dataset, index)
        write_csv(folder / "flow.csv", flow)
        write_text(folder / "flow.svg", flow_diagram(flow))
        write_csv(folder / "intensity.csv", intensity_table(dataset))
        dataset_figures.write_figures(dataset, folder)
        changing = [item for item in shown if item.crop < 1 or not item.augment.identity]
        if changing:
            arguments = dataset, config, changing, seed
            drawing = partial(augmentation_figure.augmentation_figure, *arguments)
            path, dpi = folder / "augmentations.png", augmentation_figure.DPI
            write_figure(path, drawing, dpi=dpi, grey=True)
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
        same_images = replace(data, crop=1.0) == replace(run.config.data, crop=1.0)
        if same_images and other.inputs.data == run.inputs.data:
            used[NamedAugmentation(names.get(augment, "as given"), augment, data.crop)] = None
    return sorted(used, key=lambda item: (item.name, item.crop))


def count_table(dataset: Dataset) -> pd.DataFrame:
    """Count images per class, all images and patients (rows) by split and in total (columns)."""
    used = index_table(dataset).query("split != ''")
    table = pd.crosstab(used["class"], used["split"])
    table = table.reindex(index=dataset.classes, columns=SPLIT_NAMES, fill_value=0)
    table.loc["images"] = table.sum()
    table.loc["patients"] = used.groupby("split")["patient"].nunique()
    table["all"] = table.sum(axis=1)
    table.loc["patients", "all"] = used["patient"].nunique()
    return table


def summary_text(dataset: Dataset, index: Index, config: DataConfig) -> str:
    """Format the counts as a table, followed by the ignored, unreadable and unused files.

    Validation images of the data that were split again with the training images are counted too.
    """
    table = count_table(dataset)
    cells = [["", *map(printable, table.columns)]]
    cells += [[printable(str(name)), *map("{:,}".format, row)] for name, row in table.iterrows()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells
    ]
    size, channels = dataset.images.shape[1], dataset.images.shape[3]
    lines = [
        printable(
            f"{index.root}  ({size}x{size} pixels, {format_count(channels, 'channel')}, "
            f"fingerprint {dataset.fingerprint[:12]})"
        ),
        "",
        *lines,
        "",
        f"ignored     {ignored_line(index.ignored)}",
        f"unreadable  {describe_skipped(dataset.skipped) if dataset.skipped else 'none'}",
    ]
    given = sum(entry.split == "validation" for entry in index.entries)
    if given and config.split != "folder":
        lines.append(
            f"pooled      {format_count(given, 'validation image')} of the data, split again with "
            "its training images (data.split=folder keeps them apart)"
        )
    unused = len(dataset.files) - sum(map(len, dataset.splits.values()))
    if unused:
        lines.append(f"unused      {format_count(unused, 'image')} (data.per_class)")
    return "\n".join(lines) + "\n"


def index_table(dataset: Dataset) -> pd.DataFrame:
    """Return one row per image: file, label, class, patient, split."""
    split = pd.Series("", index=range(len(dataset.files)))
    for name, rows in dataset.splits.items():
        split.iloc[rows] = name
    return pd.DataFrame(
        {
            "file": dataset.files,
            "label": dataset.labels,
            "class": [dataset.classes[label] for label in dataset.labels],
            "patient": dataset.patients,
            "split": split,
        }
    )
