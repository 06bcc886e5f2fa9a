"""Draw what the network receives of a few training images in the first epochs."""

from __future__ import annotations

from matplotlib.figure import Figure

from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.augmentation import draw_augmentations
from xray_hpc.data.augmentation_figure import (
    ImageColumn,
    class_names_of,
    describe_augmentation,
    image_grid,
    original_column,
    sample_rows,
)
from xray_hpc.data.dataset import Dataset
from xray_hpc.data.image_transform import apply_augmentation

EPOCHS = ("first epoch", "second", "third", "fourth", "fifth")


def draw_augmentation_preview(dataset: Dataset, config: RunConfig) -> Figure:
    """Return a figure of some training images, unaugmented and exactly as in the first epochs.

    With ``train.balance=sampling`` an epoch may skip some of these images; they are drawn with the
    augmentation that they would get.
    """
    views = config.augment.views
    epochs = config.train.epochs if views is None else min(views, config.train.epochs)
    rows, train = sample_rows(dataset), dataset.splits["train"]
    originals = dataset.images[train[rows]]
    size, input_size = config.data.image_size, config.data.input_size
    columns = [original_column(list(originals), config.data)]
    for epoch, name in enumerate(EPOCHS[:epochs]):
        transforms, brightness = draw_augmentations(
            len(train), size, input_size, config.augment, config.seed, epoch
        )
        images = apply_augmentation(
            originals, transforms[rows], brightness[rows], config.augment, input_size
        )
        columns.append(ImageColumn(name, (), list(images)))
    note = ", ".join(describe_augmentation(config.augment))
    if views is not None:
        note += f", {views} views in turn" if views > 1 else ", one view"
    return image_grid("Augmented training images", note, class_names_of(dataset, rows), columns)
