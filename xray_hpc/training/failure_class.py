"""Classify the exception that ended a training, and choose the exit code for the worker."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from xray_hpc.errors import NodeError, StorageError, TrainingDivergedError, UserError
from xray_hpc.records import exit_codes
from xray_hpc.records.run_record import Failure
from xray_hpc.system_errors import STORAGE_ERRORS, lacks_memory

# Libraries that write files (HDF5, Keras, Pillow) may replace an OSError by an exception that only
# quotes its message. The messages of these errors are also used for networks and devices.
AMBIGUOUS_ERRORS = {errno.EACCES, errno.EPERM, errno.ETIMEDOUT}
STORAGE_MESSAGES = [os.strerror(number) for number in sorted(STORAGE_ERRORS - AMBIGUOUS_ERRORS)]


def classify_failure(error: BaseException, *, on_gpu: bool) -> tuple[Failure, int]:
    """Return the failure class of ``error`` and the exit code for the worker.

    ``on_gpu`` says whether the run trains on GPUs.
    """
    if _is_storage_error(error):
        return Failure.STORAGE, exit_codes.STORAGE_ERROR
    if isinstance(error, NodeError):
        return Failure.NODE_FAILURE, exit_codes.BAD_NODE
    if isinstance(error, TrainingDivergedError):
        return Failure.NAN_LOSS, 1
    if lacks_memory(error):  # also while it decodes images, which is a UserError as well
        return Failure.OUT_OF_MEMORY, 1
    if isinstance(error, UserError):
        return Failure.BAD_DATA, exit_codes.USER_ERROR
    # Compared by name, because the import of TensorFlow may be what failed.
    if type(error).__name__ == "ResourceExhaustedError":
        on_host = not on_gpu or "device:CPU" in str(error)
        return (Failure.OUT_OF_MEMORY if on_host else Failure.GPU_OUT_OF_MEMORY), 1
    return Failure.BUG, 1


def _is_storage_error(error: BaseException) -> bool:
    return any(
        isinstance(link, StorageError)
        or (isinstance(link, OSError) and link.errno in STORAGE_ERRORS)
        or any(message in str(link) for message in STORAGE_MESSAGES)
        for link in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
