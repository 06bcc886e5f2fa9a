"""A picture of what the network gets of a few training images, epoch after epoch."""

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
    """The same training images as packed and as the first epochs get them, to the pixel.

    Where ``train.balance`` is ``sampling``, an epoch leaves out some images of large classes; they
    are shown as it would get them.
    """
    views = config.augment.views
    most = config.train.epochs if isinstance(views, str) else min(views, config.train.epochs)
    rows, train = sample_rows(dataset), dataset.splits["train"]
    originals = dataset.images[train[rows]]
    size, input_size = config.data.image_size, config.data.input_size
    columns = [original_column(list(originals), config.data)]
    for epoch, name in enumerate(EPOCHS[:most]):
        transforms, brightness = draw_augmentations(
            len(train), size, input_size, config.augment, config.seed, epoch
        )
        images = apply_augmentation(
            originals, transforms[rows], brightness[rows], config.augment, input_size
        )
        columns.append(ImageColumn(name, (), list(images)))
    note = ", ".join(describe_augmentation(config.augment))
    if isinstance(views, int):
        note += f", {views} views in turn" if views > 1 else ", one view"
    return image_grid("Augmented training images", note, class_names_of(dataset, rows), columns)
