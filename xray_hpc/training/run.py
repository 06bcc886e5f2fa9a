"""Training the run of one folder, from its frozen configuration to its last file."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from xray_hpc.config import RunConfig, TrainConfig
from xray_hpc.data.batches import evaluation_batches, training_batches
from xray_hpc.data.dataset import Dataset, load
from xray_hpc.errors import UserError
from xray_hpc.metrics import binary_metrics, roc_points
from xray_hpc.models.build import build_model
from xray_hpc.models.registry import MODELS, settle, weights_digests, weights_files
from xray_hpc.models.registry import check as check_model
from xray_hpc.runs.files import replacing, write_csv, write_json
from xray_hpc.runs.frozen import FrozenRun, read_frozen
from xray_hpc.runs.paths import SPLITS, RunPaths
from xray_hpc.runs.record import Status, now, update_record
from xray_hpc.training import figures
from xray_hpc.training.callbacks import (
    EpochTables,
    LearningRate,
    Progress,
    Validation,
    watchers,
)
from xray_hpc.training.strategy import check_batch, gpu_names, grow_gpu_memory, make_strategy


def train_run(paths: RunPaths, *, bar: bool = False) -> None:
    """Train the run, and write everything that belongs into its folder.

    ``run.json`` says ``finished`` last, when every other file is in place.

    Raises:
        UserError: the data, the weights or the devices do not allow it.
    """
    run = read_frozen(paths)
    prepare_devices()
    data = load(run.config.data, run.cache)
    check_inputs(run, data)
    strategy = make_strategy()
    replicas = strategy.num_replicas_in_sync
    gpus = gpu_names()
    if not gpus and os.environ.get("CUDA_VISIBLE_DEVICES") not in (None, "", "-1", "NoDevFiles"):
        print(
            "warning: this job was given GPUs, but TensorFlow sees none and trains on the CPU; "
            "TF_CPP_MIN_LOG_LEVEL=0 shows why"
        )
    update_record(paths, gpus=gpus, replicas=replicas, versions=versions())
    check_batch(run.config.train.batch_size, replicas, len(data.splits["train"]))
    print(describe(run.config, data, replicas), flush=True)
    began = time.monotonic()
    fitted = fit(run.config, data, strategy, paths, bar=bar)
    evaluate(fitted, run.config, data, paths)
    export(fitted.model, run.config, data, paths)
    update_record(
        paths, status=Status.FINISHED, ended=now(), seconds=round(time.monotonic() - began, 3)
    )


def prepare_devices() -> None:
    """Set what must be set before TensorFlow touches a device: memory, threads, determinism."""
    grow_gpu_memory()
    if cpus := os.environ.get("SLURM_CPUS_PER_TASK"):
        tf.config.threading.set_intra_op_parallelism_threads(int(cpus))
    tf.config.experimental.enable_op_determinism()


def check_inputs(run: FrozenRun, data: Dataset) -> None:
    """Check that the files still are those that the run was created for.

    Raises:
        UserError: the images or the starting weights have changed.
    """
    if data.fingerprint != run.inputs.data:
        raise UserError(
            f"the images under {run.config.data.root} have changed since this run was created; "
            "launch the sweep again to make runs of the images as they are now"
        )
    if weights_digests(run.config.model) != run.inputs.weights:
        files = ", ".join(map(str, weights_files(run.config.model).values()))
        raise UserError(
            f"the weights in {files} have changed since this run was created; "
            "launch the sweep again"
        )


def describe(config: RunConfig, data: Dataset, replicas: int) -> str:
    """One line on what is about to be trained."""
    counts = ", ".join(f"{len(indices)} {split}" for split, indices in data.splits.items())
    return (
        f"{MODELS[config.model.name].title}: {counts} images of {config.data.image_size} px, "
        f"{replicas} replica{'s' if replicas > 1 else ''}, batch {config.train.batch_size}, "
        f"learning rate {config.train.learning_rate:g}"
    )


@dataclass(frozen=True)
class Fitted:
    """A trained model (with the weights that are kept) and how it came about."""

    model: keras.Model
    history: pd.DataFrame
    best_epoch: int
    seconds_per_epoch: float


def fit(
    config: RunConfig,
    data: Dataset,
    strategy: tf.distribute.Strategy,
    paths: RunPaths,
    *,
    bar: bool = False,
) -> Fitted:
    """Train under ``strategy``; the same configuration gives the same weights every time."""
    model_config, _ = settle(config.model)
    check_model(config, len(data.classes))
    keras.utils.set_random_seed(config.seed)
    if config.train.mixed_precision:
        keras.mixed_precision.set_global_policy("mixed_float16")
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        model = build_model(
            model_config,
            data.images.shape[1:],
            len(data.classes),
            weights_files(model_config),
            replicas=replicas,
        )
        model.compile(
            optimizer=make_optimizer(config.train),
            loss="binary_crossentropy",
            metrics=[keras.metrics.BinaryAccuracy(name="accuracy")],
        )
    indices, validation = data.splits["train"], data.splits["validation"]
    steps = len(indices) // config.train.batch_size
    batches = training_batches(
        data.images,
        data.labels,
        indices,
        batch_size=config.train.batch_size,
        augment=config.augment,
        seed=config.seed,
        epochs=range(config.train.epochs),
    )
    tables = EpochTables(paths, config.model.name)
    watching = watchers(config.train)
    began = time.monotonic()
    model.fit(
        batches,
        epochs=config.train.epochs,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[
            Validation(
                evaluation_batches(data.images, validation, config.train.batch_size),
                data.labels[validation],
            ),
            LearningRate(),
            *watching,
            tables,
            Progress(config.train.epochs, steps, bar=bar),
        ],
    )
    epochs = len(tables.history)
    best = epochs - 1
    for watcher in watching:
        if isinstance(watcher, keras.callbacks.EarlyStopping) and watcher.restore_best_weights:
            best = watcher.best_epoch
    return Fitted(
        model, pd.DataFrame(tables.history), best, (time.monotonic() - began) / max(epochs, 1)
    )


def make_optimizer(config: TrainConfig) -> keras.optimizers.Optimizer:
    """The optimizer by its Keras name, with the configured learning rate."""
    kinds = {
        "adam": keras.optimizers.Adam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }
    return kinds[config.optimizer](learning_rate=config.learning_rate)


def evaluate(fitted: Fitted, config: RunConfig, data: Dataset, paths: RunPaths) -> None:
    """Predict validation and test once each, and write scores, ROC, metrics and figures."""
    name, title = config.model.name, MODELS[config.model.name].title
    splits: dict[str, Any] = {}
    for split in SPLITS:
        indices = data.splits[split]
        labels = data.labels[indices]
        scores = predict(fitted.model, data, indices, config.train.batch_size)
        measured = binary_metrics(labels, scores)
        splits[split] = measured
        table = pd.DataFrame(
            {
                "y_true": labels,
                "y_scores": scores,
                "file": [data.files[i] for i in indices],
                "patient": [data.patients[i] for i in indices],
            }
        )
        write_csv(paths.scores(name, split), table)
        fpr, tpr, thresholds = roc_points(labels, scores)
        write_csv(
            paths.roc(name, split),
            pd.DataFrame({"fpr": fpr, "tpr": tpr, "thresholds": thresholds}),
        )
        figure = figures.roc_curve(fpr, tpr, measured["auc"], f"{title}: ROC on {split}")
        figures.save(paths, f"{name}_roc_curve_{split}", figure)
        print(
            f"{split}: accuracy {measured['accuracy']:.3f}, "
            f"false negatives {measured['false_negatives']}, "
            f"false positives {measured['false_positives']}",
            flush=True,
        )
    for what in ("accuracy", "loss"):
        figure = figures.learning_curve(fitted.history, what, title, fitted.best_epoch)
        figures.save(paths, f"{name}_learning_curve_{what}", figure)
    model = fitted.model
    write_json(
        paths.metrics,
        {
            "threshold": 0.5,
            "best_epoch": fitted.best_epoch,
            "epochs": len(fitted.history),
            "stopped_early": len(fitted.history) < config.train.epochs,
            "parameters": model.count_params(),
            "trainable_parameters": sum(int(np.prod(v.shape)) for v in model.trainable_variables),
            "seconds_per_epoch": round(fitted.seconds_per_epoch, 3),
            **splits,
        },
    )


def predict(
    model: keras.Model, data: Dataset, indices: npt.NDArray[np.int64], batch_size: int
) -> npt.NDArray[np.float64]:
    """Scores ``[len(indices)]`` of the images, in one pass."""
    batches = evaluation_batches(data.images, indices, batch_size)
    return np.asarray(model.predict(batches, verbose=0)[: len(indices), 0], np.float64)


def export(model: keras.Model, config: RunConfig, data: Dataset, paths: RunPaths) -> None:
    """Write ``model.keras``: the whole model of plain Keras layers, taking raw pixels 0..255."""
    plain = build_model(settle(config.model)[0], data.images.shape[1:], len(data.classes))
    plain.set_weights(model.get_weights())
    with replacing(paths.model) as temporary:
        plain.save(temporary)


def versions() -> dict[str, str]:
    """The versions that decide a result."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
