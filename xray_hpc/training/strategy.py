"""The devices that a run trains on."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from xray_hpc.errors import ConfigError


def make_strategy(devices: Sequence[str] | None = None) -> tf.distribute.MirroredStrategy:
    """A ``MirroredStrategy`` over every visible GPU, or over the CPU where there is none.

    ``devices`` names others, such as ``["CPU:0", "CPU:1"]``. GPU memory is taken as it is needed,
    so that several processes can share one GPU.
    """
    if devices is None:
        gpus = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")[:1]
        devices = [gpu.name for gpu in gpus]
    return tf.distribute.MirroredStrategy(devices=list(devices))


def enable_memory_growth() -> None:
    """Have TensorFlow take GPU memory as it is needed; to be called before any is used."""
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def gpu_names() -> list[str]:
    """The visible GPUs as their vendor calls them."""
    gpus = tf.config.get_visible_devices("GPU")
    return [
        str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))
        for gpu in gpus
    ]


def check_batch(batch_size: int, replicas: int, images: int) -> None:
    """Check that every global batch is whole and divides among the replicas.

    Raises:
        UserError: it does not.
    """
    if batch_size % replicas:
        fitting = max(replicas, round(batch_size / replicas) * replicas)
        raise ConfigError(
            f"train.batch_size is {batch_size}, which does not divide among {replicas} replicas "
            f"(GPUs); use a multiple of {replicas}, such as {fitting}"
        )
    if batch_size > images:
        raise ConfigError(
            f"train.batch_size is {batch_size}, but there are only {images} training images; "
            "use a smaller one"
        )
