"""Check that the results of a sweep fit on the disk, in a folder that the nodes share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from xray_hpc.config.run_config import ModelConfig, RunConfig
from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.count_text import format_bytes
from xray_hpc.errors import StorageError
from xray_hpc.models.registry import BACKBONES

FILES_PER_RUN = 40
MAX_BYTES_PER_RUN = 20_000_000  # tables and figures
MIN_BYTES_PER_RUN = 2_000_000
BYTES_PER_WEIGHT = 4
PLAIN_WEIGHTS = 5_000_000  # the largest network without a backbone: vgg at 150 pixels
# A training run has two checkpoints, each with the weights, the best weights and the optimizer's
# two moments of the trainable ones; a finished run has only its model.
WEIGHTS_WHILE_TRAINING, WEIGHTS_WHEN_FINISHED = 8, 1
DEFAULT_PARALLEL = 50
MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")
LOCAL_FOLDERS = (Path("/tmp"), Path("/var/tmp"))


def check_disk_space(settings: SweepSettings, runs: Sequence[RunConfig]) -> list[str]:
    """Check that there is room for these runs; return notes on what may go wrong.

    Raises:
        StorageError: less is free than the runs need at least.
    """
    weights = [_backbone_bytes(run.model) for run in runs]
    least = len(runs) * MIN_BYTES_PER_RUN + WEIGHTS_WHEN_FINISHED * sum(weights)
    sizes = sorted((size or BYTES_PER_WEIGHT * PLAIN_WEIGHTS for size in weights), reverse=True)
    most = len(runs) * MAX_BYTES_PER_RUN + WEIGHTS_WHEN_FINISHED * sum(sizes)
    training = sizes[: settings.cluster.parallel or DEFAULT_PARALLEL]
    most += (WEIGHTS_WHILE_TRAINING - WEIGHTS_WHEN_FINISHED) * sum(training)
    results, cache = _existing(settings.folder), _existing(settings.cache)
    _check_room(results, "results", least, len(runs) * FILES_PER_RUN)
    _check_room(cache, "cache", 0, 1)
    types = file_systems(Path("/proc/self/mounts"))
    notes = list(_notes("results", settings.results, types))
    if (free := shutil.disk_usage(results).free) <= most:
        has = f"{results} has {format_bytes(free)} free"
        notes.append(f"{has}, but these runs may need {format_bytes(most)}")
    if settings.results not in settings.cache.parents:
        notes += _notes("cache", settings.cache, types)
    return notes


def file_systems(mounts: Path) -> dict[Path, str]:
    """Return the file system type of each mount point; empty if the list cannot be read."""
    try:
        lines = [line.split() for line in mounts.read_text(errors="replace").splitlines()]
    except OSError:
        return {}
    return {Path(words[1]): words[2] for words in lines if len(words) > 2}


def _backbone_bytes(model: ModelConfig) -> int:
    """Return the approximate size of the weights of the model's backbones."""
    return BYTES_PER_WEIGHT * sum(BACKBONES[name].parameters for name in model.backbone_weights)


def _existing(folder: Path) -> Path:
    """Return the folder or its nearest existing parent."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _check_room(folder: Path, key: str, needed: int, files: int) -> None:
    """Raise ``StorageError`` without room for so many bytes and files."""
    free, room = os.statvfs(folder), shutil.disk_usage(folder).free
    has, fix = f"{key}: {folder} has", f"or set {key} to another folder"
    if room <= needed:
        needs = f"but the runs need about {format_bytes(needed)}; free some space"
        raise StorageError(f"{has} {format_bytes(room)} free, {needs}, {fix}")
    # A file system that allocates inodes on demand reports a total of 0.
    if free.f_files and free.f_favail < files:
        needs = f"but the runs need about {files}; remove some files"
        raise StorageError(f"{has} room for {free.f_favail} files, {needs}, {fix}")


def _notes(key: str, folder: Path, types: dict[Path, str]) -> Iterable[str]:
    """Yield a note if the folder is probably not shared with the nodes."""
    mount = next((path for path in (folder, *folder.parents) if path in types), None)
    if mount is not None and types[mount] in MEMORY_FILE_SYSTEMS:
        yield f"{key} is in {folder}, in this machine's memory; the nodes may not see it"
    elif any(local in (folder, *folder.parents) for local in LOCAL_FOLDERS):
        yield f"{key} is in {folder}, which nodes usually do not share"
