"""Check the GPUs of a job: their number, and that each computes correctly."""

from __future__ import annotations

import ctypes
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.count_text import format_count
from xray_hpc.errors import ConfigError, NodeError

MATRIX_SIDE = 256

Product = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], tf.Tensor]


def check_gpus(requested: int) -> None:
    """Check that TensorFlow finds all ``requested`` GPUs and that each computes correctly.

    Raises:
        ConfigError: this TensorFlow cannot use GPUs.
        NodeError: GPUs are missing, or one computes wrong results.
    """
    try:
        names = [device.name for device in tf.config.list_logical_devices("GPU")]
    except (RuntimeError, tf.errors.OpError) as error:
        reason = textwrap.shorten(str(error), 200)
        raise NodeError(f"the GPUs of this node cannot be initialized: {reason}") from error
    check_count(requested, len(names), tf.test.is_built_with_gpu_support(), driver_gpus)
    check_products(names)


def check_count(requested: int, found: int, gpu_support: bool, driver: Callable[[], int]) -> None:
    """Compare the number of GPUs that TensorFlow ``found`` with the ``requested`` number.

    ``driver`` returns the number of GPUs of the node's driver. GPUs that it has and TensorFlow does
    not find indicate a broken installation, which another node would not repair.

    Raises:
        ConfigError: TensorFlow was built without GPU support, or lacks its libraries.
        NodeError: GPUs are missing.
    """
    if found == requested:
        return
    if not gpu_support or (not found and driver() >= requested):
        raise ConfigError(
            f"the job has {format_count(requested, 'GPU')}, but this TensorFlow cannot use any; "
            "install xray-hpc[gpu] (TF_CPP_MIN_LOG_LEVEL=0 shows what is missing)"
        )
    raise NodeError(
        f"the job requested {format_count(requested, 'GPU')}, but TensorFlow finds {found}"
    )


def check_products(devices: Sequence[str], product: Product = tf.matmul) -> None:
    """Multiply two matrices on each of ``devices`` and compare the result with NumPy's.

    Raises:
        NodeError: a device cannot multiply them, or the result is wrong.
    """
    # Small integers, which are exact in every precision that a GPU may choose.
    rng = np.random.default_rng(0)
    left, right = rng.integers(-4, 5, (2, MATRIX_SIDE, MATRIX_SIDE)).astype(np.float32)
    for name in devices:
        try:
            with tf.device(name):
                result = product(left, right).numpy()
        except (RuntimeError, tf.errors.OpError) as error:
            reason = textwrap.shorten(str(error), 200)
            raise NodeError(f"{name} cannot multiply matrices: {reason}") from error
        if not np.array_equal(result, left @ right):
            raise NodeError(f"{name} multiplies two matrices wrongly")


def driver_gpus() -> int:
    """Return the number of GPUs that NVIDIA's driver has for this process; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
