from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xray_hpc.config.run_config import DataConfig
from xray_hpc.data.dataset import Dataset, load_indexed
from xray_hpc.data.dataset_summary import (
    count_table,
    ignored_line,
    index_table,
    summary_text,
)
from xray_hpc.data.index import Index, build_index
from xray_hpc.data.index_entry import IgnoredFiles


@pytest.fixture
def loaded(
    tree: Path, tmp_path: Path, data_config: Callable[..., DataConfig]
) -> tuple[Dataset, Index]:
    (tree / "README.txt").touch()
    (tree / "train/NORMAL/IM-0001-0001.jpeg").write_bytes(b"")
    config = data_config(tree, split="folder")
    index = build_index(config, tmp_path)
    return load_indexed(index, config, tmp_path), index


def test_count_table_by_split_and_class(loaded: tuple[Dataset, Index]) -> None:
    table = count_table(loaded[0])
    assert table.columns.tolist() == ["train", "validation", "test", "all"]
    assert table.loc["NORMAL"].tolist() == [19, 1, 3, 23]
    assert table.loc["PNEUMONIA"].tolist() == [20, 1, 3, 24]
    assert table.loc["images"].tolist() == [39, 2, 6, 47]
    assert table.loc["patients"].tolist() == [20, 2, 6, 28]


def test_summary_text_lists_counts_and_omitted_files(loaded: tuple[Dataset, Index]) -> None:
    data, index = loaded
    assert summary_text(data, index) == (
        f"{index.root}  (8x8 pixels, 1 channel, fingerprint {data.fingerprint[:12]})\n"
        "\n"
        "           train  validation  test  all\n"
        "NORMAL        19           1     3   23\n"
        "PNEUMONIA     20           1     3   24\n"
        "images        39           2     6   47\n"
        "patients      20           2     6   28\n"
        "\n"
        "ignored     1 file: 1 outside train, val and test ('README.txt')\n"
        "unreadable  1 unreadable image ('train/NORMAL/IM-0001-0001.jpeg': empty file)\n"
    )


def test_summary_text_counts_unused_images(
    tree: Path, tmp_path: Path, data_config: Callable[..., DataConfig]
) -> None:
    config = data_config(tree, per_class=18, split="folder")
    index = build_index(config, tmp_path)
    data = load_indexed(index, config, tmp_path)
    assert "unused      4 images (data.per_class)\n" in summary_text(data, index)
    assert (index_table(data)["split"] == "").sum() == 4


def test_ignored_line_groups_files_by_reason() -> None:
    ignored = {
        "macOS metadata": IgnoredFiles(5000, ["a", "b"]),
        "no image suffix": IgnoredFiles(1, ["c"]),
    }
    assert ignored_line(ignored) == (
        "5,001 files: 5,000 macOS metadata ('a', 'b', ...), 1 no image suffix ('c')"
    )
    assert ignored_line({}) == "none"


def test_index_table_has_one_row_per_image(loaded: tuple[Dataset, Index]) -> None:
    table = index_table(loaded[0])
    assert table.columns.tolist() == ["file", "label", "class", "patient", "split"]
    first = ["train/NORMAL/IM-0001-0002.jpeg", 0, "NORMAL", "IM-0001", "train"]
    assert table.iloc[0].tolist() == first
    assert table["split"].value_counts().to_dict() == {"train": 39, "test": 6, "validation": 2}
