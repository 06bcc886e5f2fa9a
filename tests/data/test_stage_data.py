from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.data.augmentation_figure import NamedAugmentation
from xray_hpc.data.dataset import Dataset, load_indexed
from xray_hpc.data.index import Index, build_index
from xray_hpc.data.index_entry import IgnoredFiles, ignored_line
from xray_hpc.data.stage_data import (
    count_table,
    index_table,
    stage_data,
    summary_text,
    used_augmentations,
)
from xray_hpc.records.frozen_run import FrozenRun, Inputs, write_frozen_run
from xray_hpc.records.paths import SweepPaths

LARCC = AugmentConfig(zoom=0.1, height_shift=0.1, width_shift=0.1)
ODD = AugmentConfig(rotation=3.0)


@pytest.fixture
def make_run(
    tmp_path: Path, data_config: Callable[..., DataConfig]
) -> Callable[[AugmentConfig], FrozenRun]:
    """``make_run(augment, seed=1, crop=0.5)`` freezes a run of the sweep ``tmp_path/sweep``."""

    def make(augment: AugmentConfig, seed: int = 1, data: str = "d", **changes: Any) -> FrozenRun:
        config = RunConfig(
            data=data_config(Path("/xrays"), **changes),
            model=ModelConfig("cnn"),
            augment=augment,
            train=TrainConfig(epochs=1, batch_size=8, learning_rate=1e-3),
            seed=seed,
        )
        run = FrozenRun(config, Inputs(data), tmp_path / "cache")
        write_frozen_run(SweepPaths(tmp_path / "sweep").run(run.name), run)
        return run

    return make


def test_used_augmentations_are_distinct_and_named(
    tmp_path: Path, make_run: Callable[..., FrozenRun]
) -> None:
    run = make_run(LARCC)
    for augment, seed in ((LARCC, 2), (ODD, 1), (AugmentConfig(), 1)):
        make_run(augment, seed=seed)
    make_run(AugmentConfig(shear=5.0), image_size=9)
    make_run(AugmentConfig(shear=5.0), data="other images")
    make_run(LARCC, crop=0.5)
    assert used_augmentations(SweepPaths(tmp_path / "sweep"), run) == [
        NamedAugmentation("as given", ODD, 1.0),
        NamedAugmentation("larcc", LARCC, 0.5),
        NamedAugmentation("larcc", LARCC, 1.0),
        NamedAugmentation("none", AugmentConfig(), 1.0),
    ]


def test_used_augmentations_ignore_a_damaged_config(
    tmp_path: Path, make_run: Callable[..., FrozenRun]
) -> None:
    sweep = SweepPaths(tmp_path / "sweep")
    run, other = make_run(LARCC), make_run(ODD)
    sweep.run(other.name).config.write_text("data: {}\n")
    assert used_augmentations(sweep, run) == [NamedAugmentation("larcc", LARCC, 1.0)]


@pytest.mark.parametrize(("augment", "drawn"), [(AugmentConfig(), False), (LARCC, True)])
def test_stage_data_draws_augmentations_if_any(
    tmp_path: Path, tree: Path, data_config: Callable[..., DataConfig], augment: Any, drawn: bool
) -> None:
    sweep = SweepPaths(tmp_path / "sweep")
    sweep.folder.mkdir()
    shown = [NamedAugmentation("this", augment, 1.0)]
    folder = stage_data(data_config(tree), tmp_path / "cache", sweep, shown, seed=1)
    assert (folder / "augmentations.png").exists() == drawn
    assert (folder / "index.csv").read_text().startswith("file,label,class,patient,split\n")
    assert (folder / "flow.csv").read_text().startswith("stage,split,class,images,patients\n")
    assert (folder / "intensity.csv").read_text().startswith("split,class,images,mean,")
    assert (folder / "flow.svg").read_text().startswith("<svg ")


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


def test_summary_text_lists_counts_and_omitted_files(
    tree: Path, data_config: Callable[..., DataConfig], loaded: tuple[Dataset, Index]
) -> None:
    data, index = loaded
    assert summary_text(data, index, data_config(tree, split="folder")) == (
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
    assert "unused      4 images (data.per_class)\n" in summary_text(data, index, config)
    assert (index_table(data)["split"] == "").sum() == 4


def test_summary_text_counts_validation_images_that_are_split_again(
    tree: Path, data_config: Callable[..., DataConfig], loaded: tuple[Dataset, Index]
) -> None:
    data, index = loaded
    for split, noted in (("patient", True), ("random", True), ("folder", False)):
        text = summary_text(data, index, data_config(tree, split=split))
        assert ("pooled      2 validation images of the data, " in text) == noted


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
