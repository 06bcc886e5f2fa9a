"""The failure class and the exit code of an exception."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from xray_hpc.data.array_store import DamagedStoreError
from xray_hpc.data.decode import OutOfMemoryError
from xray_hpc.errors import NodeError, StorageError, TrainingDivergedError, UserError
from xray_hpc.records.run_record import Failure
from xray_hpc.training.failure_class import classify_failure


class ResourceExhaustedError(Exception):
    """Stand in for TensorFlow's exception, whose import takes seconds."""


def system(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


HDF5 = "Unable to synchronously write data (errno = 28, error message = 'No space left on device')"
ON_GPU = "OOM when allocating tensor with shape[9] on /job:localhost/device:GPU:0 by GPU_0_bfc"
ON_HOST = "OOM when allocating tensor with shape[9] on /job:localhost/device:CPU:0 by cpu"


@pytest.mark.parametrize(
    ("error", "failure", "code"),
    [
        (UserError("no images"), Failure.BAD_DATA, 2),
        (TrainingDivergedError("loss is nan"), Failure.NAN_LOSS, 1),
        (NodeError("no GPU"), Failure.NODE_FAILURE, 75),
        (DamagedStoreError("truncated"), Failure.BUG, 1),
        (MemoryError(), Failure.OUT_OF_MEMORY, 1),
        (OutOfMemoryError(Path("image.dcm")), Failure.OUT_OF_MEMORY, 1),
        (system(errno.ENOMEM), Failure.OUT_OF_MEMORY, 1),
        (ImportError("x.so: failed to map segment from"), Failure.OUT_OF_MEMORY, 1),
        (ImportError("no module named x"), Failure.BUG, 1),
        (StorageError("no space left in the cache"), Failure.STORAGE, 74),
        (np.exceptions.AxisError("axis"), Failure.BUG, 1),
        (FileNotFoundError(errno.ENOENT, "no such file"), Failure.BUG, 1),
        (system(errno.ENOSPC), Failure.STORAGE, 74),
        (system(errno.EROFS), Failure.STORAGE, 74),
        (system(errno.EDQUOT), Failure.STORAGE, 74),
        (system(errno.EIO), Failure.STORAGE, 74),
        (system(errno.ENOTCONN), Failure.STORAGE, 74),
        (system(errno.ETIMEDOUT), Failure.STORAGE, 74),
        (RuntimeError("Connection timed out"), Failure.BUG, 1),  # perhaps of a network connection
        (OSError(HDF5), Failure.STORAGE, 74),
        (RuntimeError(HDF5), Failure.STORAGE, 74),
        (caused(ValueError("cannot save"), system(errno.EDQUOT)), Failure.STORAGE, 74),
        (caused(UserError("cannot decode"), system(errno.ENOSPC)), Failure.STORAGE, 74),
    ],
)
def test_classify_failure_by_exception(error: Exception, failure: Failure, code: int) -> None:
    assert classify_failure(error, on_gpu=False) == (failure, code)


@pytest.mark.parametrize(
    ("message", "on_gpu", "failure"),
    [
        (ON_GPU, True, Failure.GPU_OUT_OF_MEMORY),
        ("failed to allocate memory", True, Failure.GPU_OUT_OF_MEMORY),
        (ON_HOST, True, Failure.OUT_OF_MEMORY),
        (ON_HOST, False, Failure.OUT_OF_MEMORY),
        ("failed to allocate memory", False, Failure.OUT_OF_MEMORY),
    ],
)
def test_out_of_memory_is_of_the_gpu_or_the_host(
    message: str, on_gpu: bool, failure: Failure
) -> None:
    assert classify_failure(ResourceExhaustedError(message), on_gpu=on_gpu) == (failure, 1)


def test_storage_error_is_found_in_the_exception_context() -> None:
    error = KeyError("closed file")
    error.__context__ = system(errno.ENOSPC)
    assert classify_failure(error, on_gpu=False) == (Failure.STORAGE, 74)
