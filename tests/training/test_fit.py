"""Fitting a run: losses, selected weights, divergence, and what is refused before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.train_config import EarlyStoppingConfig, ReduceLROnPlateauConfig, TrainConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.errors import TrainingDivergedError, UserError
from xray_hpc.metrics import class_logits, class_scores, predicted_labels, split_metrics
from xray_hpc.models.build_model import build_model
from xray_hpc.models.layer_graph import logits_tensor
from xray_hpc.records.paths import RunPaths
from xray_hpc.training.checkpoint_store import CheckpointStore
from xray_hpc.training.fit import FitResult, check_monitors, fit
from xray_hpc.training.strategy import make_strategy
from xray_hpc.training.train_run import prepare_devices
from xray_hpc.training.training_model import make_training_model


@pytest.fixture(scope="module", autouse=True)
def _devices() -> None:
    prepare_devices()


COUNTS = {2: (3, 9), 3: (2, 4, 6)}


def uneven(classes: int) -> Dataset:
    """Return twelve training images; all images of a class are equal."""
    labels = np.repeat(np.arange(classes), COUNTS[classes])
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 256, (classes, 16, 16, 1), np.uint8)
    everything = np.arange(len(labels))
    return Dataset(
        images=kinds[labels],
        labels=labels,
        files=[f"{i}.png" for i in everything],
        patients=[str(i) for i in everything],
        classes=("COVID", "NORMAL", "PNEUMONIA")[-classes:],
        splits=dict.fromkeys(("train", "validation", "test"), everything),
        fingerprint="",
        notes=[],
        skipped=[],
        contents="",
    )


def train(config: RunConfig, data: Dataset, folder: Path) -> FitResult:
    paths = RunPaths(folder)
    training_model = make_training_model(config, data, make_strategy(["CPU:0"]), folder)
    return fit(config, data, training_model, paths, CheckpointStore(paths.checkpoint_folder, {}))


def configuration(**changes: Any) -> RunConfig:
    """Return a run of one epoch with one batch, which hardly changes the weights."""
    return RunConfig(
        data=DataConfig(
            source="folder",
            root="/xrays",
            image_size=16,
            channels=1,
            split="patient",
            validation_fraction=0.2,
            split_seed=0,
        ),
        model=ModelConfig("lung", output=changes.pop("output", "softmax")),
        augment=AugmentConfig(),
        train=TrainConfig(**{"epochs": 1, "batch_size": 12, "learning_rate": 1e-9} | changes),
        seed=3,
    )


def untrained(config: RunConfig, data: Dataset) -> dict[str, Any]:
    """Return the metrics of the training images with the initial weights."""
    keras.utils.set_random_seed(config.seed)
    model = build_model(config.model, config.data.input_shape, len(data.classes))
    logits = logits_of(model, data)
    loss = split_metrics(data.labels, logits, data.classes).loss
    return {"scores": class_scores(logits), "loss": loss}


def logits_of(model: keras.Model, data: Dataset) -> Any:
    before_activation = keras.Model(model.input, logits_tensor(model))
    return class_logits(before_activation.predict(data.images, verbose=0))


def loss(model: keras.Model, data: Dataset) -> Any:
    return split_metrics(data.labels, logits_of(model, data), data.classes).loss


@pytest.mark.parametrize(
    ("classes", "output", "balance"),
    [
        (2, "sigmoid", "none"),
        (2, "sigmoid", "class_weights"),
        (2, "softmax", "sampling"),
        (3, "softmax", "class_weights"),
    ],
)
def test_loss_weights_images_or_classes_equally(
    tmp_path: Path, classes: int, output: Any, balance: Any
) -> None:
    data = uneven(classes)
    config = configuration(output=output, balance=balance)
    before = untrained(config, data)
    kinds = np.cumsum(COUNTS[classes]) - 1  # one image of each class
    losses = -np.log(before["scores"][kinds, np.arange(classes)])
    right = predicted_labels(before["scores"][kinds], 0.5 if classes == 2 else None) == np.arange(
        classes
    )
    shares = np.array(COUNTS[classes]) / 12
    alike = np.full(classes, 1 / classes)

    (logs,) = train(config, data, tmp_path).history.to_dict(orient="records")
    # Class weights N / (K n) weight all classes equally in the loss, but not in the accuracy;
    # sampling draws all classes equally often.
    expected = losses @ (shares if balance == "none" else alike)
    assert logs["train_loss"] == pytest.approx(expected, rel=1e-5)
    drawn = alike if balance == "sampling" else shares
    assert logs["train_accuracy"] == pytest.approx(right @ drawn)
    assert logs["val_loss"] == pytest.approx(before["loss"], rel=1e-5)


def test_fit_ends_with_the_selected_weights(tmp_path: Path) -> None:
    data = uneven(3)
    config = configuration(keep="val_auc", epochs=3, learning_rate=1e-2)
    result = train(config, data, tmp_path)
    epoch = result.history["val_auc"].idxmax()
    assert result.best_epoch == epoch + 1
    assert loss(result.model, data) == pytest.approx(result.history["val_loss"][epoch], rel=1e-5)


def test_fit_saves_the_weights_of_best_epochs(tmp_path: Path) -> None:
    data = uneven(3)
    paths = RunPaths(tmp_path)
    paths.weights_folder.mkdir()
    paths.epoch_weights(7).write_bytes(b"of an interrupted attempt")
    config = configuration(keep="last", save_best=True, epochs=3, learning_rate=1e-2)
    result = train(config, data, tmp_path)
    losses = result.history["val_loss"]
    best = [epoch for epoch in range(3) if losses[epoch] == losses[: epoch + 1].min()]
    assert best
    saved = sorted(path.name for path in paths.weights_folder.iterdir())
    assert saved == [f"epoch-{epoch + 1:04}.weights.h5" for epoch in best]
    model = build_model(config.model, config.data.input_shape, 3)
    model.load_weights(paths.epoch_weights(best[-1] + 1))
    assert loss(model, data) == pytest.approx(losses[best[-1]], rel=1e-5)


def test_fit_raises_when_training_diverges(tmp_path: Path) -> None:
    config = configuration(epochs=3, learning_rate=1e30, optimizer="sgd", batch_size=4)
    line = r"nan at epoch 1, step 3/3.*1e\+30; lower train\.learning_rate"
    with pytest.raises(TrainingDivergedError, match=line):
        train(config, uneven(3), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("train.keep", {"keep": "val_auc"}),
        ("train.early_stopping.monitor", {"early_stopping": EarlyStoppingConfig("val_auc")}),
        ("train.reduce_lr.monitor", {"reduce_lr": ReduceLROnPlateauConfig("val_auc")}),
    ],
)
def test_check_monitors_refuses_an_undefined_auc(key: str, changes: dict[str, Any]) -> None:
    config = configuration(**changes).train
    check_monitors(config, np.array([0, 1, 1]))
    with pytest.raises(UserError, match=f"{key}=val_auc.*all 2 are of one class"):
        check_monitors(config, np.array([1, 1]))
