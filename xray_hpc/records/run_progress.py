"""The progress of a run: ``progress.json``, its checkpoints and its cached features."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from xray_hpc.errors import UserError
from xray_hpc.records.atomic_files import check_write, write_text
from xray_hpc.records.json_record import read_json_record, write_json_record
from xray_hpc.records.paths import RunPaths
from xray_hpc.regular_file import read_regular
from xray_hpc.shared_folder import make_subfolder

FEATURE_BLOCKS = "feature_blocks"
NUMBER_BYTES = 20  # of a number of 64 bits


@dataclass(frozen=True)
class TrainingProgress:
    """The contents of ``progress.json``, which training writes after each epoch."""

    done: int  # number of completed epochs
    epochs: int  # number of epochs to train
    first: int  # number of epochs that were complete when this attempt started
    seconds_per_epoch: float  # mean over the epochs of this attempt
    best_epoch: int  # best epoch so far, from 1
    val_accuracy: float  # at the best epoch, as the next two
    val_loss: float
    val_auc: float | None


def write_progress(paths: RunPaths, progress: TrainingProgress) -> None:
    """Write ``progress.json``."""
    write_json_record(paths.progress, progress)


def read_progress(paths: RunPaths) -> TrainingProgress | None:
    """Read ``progress.json``; ``None`` if it is missing or damaged."""
    try:
        return read_json_record(TrainingProgress, paths.progress)
    except (OSError, UserError):
        return None


def checkpoint_name(epoch: int, step: int) -> str:
    """Return a checkpoint's name after ``epoch`` whole epochs and ``step`` steps of the next."""
    return f"epoch-{epoch:04}-step-{step:06}"


def write_feature_blocks(paths: RunPaths, blocks: int) -> None:
    """Write how many blocks of the cached features the run has stored so far."""
    make_subfolder(paths.checkpoint_folder)
    write_text(paths.checkpoint_folder / FEATURE_BLOCKS, f"{blocks}\n")


def read_feature_blocks(paths: RunPaths) -> int | None:
    """Return the number that :func:`write_feature_blocks` wrote; ``None`` if there is none."""
    try:
        return int(read_regular(paths.checkpoint_folder / FEATURE_BLOCKS, NUMBER_BYTES))
    except (OSError, ValueError):
        return None


def remove_checkpoints(paths: RunPaths) -> None:
    """Remove the checkpoints of a finished run."""
    check_write()
    shutil.rmtree(paths.checkpoint_folder, ignore_errors=True)


def latest_checkpoint(paths: RunPaths) -> list[int] | None:
    """Return the epochs and steps of the latest checkpoint; ``None`` if there is none."""
    found = (
        re.match(r"epoch-(\d+)-step-(\d+)\.", path.name)
        for path in paths.checkpoint_folder.glob("e*")
    )
    return max(([int(name[1]), int(name[2])] for name in found if name), default=None)
