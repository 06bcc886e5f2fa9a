"""A picture of what the network gets of a few training images, epoch after epoch."""

from __future__ import annotations

from matplotlib.figure import Figure

from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.augmentation import epoch_changes
from xray_hpc.data.augmentation_figure import (
    Column,
    class_rows,
    grid,
    packed_column,
    sample_rows,
    words,
)
from xray_hpc.data.dataset import Dataset
from xray_hpc.data.image_transform import change

EPOCHS = ("first epoch", "second", "third", "fourth", "fifth")


def augmented(dataset: Dataset, config: RunConfig) -> Figure:
    """The same training images as packed and as the first epochs get them, to the pixel.

    Where ``train.balance`` is ``sampling``, an epoch leaves out some images of large classes; they
    are shown as it would get them.
    """
    views = config.augment.views
    most = config.train.epochs if isinstance(views, str) else min(views, config.train.epochs)
    rows, train = sample_rows(dataset), dataset.splits["train"]
    originals = dataset.images[train[rows]]
    size, input_size = config.data.image_size, config.data.input_size
    columns = [packed_column(list(originals), config.data)]
    for epoch, name in enumerate(EPOCHS[:most]):
        moved, lit = epoch_changes(len(train), size, input_size, config.augment, config.seed, epoch)
        images = change(originals, moved[rows], lit[rows], config.augment, input_size)
        columns.append(Column(name, (), list(images)))
    note = ", ".join(words(config.augment))
    if isinstance(views, int):
        note += f", {views} views in turn" if views > 1 else ", one view"
    return grid("Augmented training images", note, class_rows(dataset, rows), columns)
