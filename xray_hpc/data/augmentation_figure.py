"""Figure of augmented training images, drawn without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from xray_hpc.config.run_config import AugmentConfig, DataConfig
from xray_hpc.data.apply_augmentation import Pixels, apply_augmentation
from xray_hpc.data.augmentation_parameters import IntArray, draw_augmentations, needs_interpolation
from xray_hpc.data.dataset import Dataset
from xray_hpc.figure_files import escape_dollars

ROWS = 4  # at least one per class, at most MAX_ROWS
MAX_ROWS = 6
CROP = 0.85  # shown for random crops if data.crop is 1
DPI = 130
# Inches.
SIDE, GAP, GROUP_GAP, MARGIN = 1.12, 0.06, 0.16, 0.12
LABELS, TITLE, NOTE, HEAD, LINE = 0.3, 0.24, 0.3, 0.22, 0.16
LETTERS = 130  # letters of size 1 per inch


@dataclass(frozen=True)
class NamedAugmentation:
    """An augmentation with its name, and the ``data.crop`` it is used with."""

    name: str
    augment: AugmentConfig
    crop: float


@dataclass(frozen=True)
class ImageColumn:
    """A column of images, title and small print; ``outline`` marks a central square in each."""

    name: str
    lines: Sequence[str]
    images: Sequence[Pixels]
    outline: int | None = None


def augmentation_figure(
    dataset: Dataset, config: DataConfig, shown: Sequence[NamedAugmentation], seed: int
) -> Figure:
    """Draw the same training images unchanged and with each augmentation of ``shown``.

    They are those of the first epoch of a training with ``seed``. Random crops are shown with
    ``data.crop=0.85`` if the data is not cropped.
    """
    crops = {item.crop for item in shown}
    most = replace(config, crop=crops.pop() if len(crops) == 1 else 1.0)
    rows = sample_rows(dataset)
    originals = [dataset.images[i] for i in dataset.splits["train"][rows]]
    columns = [original_column(originals, most)]
    for item in shown:
        crop = CROP if item.augment.crop and item.crop == 1 else item.crop
        lines = describe_augmentation(item.augment) or ["center crop"]
        if crop != most.crop:
            lines.append(f"(data.crop={crop:g})")
        size = replace(config, crop=crop).input_size
        images = augment_rows(dataset, rows, size, item.augment, seed, epoch=0)
        columns.append(ImageColumn(item.name, lines, images))
    note = f"in the first epoch, seed={seed}"
    return image_grid("Augmented training images", note, class_names_of(dataset, rows), columns)


def original_column(images: Sequence[Pixels], config: DataConfig) -> ImageColumn:
    """Return the column of the stored images, with the central crop outlined."""
    if config.crop == 1:
        return ImageColumn("stored", (), images)
    lines = ["dashed:", f"data.crop={config.crop:g}"]
    return ImageColumn("stored", lines, images, config.input_size)


def sample_rows(dataset: Dataset) -> IntArray:
    """Choose evenly spaced rows of each class from the training split."""
    train = dataset.splits["train"]
    each = max(1, ROWS // len(dataset.classes))
    rows = []
    for label in range(len(dataset.classes)):
        members = np.flatnonzero(dataset.labels[train] == label)
        members = members[np.argsort(train[members])]
        picked = (np.arange(each) + 0.5) / each * len(members)
        rows.append(members[np.unique(picked.astype(int))] if len(members) else members)
    return np.concatenate(rows)[:MAX_ROWS]


def class_names_of(dataset: Dataset, rows: IntArray) -> list[str]:
    """Return the class names of ``rows`` of the training split."""
    return [dataset.classes[label] for label in dataset.labels[dataset.splits["train"][rows]]]


def augment_rows(
    dataset: Dataset, rows: IntArray, size: int, augment: AugmentConfig, seed: int, epoch: int
) -> list[Pixels]:
    """Return ``rows`` of the training split as a training sees them in ``epoch``."""
    train = dataset.splits["train"]
    images = dataset.images[train[rows]]
    sizes = len(train), images.shape[1], size
    transforms, brightness = draw_augmentations(*sizes, augment, seed, epoch)
    return list(apply_augmentation(images, transforms[rows], brightness[rows], augment, size))


def describe_augmentation(augment: AugmentConfig) -> list[str]:
    """Describe each operation of an augmentation in a line."""
    height, width = augment.height_shift, augment.width_shift
    operations: list[tuple[object, str]] = [
        (augment.rotation, f"rotation ±{augment.rotation:g}°"),
        (augment.zoom, f"zoom ±{_percent(augment.zoom)}"),
        (augment.shear, f"shear ±{augment.shear:g}°"),
        (height == width and width, f"shift ±{_percent(width)}"),
        (height != width and height, f"height shift ±{_percent(height)}"),
        (height != width and width, f"width shift ±{_percent(width)}"),
        (augment.crop, "random crop"),
        (augment.rot90, "rot90"),
        (augment.horizontal_flip, "horizontal flip"),
        (augment.brightness, f"brightness ±{_percent(augment.brightness)}"),
        (needs_interpolation(augment), f"fill: {augment.fill_mode}"),
    ]
    return [text for enabled, text in operations if enabled]


def image_grid(
    title: str, note: str, classes: Sequence[str], columns: Sequence[ImageColumn]
) -> Figure:
    """Draw ``columns`` of square images, with the class of each row on the left."""
    tops, y = [], MARGIN + TITLE + NOTE + HEAD + LINE * max(len(column.lines) for column in columns)
    for row, name in enumerate(classes):
        y += GROUP_GAP - GAP if row and name != classes[row - 1] else 0
        tops.append(y)
        y += SIDE + GAP
    height = y - GAP + MARGIN
    lefts = [MARGIN + LABELS + k * (SIDE + GAP) + (k > 0) * GROUP_GAP for k in range(len(columns))]
    longest = max(12 * len(title), 8 * len(note)) / (0.85 * LETTERS)
    width = max(lefts[-1] + SIDE, lefts[0] + longest) + MARGIN
    drawn = Figure(figsize=(width, height))

    def write(text: str, x: float, y: float, **style: object) -> None:
        drawn.text(x / width, 1 - y / height, escape_dollars(text), **style)  # type: ignore[arg-type]

    write(title, lefts[0], MARGIN, va="top", fontsize=12, fontweight="bold")
    write(note, lefts[0], MARGIN + TITLE, va="top", fontsize=8, color="0.3")
    for left, column in zip(lefts, columns, strict=True):
        y = MARGIN + TITLE + NOTE
        write(column.name, left, y, va="top", fontsize=_fit(column.name, 10), fontweight="bold")
        for k, line in enumerate(column.lines):
            below = y + HEAD - 0.04 + k * LINE
            write(line, left, below, va="top", fontsize=_fit(line, 8), color="0.3")
        for top, image in zip(tops, column.images, strict=True):
            place = (left / width, 1 - (top + SIDE) / height, SIDE / width, SIDE / height)
            axes = drawn.add_axes(place)
            axes.set_axis_off()
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
            if column.outline:
                corner = (len(image) - column.outline) // 2 - 0.5
                square = Rectangle((corner, corner), column.outline, column.outline)
                square.set(fill=False, edgecolor="white", linewidth=1, linestyle=(0, (4, 3)))
                axes.add_patch(square)
    for name in dict.fromkeys(classes):
        own = [top for top, other in zip(tops, classes, strict=True) if other == name]
        room = own[-1] + SIDE - own[0]
        style = {"rotation": 90, "ha": "center", "va": "center"}
        write(name, MARGIN + 0.1, own[0] + room / 2, fontsize=_fit(name, 10, room), **style)
    return drawn


def _fit(text: str, size: float, room: float = SIDE + GAP) -> float:
    """Return the font size, at most ``size``, at which ``text`` fits into ``room`` inches."""
    return min(size, room * LETTERS / max(len(text), 1))


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
