from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from xray_hpc.config.run_config import AugmentConfig, DataConfig
from xray_hpc.data.augmentation_figure import (
    DPI,
    NamedAugmentation,
    augment_rows,
    augmentation_figure,
    describe_augmentation,
    sample_rows,
)
from xray_hpc.data.dataset import Dataset
from xray_hpc.figure_files import save_figure

LARCC = AugmentConfig(zoom=0.1, height_shift=0.1, width_shift=0.1)
REDUCED = AugmentConfig(crop=True, rot90=True, horizontal_flip=True)
EVERYTHING = AugmentConfig(
    rotation=40, zoom=0.3, shear=20, height_shift=0.2, width_shift=0.1, horizontal_flip=True,
    rot90=True, crop=True, brightness=0.3,
)  # fmt: skip


def dataset(classes: tuple[str, ...] = ("NORMAL", "PNEUMONIA"), channels: int = 1) -> Dataset:
    """Return 80 smooth images; those at even positions are for training."""
    noise = np.random.default_rng(0).uniform(0, 255, (80, 20, 20, channels))
    images = ndimage.gaussian_filter(noise, (0, 2, 2, 0)) * 3 - 255
    return Dataset(
        images=np.clip(images, 0, 255).astype(np.uint8),
        labels=np.arange(80) // 2 % len(classes),
        files=[f"{i}.png" for i in range(80)],
        patients=[str(i) for i in range(80)],
        classes=classes,
        splits={"train": np.arange(0, 80, 2), "validation": np.array([1]), "test": np.array([3])},
        fingerprint="f",
        notes=[],
        skipped=[],
        contents="",
    )


@pytest.fixture
def config(data_config: Callable[..., DataConfig]) -> DataConfig:
    return data_config(Path("/xrays"), image_size=20)


def texts(drawn: Figure) -> list[str]:
    return [text.get_text() for text in drawn.texts]


def pictures(drawn: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in drawn.axes]


@pytest.mark.parametrize(("classes", "labels"), [(2, [0, 0, 1, 1]), (3, [0, 1, 2]), (5, range(5))])
def test_sample_rows_cover_every_class(classes: int, labels: list[int]) -> None:
    data = dataset(tuple("abcde"[:classes]))
    rows = sample_rows(data)
    assert data.labels[data.splits["train"][rows]].tolist() == list(labels)
    assert len(set(rows)) == len(rows)


def test_sample_rows_skip_a_class_without_training_images() -> None:
    data = dataset(("A", "B", "C"))
    only = replace(data, splits={**data.splits, "train": np.array([0, 4, 6])})  # of A, C, A
    assert sample_rows(only).tolist() == [2, 1]


def test_augmentation_figure_describes_each_column(config: DataConfig) -> None:
    drawn = augmentation_figure(
        dataset(),
        config,
        [NamedAugmentation("larcc", LARCC, 1), NamedAugmentation("mine", EVERYTHING, 1)],
        7,
    )
    assert texts(drawn) == [
        *("Augmented training images", "in the first epoch, seed=7"),
        "stored",
        *("larcc", "zoom ±10 %", "shift ±10 %", "fill: reflect"),
        *("mine", "rotation ±40°", "zoom ±30 %", "shear ±20°", "height shift ±20 %"),
        *("width shift ±10 %", "random crop", "rot90", "horizontal flip", "brightness ±30 %"),
        *("fill: reflect", "(data.crop=0.85)"),
        *("NORMAL", "PNEUMONIA"),
    ]
    assert len(drawn.axes) == 4 * 3


def test_augmentation_figure_first_column_is_unchanged(config: DataConfig) -> None:
    data = dataset()
    shown = pictures(augmentation_figure(data, config, [NamedAugmentation("larcc", LARCC, 1)], 0))
    stored = {data.images[i].tobytes() for i in data.splits["train"]}
    assert [image.tobytes() in stored for image in shown] == [True] * 4 + [False] * 4


def test_augmentation_figure_outlines_a_common_crop(config: DataConfig) -> None:
    cut = replace(config, crop=0.5)
    drawn = augmentation_figure(
        dataset(),
        cut,
        [NamedAugmentation("none", AugmentConfig(), 0.5), NamedAugmentation("r", REDUCED, 0.5)],
        0,
    )
    assert texts(drawn)[2:7] == ["stored", "dashed:", "data.crop=0.5", "none", "center crop"]
    squares = [axes.patches[0].get_bbox().bounds for axes in drawn.axes if axes.patches]
    assert squares == [(4.5, 4.5, 10, 10)] * 4
    stored, centre = pictures(drawn)[0], pictures(drawn)[4]
    np.testing.assert_array_equal(centre, stored[5:15, 5:15])


def test_augmentation_figure_labels_different_crops(config: DataConfig) -> None:
    drawn = augmentation_figure(
        dataset(),
        config,
        [NamedAugmentation("a", LARCC, 1.0), NamedAugmentation("b", LARCC, 0.5)],
        0,
    )
    assert [text for text in texts(drawn) if "crop" in text] == ["(data.crop=0.5)"]
    assert not any(axes.patches for axes in drawn.axes)


@pytest.mark.parametrize("channels", [1, 3])
def test_augment_rows_match_the_training_batches(channels: int) -> None:
    from xray_hpc.data.input_pipeline import training_batches

    data, rows = dataset(channels=channels), np.array([3, 0, 9, 12])
    train = data.splits["train"]
    drawn = augment_rows(data, rows, 16, EVERYTHING, seed=1, epoch=0)
    ((got, _),) = training_batches(
        data.images, data.labels, train, targets="sigmoid", classes=2, batch_size=40,
        input_size=16, augment=EVERYTHING, balance="none", seed=1, epochs=range(1),
    )  # fmt: skip
    assert {image.tobytes() for image in drawn} <= {image.tobytes() for image in got.numpy()}


def test_describe_augmentation_omits_disabled_operations() -> None:
    assert describe_augmentation(AugmentConfig()) == []
    assert describe_augmentation(REDUCED) == ["random crop", "rot90", "horizontal flip"]


def test_augmentation_figure_file_is_reproducible(tmp_path: Path, config: DataConfig) -> None:
    data = dataset(("$(rm -x)$_1^2", "肺炎"))
    files = [tmp_path / "one.png", tmp_path / "two.png"]
    for file in files:
        save_figure(
            augmentation_figure(data, config, [NamedAugmentation("larcc", LARCC, 1)], 0),
            file,
            dpi=DPI,
            grey=True,
        )
    with Image.open(files[0]) as image:
        assert image.mode == "L"
        assert min(image.size) > 400
    assert files[0].read_bytes() == files[1].read_bytes()
