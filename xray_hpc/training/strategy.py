"""Choose the devices of a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from xray_hpc.errors import ConfigError


def make_strategy(devices: Sequence[str] | None = None) -> tf.distribute.MirroredStrategy:
    """Return a ``MirroredStrategy`` over all visible GPUs, or over the CPU if there are none.

    ``devices`` selects others, such as ``["CPU:0", "CPU:1"]``.
    """
    if devices is None:
        gpus = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")[:1]
        devices = [gpu.name for gpu in gpus]
    return tf.distribute.MirroredStrategy(devices=list(devices))


def next_batch(batches: Iterator[Any], strategy: tf.distribute.Strategy) -> Any:
    """Return the next batch for ``strategy.run``: each replica gets an equal slice of it.

    Call it in a ``tf.function``. A distributed data set would do the same, with more iterators,
    whose autotuning cannot be turned off (see ``data.input_pipeline.map_ahead``).
    """
    batch, replicas = next(batches), strategy.num_replicas_in_sync
    if replicas == 1:
        return batch
    tensors = tf.nest.flatten(batch)
    with tf.device("CPU:0"):  # so that a GPU receives only its slice
        slices = list(zip(*(tf.split(tensor, replicas) for tensor in tensors), strict=True))
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.nest.pack_sequence_as(batch, slices[context.replica_id_in_sync_group])
    )


def enable_memory_growth() -> None:
    """Let processes share a GPU: allocate its memory as needed. Call it before the first use."""
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def gpu_names() -> list[str]:
    """Return the product names of the visible GPUs."""
    gpus = tf.config.get_visible_devices("GPU")
    return [
        str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))
        for gpu in gpus
    ]


def check_batch(batch_size: int, replicas: int, images: int) -> None:
    """Check that the global batch divides among the replicas and is not larger than the data.

    Raises:
        ConfigError: it does not divide, or is larger.
    """
    if batch_size % replicas:
        nearest = max(replicas, round(batch_size / replicas) * replicas)
        raise ConfigError(
            f"train.batch_size={batch_size} does not divide among {replicas} replicas (GPUs); use "
            f"a multiple of {replicas}, such as {nearest}"
        )
    if batch_size > images:
        raise ConfigError(
            f"train.batch_size={batch_size} is larger than the {images} training images; use a "
            "smaller one"
        )
