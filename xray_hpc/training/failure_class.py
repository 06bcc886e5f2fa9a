"""Why a training failed: the class of an exception, and the exit code that tells the worker."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import NamedTuple

from xray_hpc.errors import NodeError, TrainingDivergedError, UserError
from xray_hpc.records import exit_codes
from xray_hpc.records.atomic_files import STORAGE_ERRORS
from xray_hpc.records.run_record import Failure

# Libraries that write (HDF5, Keras, Pillow) may keep of an OSError nothing but its words. Those of
# some are said of networks and devices too.
SAID_OF_OTHERS = {errno.EACCES, errno.EPERM, errno.ETIMEDOUT}
STORAGE_WORDS = [os.strerror(number) for number in sorted(STORAGE_ERRORS - SAID_OF_OTHERS)]


class Verdict(NamedTuple):
    """What is written about a failure, and what the process exits with."""

    failure: Failure
    code: int


def judge(error: BaseException, *, on_gpu: bool) -> Verdict:
    """The class of ``error``; ``on_gpu`` says whether the run trains on GPUs."""
    if _is_storage(error):
        return Verdict(Failure.STORAGE, exit_codes.STORAGE)
    if isinstance(error, NodeError):
        return Verdict(Failure.NODE_FAILURE, exit_codes.UNFIT_NODE)
    if isinstance(error, TrainingDivergedError):
        return Verdict(Failure.NAN_LOSS, 1)
    if isinstance(error, UserError):
        return Verdict(Failure.BAD_DATA, exit_codes.WRONG_INPUT)
    if isinstance(error, MemoryError):
        return Verdict(Failure.OUT_OF_MEMORY, 1)
    # By its name: TensorFlow may be what could not be imported.
    if type(error).__name__ == "ResourceExhaustedError":
        on_host = not on_gpu or "device:CPU" in str(error)
        return Verdict(Failure.OUT_OF_MEMORY if on_host else Failure.GPU_OUT_OF_MEMORY, 1)
    return Verdict(Failure.BUG, 1)


def _is_storage(error: BaseException) -> bool:
    return any(
        (isinstance(link, OSError) and link.errno in STORAGE_ERRORS)
        or any(words in str(link) for words in STORAGE_WORDS)
        for link in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
