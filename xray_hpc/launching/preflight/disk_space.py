"""Whether the results of a sweep fit on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from xray_hpc.config.run_config import ModelConfig, RunConfig
from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.errors import StorageError
from xray_hpc.models.registry import BACKBONES

FILES_PER_RUN = 40
BYTES_PER_RUN = 20_000_000  # tables and figures, generously
LEAST_PER_RUN = 2_000_000
BYTES_PER_WEIGHT = 4
PLAIN_WEIGHTS = 5_000_000  # of a network without a backbone: the largest (vgg) at 150 pixels
# While a run trains it has two checkpoints, each with the weights, the best ones so far and the
# optimizer's two moments of what is not frozen; then its model remains.
TIMES_TRAINING, TIMES_KEPT = 8, 1
AT_ONCE = 50  # that many runs may train at once where cluster.parallel does not say
GONE_WITH_THE_NODE = ("tmpfs", "ramfs")
LOCAL_FOLDERS = (Path("/tmp"), Path("/var/tmp"))


def check(settings: SweepSettings, runs: Sequence[RunConfig]) -> list[str]:
    """Check that there is room for these runs; notes say what may yet go wrong.

    Raises:
        UserError: there are surely too few bytes or files free.
    """
    kept = [_weights(run.model) for run in runs]
    least = len(runs) * LEAST_PER_RUN + TIMES_KEPT * sum(kept)
    sizes = sorted((size or BYTES_PER_WEIGHT * PLAIN_WEIGHTS for size in kept), reverse=True)
    most = len(runs) * BYTES_PER_RUN + TIMES_KEPT * sum(sizes)
    training = sizes[: settings.cluster.parallel or AT_ONCE]
    most += (TIMES_TRAINING - TIMES_KEPT) * sum(training)
    results, cache = _existing(settings.folder), _existing(settings.cache)
    _check_room(results, "results", least, len(runs) * FILES_PER_RUN)
    _check_room(cache, "cache", 0, 1)
    types = file_systems(Path("/proc/self/mounts"))
    notes = list(_notes("results", settings.results, types))
    if (free := _free(results)) <= most:
        notes.append(
            f"{results} has {_readable(free)} free, and these runs may come to need "
            f"{_readable(most)}"
        )
    if settings.results not in settings.cache.parents:
        notes += _notes("cache", settings.cache, types)
    return notes


def file_systems(mounts: Path) -> dict[Path, str]:
    """The type of the file system at each mount point; empty where the system does not say."""
    try:
        lines = [line.split() for line in mounts.read_text(errors="replace").splitlines()]
    except OSError:
        return {}
    return {Path(words[1]): words[2] for words in lines if len(words) > 2}


def _weights(model: ModelConfig) -> int:
    """About how many bytes the weights of the model's backbones are."""
    return BYTES_PER_WEIGHT * sum(BACKBONES[name].parameters for name in model.backbone_weights)


def _free(folder: Path) -> int:
    free = os.statvfs(folder)
    return free.f_bavail * free.f_frsize


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that there is."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _check_room(folder: Path, key: str, needed: int, files: int) -> None:
    free, room = os.statvfs(folder), _free(folder)
    if room <= needed:
        raise StorageError(
            f"{key}: {folder} has {_readable(room)} free, but about {_readable(needed)} are "
            "needed; remove what is not needed there, or put it elsewhere"
        )
    # A file system that makes them as needed says that there are none at all.
    if free.f_files and free.f_favail < files:
        raise StorageError(
            f"{key}: {folder} has room for {free.f_favail} files, but about {files} are needed; "
            "remove what is not needed there, or put it elsewhere"
        )


def _notes(key: str, folder: Path, types: dict[Path, str]) -> Iterable[str]:
    mount = next((path for path in (folder, *folder.parents) if path in types), None)
    if mount is not None and types[mount] in GONE_WITH_THE_NODE:
        yield f"{key} is in {folder}, in the memory of this machine; nodes may see another"
    elif any(local in (folder, *folder.parents) for local in LOCAL_FOLDERS):
        yield f"{key} is in {folder}, which most nodes have each for itself"


def _readable(size: int) -> str:
    """Bytes in the decimal unit that fits."""
    for unit, power in (("TB", 12), ("GB", 9), ("MB", 6)):
        if size >= 10**power:
            return f"{size / 10**power:.1f} {unit}"
    return f"{size} bytes"
