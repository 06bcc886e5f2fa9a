"""Whether the files of a run are as the run left them, judged in one place for all commands."""

from __future__ import annotations

import functools
from pathlib import Path

from xray_hpc.records.file_state import MISSING, file_state, find_change
from xray_hpc.records.paths import SPLITS, RunPaths
from xray_hpc.records.run_record import RunRecord, Status


def config_state(paths: RunPaths) -> dict[str, str]:
    """Return the state of ``config.yaml``, by its name: all that a new run has."""
    return {paths.config.name: file_state(paths.config)}


def result_states(paths: RunPaths, model: str) -> dict[str, str]:
    """Return the states of the result files of a run that has just been trained, by name."""
    needed = [paths.config, *(paths.folder / name for name in _needed_files(model))]
    figures = sorted(paths.figures.rglob("[!.]*.png"))
    others = [paths.model, paths.summary, paths.worst_misses(model), *figures]
    files = needed + [path for path in others if path.exists()]
    return {path.relative_to(paths.folder).as_posix(): file_state(path) for path in files}


def find_damage(paths: RunPaths, record: RunRecord, *, whole: bool = False) -> str | None:
    """Return which file of a run is missing or has changed; ``None`` if none is.

    A run that is not finished needs its ``config.yaml`` only. Of a finished one, the model and the
    figures may be missing: they can be deleted to save space.

    Args:
        whole: compare the contents of all files, not only of those whose time has changed.

    Raises:
        OSError: a file cannot be read, or is not a regular file.
    """
    finished = record.status is Status.FINISHED
    config = paths.config.name
    needed = _needed_files(record.model) if finished else ()
    names = {*needed, *record.files} if finished else record.files.keys() & {config}
    for name in sorted(names):
        change = find_change(f"{paths.folder}/{name}", record.files.get(name), whole=whole)
        if change is not None and (change != MISSING or name in needed or name == config):
            return f"{name} {change}"
    return None


@functools.cache
def _needed_files(model: str) -> tuple[str, ...]:
    """Return the files that a report needs."""
    run = RunPaths(Path())
    needed = [run.accuracy(model), run.loss(model), run.auc(model)]
    needed += [table(model, split) for split in SPLITS for table in (run.scores, run.roc)]
    return tuple(path.name for path in [*needed, run.metrics])
