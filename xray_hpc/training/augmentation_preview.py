"""Draw what the network receives of a few training images in the first epochs."""

from __future__ import annotations

from matplotlib.figure import Figure

from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.augmentation_figure import (
    ImageColumn,
    augment_rows,
    class_names_of,
    describe_augmentation,
    image_grid,
    original_column,
    sample_rows,
)
from xray_hpc.data.dataset import Dataset

EPOCHS = ("first epoch", "second", "third", "fourth", "fifth")


def draw_augmentation_preview(dataset: Dataset, config: RunConfig) -> Figure:
    """Return a figure of some training images, unaugmented and exactly as in the first epochs.

    With ``train.balance=sampling`` an epoch may skip some of these images; they are drawn with the
    augmentation that they would get.
    """
    views = config.augment.views
    epochs = config.train.epochs if views is None else min(views, config.train.epochs)
    rows = sample_rows(dataset)
    originals = dataset.images[dataset.splits["train"][rows]]
    size = config.data.input_size
    columns = [original_column(list(originals), config.data)]
    for epoch, name in enumerate(EPOCHS[:epochs]):
        images = augment_rows(dataset, rows, size, config.augment, config.seed, epoch)
        columns.append(ImageColumn(name, (), images))
    note = ", ".join(describe_augmentation(config.augment))
    if views is not None:
        note += f", {views} views in turn" if views > 1 else ", one view"
    return image_grid("Augmented training images", note, class_names_of(dataset, rows), columns)
