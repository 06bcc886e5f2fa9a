"""The preview of augmented training images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.data.input_pipeline import training_batches
from xray_hpc.training.run_figures import draw_augmentation_preview

VGG = AugmentConfig(rotation=30, zoom=0.2, height_shift=0.1, width_shift=0.1, horizontal_flip=True)
CONFIG = RunConfig(
    data=DataConfig(
        source="folder",
        root="/xrays",
        image_size=16,
        channels=1,
        crop=0.75,
        split="patient",
        validation_fraction=0.2,
        split_seed=42,
    ),
    model=ModelConfig("cnn"),
    augment=VGG,
    train=TrainConfig(epochs=50, batch_size=8, learning_rate=1e-3),
    seed=3,
)
DATA = Dataset(
    images=np.random.default_rng(0).integers(0, 256, (10, 16, 16, 1), np.uint8),
    labels=np.arange(10) % 2,
    files=[f"{i}.png" for i in range(10)],
    patients=[str(i) for i in range(10)],
    classes=("NORMAL", "PNEUMONIA"),
    splits={"train": np.arange(1, 9), "validation": np.array([0]), "test": np.array([9])},
    fingerprint="f",
    notes=[],
    skipped=[],
    contents="",
)


def test_preview_shows_the_images_of_the_training() -> None:
    pictures = [
        np.asarray(axes.images[0].get_array())
        for axes in draw_augmentation_preview(DATA, CONFIG).axes
    ]
    stored, epochs = pictures[:4], [pictures[4 * k : 4 * k + 4] for k in range(1, 6)]
    known = {DATA.images[i].tobytes() for i in DATA.splits["train"]}
    assert {image.tobytes() for image in stored} <= known
    batches = training_batches(
        DATA.images, DATA.labels, DATA.splits["train"], targets="sigmoid", classes=2,
        batch_size=8, input_size=12, augment=VGG, balance="none", seed=3, epochs=range(5),
    )  # fmt: skip
    for shown, (got, _) in zip(epochs, batches, strict=True):
        assert {image.tobytes() for image in shown} <= {image.tobytes() for image in got.numpy()}


@pytest.mark.parametrize(("epochs", "columns"), [(1, 2), (3, 4), (50, 6)])
def test_preview_has_a_column_per_epoch(epochs: int, columns: int) -> None:
    config = replace(CONFIG, train=replace(CONFIG.train, epochs=epochs))
    drawn = draw_augmentation_preview(DATA, config)
    assert len(drawn.axes) == 4 * columns
    texts = [text.get_text() for text in drawn.texts]
    assert texts[:2] == [
        "Augmented training images",
        "rotation ±30°, zoom ±20 %, shift ±10 %, horizontal flip, fill: reflect",
    ]
    assert texts[2:6] == ["stored", "dashed:", "data.crop=0.75", "first epoch"]
