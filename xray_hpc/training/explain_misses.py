"""Explain the worst misses of a trained run; a failure does not fail the run."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping

import keras
import tensorflow as tf

from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.errors import LeaseLostError, UserError
from xray_hpc.explanations.worst_misses import write_worst_misses
from xray_hpc.metrics import Floats
from xray_hpc.records.atomic_files import is_storage_failure
from xray_hpc.records.paths import RunPaths
from xray_hpc.system_errors import describe_system_error

logger = logging.getLogger(__name__)


def explain_misses(
    model: keras.Model,
    config: RunConfig,
    data: Dataset,
    logits: Mapping[str, Floats],
    paths: RunPaths,
) -> None:
    """Write the worst misses of validation and test, unless ``train.explain`` is false.

    An error is a warning, with its traceback if it is a bug: the run is trained, which may have
    taken days, and ``python -m xray_hpc.explain`` can be run at any time.

    Raises:
        OSError: the folder of the run cannot be written; its other files would fail as well.
        LeaseLostError: another process has the run.
    """
    if not config.train.explain:
        return
    try:
        write_worst_misses(paths, config.model.name, model, data, logits)
    except Exception as error:
        storage = isinstance(error, OSError) and is_storage_failure(paths.folder, error)
        if storage or isinstance(error, LeaseLostError):
            raise
        # What an earlier attempt wrote would remain in part.
        paths.worst_misses(config.model.name).unlink(missing_ok=True)
        shutil.rmtree(paths.worst_miss_figures, ignore_errors=True)
        known = isinstance(error, UserError | tf.errors.ResourceExhaustedError)
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        logger.warning(
            "Cannot explain the worst misses, continuing without them (%s)",
            reason,
            exc_info=not known and describe_system_error(error) is None,
        )
