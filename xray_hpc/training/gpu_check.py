"""The GPUs of a job: as many as were asked for, and able to count."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.errors import ConfigError, NodeError

SIDE = 256

Product = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], tf.Tensor]


def check_gpus(asked: int) -> None:
    """Check that TensorFlow sees as many GPUs as the job ``asked`` for, and that each can count.

    Raises:
        UserError: this TensorFlow can use none.
        NodeError: they are not there, or one gives wrong results.
    """
    try:
        names = [device.name for device in tf.config.list_logical_devices("GPU")]
    except (RuntimeError, tf.errors.OpError) as error:
        raise NodeError(f"the GPUs of this node cannot be started: {_words(error)}") from error
    check_count(asked, len(names), tf.test.is_built_with_gpu_support(), driver_gpus)
    check_products(names)


def check_count(asked: int, seen: int, gpu_support: bool, driver: Callable[[], int]) -> None:
    """Compare the GPUs that TensorFlow has ``seen`` with those that were ``asked`` for.

    ``driver`` tells how many the node's driver has: GPUs that it has and TensorFlow does not see
    are a fault of what is installed, which no other node would mend.

    Raises:
        UserError: TensorFlow was built without GPUs, or does not find the libraries for them.
        NodeError: they are not there.
    """
    if seen == asked:
        return
    if not gpu_support or (not seen and driver() >= asked):
        raise ConfigError(
            f"the job has {_gpus(asked)}, but this TensorFlow cannot use any; "
            "install xray-hpc[gpu] (TF_CPP_MIN_LOG_LEVEL=0 shows what it lacks)"
        )
    raise NodeError(f"the job asked for {_gpus(asked)}, but TensorFlow sees {seen}")


def check_products(devices: Sequence[str], product: Product = tf.matmul) -> None:
    """Have each of ``devices`` multiply two matrices, and compare with NumPy's result.

    Raises:
        NodeError: one cannot, or its result is another.
    """
    # Small whole numbers, for which every precision that a GPU may choose is exact.
    rng = np.random.default_rng(0)
    left, right = rng.integers(-4, 5, (2, SIDE, SIDE)).astype(np.float32)
    for name in devices:
        try:
            with tf.device(name):
                result = product(left, right).numpy()
        except (RuntimeError, tf.errors.OpError) as error:
            raise NodeError(f"{name} cannot multiply matrices: {_words(error)}") from error
        if not np.array_equal(result, left @ right):
            raise NodeError(f"{name} multiplies two matrices wrongly")


def driver_gpus() -> int:
    """How many GPUs NVIDIA's driver has for this process; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def _gpus(count: int) -> str:
    return f"{count} GPU{'' if count == 1 else 's'}"


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
