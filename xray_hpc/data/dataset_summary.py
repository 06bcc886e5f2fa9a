"""Summary of a data set: counts per class and split, ignored and unreadable files."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from xray_hpc.data.dataset import Dataset
from xray_hpc.data.image_store import describe_skipped
from xray_hpc.data.index import Index
from xray_hpc.data.index_entry import SPLIT_NAMES, IgnoredFiles
from xray_hpc.text import format_count


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


def summary_text(dataset: Dataset, index: Index) -> str:
    """Format the counts as a table, followed by the ignored, unreadable and unused files."""
    table = count_table(dataset)
    cells = [["", *table.columns]]
    cells += [[name, *(f"{value:,}" for value in row)] for name, row in table.iterrows()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells
    ]
    size, channels = dataset.images.shape[1], dataset.images.shape[3]
    lines = [
        f"{index.root}  ({size}x{size} pixels, {format_count(channels, 'channel')}, "
        f"fingerprint {dataset.fingerprint[:12]})",
        "",
        *lines,
        "",
        f"ignored     {ignored_line(index.ignored)}",
        f"unreadable  {describe_skipped(dataset.skipped) if dataset.skipped else 'none'}",
    ]
    unused = len(dataset.files) - sum(map(len, dataset.splits.values()))
    if unused:
        lines.append(f"unused      {format_count(unused, 'image')} (data.per_class)")
    return "\n".join(lines) + "\n"


def ignored_line(ignored: Mapping[str, IgnoredFiles]) -> str:
    """Format as ``"3 files: 2 macOS metadata ('.DS_Store', ...), 1 no image suffix (...)"``."""
    if not ignored:
        return "none"
    parts = []
    for reason, files in ignored.items():
        names = ", ".join(repr(name) for name in files.examples)
        more = ", ..." if files.count > len(files.examples) else ""
        parts.append(f"{files.count:,} {reason} ({names}{more})")
    total = sum(files.count for files in ignored.values())
    return f"{format_count(total, 'file')}: {', '.join(parts)}"


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
