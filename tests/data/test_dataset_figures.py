from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from xray_hpc.data import dataset_figures
from xray_hpc.data.dataset import Dataset
from xray_hpc.data.dataset_figures import (
    class_bars,
    class_pies,
    file_names,
    sample_grid,
    write_figures,
)


def dataset(classes: tuple[str, ...] = ("NORMAL", "PNEUMONIA"), channels: int = 1) -> Dataset:
    """Return 60 training, 20 validation and 20 test images; half are of the last class."""
    last = len(classes) - 1
    labels = np.array([0, 1, last, last] * 25)
    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, channels), np.uint8)
    return Dataset(
        images=images,
        labels=labels,
        files=[f"{i}.png" for i in range(100)],
        patients=[str(i) for i in range(100)],
        classes=classes,
        splits={
            "train": np.arange(60),
            "validation": np.arange(60, 80),
            "test": np.arange(80, 100),
        },
        fingerprint="f",
        notes=[],
        skipped=[],
        contents="",
    )


def texts(figure: Figure) -> set[str]:
    figure.draw_without_rendering()
    return {text.get_text() for text in figure.findobj() if hasattr(text, "get_text")}


def shown(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


@pytest.mark.parametrize("channels", [1, 3])
def test_sample_grid_shows_twelve_images_of_the_class(channels: int) -> None:
    data = dataset(channels=channels)
    pictures = shown(sample_grid(data, "train", 1))
    assert len(pictures) == 12
    of_class = {data.images[i].tobytes() for i in range(60) if data.labels[i] == 1}
    assert len({picture.tobytes() for picture in pictures} & of_class) == 12


def test_sample_grid_of_a_small_class() -> None:
    assert len(shown(sample_grid(dataset(), "test", 0))) == 5


def test_class_bars_show_the_counts_of_each_split() -> None:
    assert {
        "Training data · 80 images",
        "Test set · 20 images",
        "20",
        "60",
        "train 45",
        "validation 15",
        "5",
        "15",
        "NORMAL",
        "PNEUMONIA",
    } <= texts(class_bars(dataset()))


THREE = ("Covid", "Normal", "Viral Pneumonia")


def test_class_bars_three_classes_have_three_colours() -> None:
    figure = class_bars(dataset(THREE))
    assert {"train 15", "train 30", "validation 5", "validation 10", *THREE} <= texts(figure)
    right = figure.axes[1]
    assert len({bar.get_facecolor() for bar in right.patches}) == 3


def test_class_bars_wrap_long_class_names() -> None:
    names = ("Acute respiratory distress syndrome", "Normal")
    assert "Acute respiratory\ndistress syndrome" in texts(class_bars(dataset(names)))


def test_class_bars_narrow_bars_show_only_numbers() -> None:
    shown = texts(class_bars(dataset(tuple(f"Class {n}" for n in range(12)))))
    assert {"15", "5", "30", "10", "Class\n11"} <= shown
    assert not {"train 15", "validation 5"} & shown


def test_class_pies_show_percentage_and_count() -> None:
    assert {"25.0%\n20", "75.0%\n60", "25.0%\n5", "75.0%\n15", "NORMAL"} <= texts(
        class_pies(dataset())
    )


def test_write_figures_writes_png_files(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    written = write_figures(dataset(), tmp_path / "figures")
    assert sorted(path.name for path in written) == [
        "class_bars.png",
        "class_pies.png",
        "test_samples_normal.png",
        "test_samples_pneumonia.png",
        "train_samples_normal.png",
        "train_samples_pneumonia.png",
    ]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(
        path.name for path in written
    )
    for path in written:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) > 600


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a low resolution, for speed."""
    monkeypatch.setattr(dataset_figures, "DPI", 30)


@pytest.mark.usefixtures("coarse")
def test_write_figures_is_reproducible(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    one, two = (write_figures(dataset(), folder) for folder in folders)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


@pytest.mark.usefixtures("coarse")
def test_write_figures_accepts_any_class_name(tmp_path: Path) -> None:
    data = dataset(("$(rm -x)$_1^2", "肺炎"))
    assert len(write_figures(data, tmp_path)) == 6


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (("NORMAL", "PNEUMONIA"), ["normal", "pneumonia"]),
        (("Normal", "Viral Pneumonia"), ["normal", "viral_pneumonia"]),
        (("a/b", "a b"), ["a_b0", "a_b1"]),
        (("肺炎", "正常"), ["0", "1"]),
    ],
)
def test_file_names_are_safe_and_unique(classes: tuple[str, ...], names: list[str]) -> None:
    assert file_names(classes) == names


def test_figures_of_any_class_name_are_drawn(tmp_path: Path) -> None:
    names = ("$\\frac{$", "_x\x1b[2J\x00", "=1|<b>`a`\n\u202e", "$$")
    assert len(write_figures(dataset(names), tmp_path)) == 2 + 2 * len(names)
