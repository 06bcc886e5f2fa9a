"""Train the run of one folder, from its frozen configuration to its last file."""

from __future__ import annotations

import logging
import os
import shutil
import time
from contextlib import suppress
from functools import partial

import tensorflow as tf

from xray_hpc.code_digest import library_versions, software_identity
from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.dataset import Dataset, load_dataset
from xray_hpc.errors import DataError
from xray_hpc.isolated_keras import recorded_variables
from xray_hpc.models.registry import MODELS
from xray_hpc.models.weights_files import weights_digests, weights_files
from xray_hpc.records.atomic_files import check_write
from xray_hpc.records.frozen_run import FrozenRun, read_frozen_run
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_integrity import result_states
from xray_hpc.records.run_metrics import read_metrics
from xray_hpc.records.run_progress import (
    latest_checkpoint,
    remove_checkpoints,
    write_feature_blocks,
)
from xray_hpc.records.run_record import Status, now, read_record, update_record
from xray_hpc.thread_map import available_cores
from xray_hpc.training import run_figures
from xray_hpc.training.checkpoint_store import CheckpointStore
from xray_hpc.training.evaluation import evaluate
from xray_hpc.training.event_files import write_final_metrics
from xray_hpc.training.explain_misses import explain_misses
from xray_hpc.training.fit import fit
from xray_hpc.training.gpu_check import check_gpus
from xray_hpc.training.run_figures import draw_augmentation_preview
from xray_hpc.training.save_model import export_model
from xray_hpc.training.strategy import check_batch, enable_memory_growth, gpu_names, make_strategy
from xray_hpc.training.training_model import make_training_model

logger = logging.getLogger(__name__)


def train_run(paths: RunPaths, *, bar: bool = False) -> None:
    """Train a run and write all files of its folder.

    An interrupted run resumes from its newest checkpoint and gives the same result. ``run.json`` is
    marked finished last, after every other file is written. ``bar`` shows a progress bar.

    Raises:
        UserError: the data, the weights or the devices cannot be used.
        NodeError: GPUs of this node are missing or faulty.
        TrainingDivergedError: the training diverged.
    """
    run = read_frozen_run(paths)
    requested = requested_gpus()
    prepare_devices(requested)
    if requested:
        check_gpus(requested)
    remove_leftovers(paths)
    data = load_run_data(run)
    strategy = make_strategy()
    replicas = strategy.num_replicas_in_sync
    gpus = gpu_names()
    if requested is None and not gpus and gpus_allocated():
        logger.warning(
            "The job has GPUs, but TensorFlow finds none and trains on the CPU; set "
            "TF_CPP_MIN_LOG_LEVEL=0 to see why."
        )
    record_devices(paths, gpus=gpus, replicas=replicas, threads=thread_count())
    check_batch(run.config.train.batch_size, replicas, len(data.splits["train"]))
    logger.info("%s", describe(run.config, data, replicas))
    if not run.config.augment.identity:
        run_figures.write(paths, "augmented", draw_augmentation_preview, data, run.config)
    store = CheckpointStore(paths.checkpoint_folder, {"run": run.name, **software_identity()})
    training_model = make_training_model(
        run.config, data, strategy, run.cache, partial(_record_feature_blocks, paths)
    )
    fitted = fit(run.config, data, training_model, paths, store, bar=bar)
    began = time.monotonic()
    logits = evaluate(fitted, run.config, data, paths)
    model = export_model(fitted.model, run.config, data, paths)
    explain_misses(model, run.config, data, logits, paths)
    if run.config.train.tensorboard:
        write_final_metrics(paths, read_metrics(paths))
    seconds = fitted.seconds + time.monotonic() - began
    update_record(
        paths,
        status=Status.FINISHED,
        ended=now(),
        seconds=round(seconds, 3),
        seconds_per_epoch=round(fitted.seconds_per_epoch, 3),
        files=result_states(paths, run.config.model.name),
    )
    remove_checkpoints(paths)


def _record_feature_blocks(paths: RunPaths, blocks: int) -> None:
    with suppress(OSError):  # progress only
        write_feature_blocks(paths, blocks)


def record_devices(paths: RunPaths, **devices: object) -> None:
    """Record devices and software; warn if the run resumes from a checkpoint of other devices."""
    before = read_record(paths)
    if before is not None and latest_checkpoint(paths):
        saved = {name: getattr(before, name) for name in devices}
        changes = [
            f"{name} {saved[name]} then, {value} now"
            for name, value in devices.items()
            if saved[name] != value
        ]
        if changes:
            logger.warning(
                "Resuming on other devices (%s): the last digits of the result may differ.",
                ", ".join(changes),
            )
    update_record(paths, versions=library_versions(), environment=recorded_variables(), **devices)


def remove_leftovers(paths: RunPaths) -> None:
    """Remove event files, and temporary files except those of ``run.json`` (the worker's)."""
    check_write()
    shutil.rmtree(paths.event_folder, ignore_errors=True)
    suffixes = (".csv", ".keras", ".png", ".txt", "metrics.json", "progress.json")
    for path in paths.folder.rglob(".*"):
        if path.name.endswith(suffixes):
            path.unlink()


def requested_gpus() -> int | None:
    """Return how many GPUs the worker assigned to this process; ``None`` if it did not say."""
    count = os.environ.get("XRAY_HPC_GPUS")
    return int(count) if count else None


def gpus_allocated() -> bool:
    """Return whether the environment assigns GPUs to this process."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") not in (None, "", "-1", "NoDevFiles")


def prepare_devices(gpus: int | None = None) -> None:
    """Configure memory, threads and determinism, before TensorFlow initializes a device.

    With ``gpus=0`` all GPUs are hidden: a node may show GPUs that do not belong to the job.
    """
    if gpus == 0:
        tf.config.set_visible_devices([], "GPU")
    enable_memory_growth()
    if cpus := os.environ.get("XRAY_HPC_CPUS") or os.environ.get("SLURM_CPUS_PER_TASK"):
        tf.config.threading.set_intra_op_parallelism_threads(int(cpus))
    tf.config.experimental.enable_op_determinism()


def thread_count() -> int:
    """Return the number of threads of an operation on the CPU, which changes how sums round."""
    return tf.config.threading.get_intra_op_parallelism_threads() or available_cores()


def load_run_data(run: FrozenRun) -> Dataset:
    """Load the data set of a run and check that it and the weights are those of its creation.

    Raises:
        UserError: the images cannot be read, or they or the initial weights have changed.
    """
    data = load_dataset(run.config.data, run.cache)
    if data.fingerprint != run.inputs.data:
        raise DataError(
            f"the images under {run.config.data.root} have changed since this run was created; "
            "launch the sweep again to create runs for the current images"
        )
    if weights_digests(run.config.model) != run.inputs.weights:
        files = ", ".join(map(str, weights_files(run.config.model).values()))
        raise DataError(
            f"the weights in {files} have changed since this run was created; "
            "launch the sweep again to create runs for the current weights"
        )
    return data


def describe(config: RunConfig, data: Dataset, replicas: int) -> str:
    """Return one line that describes the training, for the log."""
    counts = ", ".join(f"{len(indices)} {split}" for split, indices in data.splits.items())
    crop = "" if config.data.crop == 1 else f" cropped to {config.data.input_size} px"
    return (
        f"{MODELS[config.model.name].title}: {counts} images of {config.data.image_size} px{crop}, "
        f"{replicas} replica{'s' if replicas > 1 else ''}, batch {config.train.batch_size}, "
        f"learning rate {config.train.learning_rate:g}"
    )
