"""How far the training of a run has come: ``progress.json``, and the names of its checkpoints."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from xray_hpc.errors import UserError
from xray_hpc.records.atomic_files import write_text
from xray_hpc.records.json_record import read_json_record, write_json_record
from xray_hpc.records.paths import RunPaths

FEATURE_BLOCKS = "feature_blocks"


@dataclass(frozen=True)
class TrainingProgress:
    """What the training process says after each epoch.

    ``done`` of ``epochs`` are over; ``first`` were done before this process started.
    ``best_epoch`` counts from 0. ``seconds_per_epoch`` is the mean of this process's epochs.
    """

    done: int
    epochs: int
    first: int
    seconds_per_epoch: float
    best_epoch: int
    val_accuracy: float
    val_loss: float
    val_auc: float | None


def write_progress(paths: RunPaths, progress: TrainingProgress) -> None:
    """Write ``progress.json`` in one step."""
    write_json_record(paths.progress, progress)


def read_progress(paths: RunPaths) -> TrainingProgress | None:
    """Read ``progress.json``; ``None`` where there is none, or none that makes sense."""
    try:
        return read_json_record(TrainingProgress, paths.progress)
    except (OSError, UserError):
        return None


def checkpoint_name(epoch: int, step: int) -> str:
    """What a checkpoint after ``epoch`` epochs and ``step`` steps of the next is called.

    Without its suffix; of two, the one that sorts last is farther.
    """
    return f"epoch-{epoch:04}-step-{step:06}"


def write_feature_blocks(paths: RunPaths, blocks: int) -> None:
    """Note how many blocks of the cached features are safe while the run computes them."""
    write_text(paths.checkpoint_folder / FEATURE_BLOCKS, f"{blocks}\n")


def read_feature_blocks(paths: RunPaths) -> int | None:
    """What :func:`write_feature_blocks` noted last."""
    try:
        return int((paths.checkpoint_folder / FEATURE_BLOCKS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def remove_checkpoints(paths: RunPaths) -> None:
    """Remove what a finished run needs no more."""
    shutil.rmtree(paths.checkpoint_folder, ignore_errors=True)


def latest_checkpoint(paths: RunPaths) -> list[int] | None:
    """The epochs and steps of the farthest checkpoint; ``None`` where there is none."""
    found = (
        re.match(r"epoch-(\d+)-step-(\d+)\.", path.name)
        for path in paths.checkpoint_folder.glob("e*")
    )
    return max(([int(name[1]), int(name[2])] for name in found if name), default=None)
