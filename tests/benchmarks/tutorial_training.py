"""Train and evaluate as in the tutorial, as a baseline for the toolkit.

python -m tests.benchmarks.tutorial_training SETTINGS FILE

In one process, every epoch decodes the JPEG files again and passes them through the whole network,
frozen or not. Afterwards each model predicts all images again for every figure, one batch per call.
The tutorial's plots and tables are omitted, which is in its favor. ``SETTINGS`` is a JSON file; the
CPU seconds of each stage and the AUC are written to ``FILE``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import callbacks, layers
from sklearn.metrics import roc_auc_score

from tests.benchmarks.timing import cpu_seconds

BATCH, SEED = 32, 42
# The results for each of which the tutorial predicts all images.
PASSES = ("false negatives", "false positives", "ROC curve", "table of scores")


@dataclass(frozen=True)
class Settings:
    """The trainings and their data.

    ``root`` contains train/, val/ and test/; ``weights`` is a file or ``None``. A training is
    ``{"model": "cnn" | "tl" | "ft", "learning_rate": ..., "unfreeze": ...}``.
    """

    root: str
    size: int
    epochs: int
    backbone: str
    weights: str | None
    trainings: Sequence[Mapping[str, Any]]


@dataclass
class StageTimes:
    """CPU seconds of each stage of a training, and until the end of each epoch and pass."""

    stages: dict[str, float] = field(default_factory=dict)
    epochs: list[float] = field(default_factory=list)
    passes: list[float] = field(default_factory=list)
    auc: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block for a stage."""
        start = cpu_seconds()
        yield
        self.stages[name] = self.stages.get(name, 0.0) + cpu_seconds() - start


class StageClock(callbacks.Callback):
    """Separates the time of validation from that of training."""

    def __init__(self, times: StageTimes) -> None:
        super().__init__()
        self.times = times

    def on_train_begin(self, logs: object = None) -> None:
        self.start = cpu_seconds()

    def on_test_begin(self, logs: object = None) -> None:
        self.validating = cpu_seconds()

    def on_test_end(self, logs: object = None) -> None:
        elapsed = cpu_seconds() - self.validating
        self.times.stages["validate"] = self.times.stages.get("validate", 0.0) + elapsed

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.times.epochs.append(cpu_seconds() - self.start)


def read_images(settings: Settings) -> dict[str, tf.data.Dataset]:
    """Return the three splits, scaled to 0..1, with zoomed and shifted training images."""

    def folder(name: str, **how: Any) -> tf.data.Dataset:
        images = keras.utils.image_dataset_from_directory(
            Path(settings.root) / name,
            label_mode="binary",
            image_size=(settings.size, settings.size),
            seed=SEED,
            **how,
        )
        return images.map(lambda x, y: (rescale(x), y), tf.data.AUTOTUNE)

    rescale = layers.Rescaling(1 / 255)
    zoom = layers.RandomZoom((-0.1, 0.1), (-0.1, 0.1))
    shift = layers.RandomTranslation(0.1, 0.1)
    train = folder("train", batch_size=BATCH)
    train = train.map(lambda x, y: (zoom(x), y), tf.data.AUTOTUNE)
    train = train.map(lambda x, y: (shift(x), y), tf.data.AUTOTUNE)
    return {
        "train": train,
        "validation": folder("val", batch_size=BATCH),
        "test": folder("test", batch_size=1, shuffle=False),
    }


def cnn(size: int) -> keras.Model:
    """Build the small convolutional network."""
    inputs = x = layers.Input((size, size, 3))
    for filters, convolutions, rate in ((16, 1, 0.2), (32, 1, 0.2), (64, 2, 0.4)):
        for _ in range(convolutions):
            x = layers.Conv2D(filters, 3)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.MaxPool2D()(x)
        x = layers.Dropout(rate)(x)
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


def pretrained(settings: Settings, unfreeze: int) -> keras.Model:
    """Build a backbone with ``unfreeze`` trainable layers and a new head."""
    shape = (settings.size, settings.size, 3)
    make = getattr(keras.applications, settings.backbone)
    backbone = make(include_top=False, weights=settings.weights, input_shape=shape)
    for layer in backbone.layers[: len(backbone.layers) - unfreeze]:
        layer.trainable = False
    inputs = layers.Input(shape)
    x = layers.GlobalAveragePooling2D()(backbone(inputs))
    x = layers.Dropout(0.1)(layers.Dense(128, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


def fit(
    model: keras.Model, images: Mapping[str, tf.data.Dataset], epochs: int, clock: StageClock
) -> None:
    """Train all epochs; the patience of early stopping is as long as the training."""
    stopping = callbacks.EarlyStopping(
        monitor="val_loss", patience=epochs, min_delta=1e-7, restore_best_weights=True
    )
    plateau = callbacks.ReduceLROnPlateau(
        monitor="val_loss", factor=0.2, patience=2, min_delta=1e-7
    )
    model.fit(
        images["train"],
        validation_data=images["validation"],
        epochs=epochs,
        callbacks=[stopping, plateau, clock],
        verbose=0,
    )


def evaluate(model: keras.Model, images: Mapping[str, tf.data.Dataset], times: StageTimes) -> None:
    """Predict validation and test images for each of ``PASSES``."""
    start = cpu_seconds()
    model.evaluate(images["validation"], verbose=0)
    for _ in PASSES:
        for split in ("validation", "test"):
            truth, scores = predict(model, images[split])
        times.passes.append(cpu_seconds() - start)
    times.auc = float(roc_auc_score(truth, scores))


def predict(model: keras.Model, images: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return true classes and scores, with one call per batch."""
    truth, scores = [], []
    for batch, labels in images:
        scores.extend(model.predict(batch, verbose=0).flatten())
        truth.extend(labels.numpy().flatten())
    return np.array(truth), np.array(scores)


def train(
    settings: Settings, training: Mapping[str, Any], images: Mapping[str, tf.data.Dataset]
) -> StageTimes:
    """Run one training with its evaluation."""
    times = StageTimes()
    with times.stage("build"):
        keras.backend.clear_session()
        if training["model"] == "cnn":
            model = cnn(settings.size)
        else:
            model = pretrained(settings, training["unfreeze"])
        model.compile(
            loss="binary_crossentropy",
            optimizer=keras.optimizers.Adam(training["learning_rate"]),
            metrics=["binary_accuracy"],
        )
    with times.stage("train"):
        fit(model, images, settings.epochs, StageClock(times))
    times.stages["train"] -= times.stages["validate"]
    with times.stage("evaluate"):
        evaluate(model, images, times)
    return times


def main() -> None:
    """Run the command."""
    source, file = sys.argv[1:]
    settings = Settings(**json.loads(Path(source).read_text()))
    images = read_images(settings)
    start = cpu_seconds()
    trainings = [asdict(train(settings, training, images)) for training in settings.trainings]
    Path(file).write_text(json.dumps({"start": start, "trainings": trainings}))


if __name__ == "__main__":
    main()
