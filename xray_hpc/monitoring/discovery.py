"""Find sweeps and runs by the names that a user types."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from xray_hpc.absolute_path import absolute_path
from xray_hpc.errors import ConfigError, StorageError, nearest
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import storage_errors
from xray_hpc.records.ledger import Ledger
from xray_hpc.records.paths import RunPaths, SweepPaths

MAX_NAMES = 8


def find_sweeps(results: Path) -> list[SweepPaths]:
    """Return the sweeps in ``results``, sorted by name, and folders there that cannot be read.

    Raises:
        StorageError: ``results`` cannot be read.
    """
    with storage_errors(results):
        folders = [results / name for name in _subfolders(results)]
    return [SweepPaths(one) for one in folders if _is_sweep(one) or not os.access(one, os.X_OK)]


def run_names(sweep: SweepPaths, entries: Ledger | None = None) -> list[str]:
    """Return the runs of a sweep in launch order, then those missing in its ledger, by name.

    Raises:
        OSError: the ledger or the folder of the runs cannot be read.
    """
    planned = (entries or ledger.read(sweep)).planned
    return list(dict.fromkeys([*planned, *_subfolders(sweep.runs)]))


def find_sweep(text: str, results: Path) -> SweepPaths:
    """Return the sweep with this folder, or with this name in ``results``."""
    for folder in (Path(text), results / text):
        if _is_sweep(folder):
            return SweepPaths(absolute_path(folder) if folder.name in ("", "..") else folder)
        if os.path.isdir(folder) and not os.access(folder, os.X_OK):
            with storage_errors(folder):
                os.stat(folder / "runs")
    raise ConfigError(_suggest_sweep(text, results))


def _suggest_sweep(text: str, results: Path) -> str:
    folder = Path(text)
    if _is_run(folder):
        return f"{text} is the folder of one run; name its sweep: {folder.parent.parent}"
    if folder.name == "runs" and _is_sweep(folder.parent):
        return f"{text} holds the runs of a sweep; name the sweep: {folder.parent}"
    if inside := [sweep.name for sweep in find_sweeps(folder)]:
        return f"{text} holds several sweeps; name one of them: {join_names(inside)}"
    known = [sweep.name for sweep in find_sweeps(results)]
    if not known:
        return f"there is no sweep '{text}', nor any other in {results}; give its folder"
    return f"there is no sweep '{text}' in {results}" + (
        nearest(folder.name, known) or f"; choose one of {join_names(known)}"
    )


def find_run(text: str, results: Path) -> RunPaths:
    """Return the run with this folder, or whose name starts so: ``RUN`` or ``SWEEP/RUN``."""
    folder = Path(text)
    if _is_run(folder):
        return RunPaths(folder.resolve())
    if "/" in text and _is_sweep(folder):
        raise ConfigError(_suggest_run(text, SweepPaths(folder)))
    sweep_name, _, prefix = text.rpartition("/")
    if not sweep_name and not prefix:  # every name starts so
        raise ConfigError(f"'{text}' names no run; give a run's folder or the start of its name")
    sweep_name = sweep_name.removesuffix("/runs")
    sweeps = [find_sweep(sweep_name, results)] if sweep_name else find_sweeps(results)
    runs = dict[str, RunPaths]()
    for sweep in sweeps:
        try:
            with storage_errors(sweep.folder):
                runs |= {f"{sweep.name}/{name}": sweep.run(name) for name in run_names(sweep)}
        except StorageError:
            if sweep_name:
                raise
    matches = {key: run for key, run in runs.items() if run.name.startswith(prefix)}
    if exact := {key: run for key, run in matches.items() if run.name == prefix}:
        matches = exact
    if len(matches) > 1:
        raise ConfigError(
            f"'{text}' matches {len(matches)} runs: {join_names(matches)}; type more of the name"
        )
    if not matches:
        if text in (sweep.name for sweep in sweeps):
            raise ConfigError(_suggest_run(text, SweepPaths(results / text)))
        where = sweeps[0].folder if sweep_name else results
        hint = nearest(prefix, [run.name for run in runs.values()])
        raise ConfigError(f"there is no run '{prefix}' in {where}{hint}")
    return next(iter(matches.values()))


def _suggest_run(text: str, sweep: SweepPaths) -> str:
    with storage_errors(sweep.folder):
        names = run_names(sweep)
    fix = f"name one of its runs: {join_names(names)}" if names else "it has no run yet"
    return f"{text} is a sweep; {fix}"


def join_names(names: Iterable[str]) -> str:
    """Return the first names, separated by commas."""
    names = list(names)
    return ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")


def _is_run(folder: Path) -> bool:
    run = RunPaths(folder)
    return os.path.isfile(run.record) or os.path.isfile(run.config)


def _is_sweep(folder: Path) -> bool:
    sweep = SweepPaths(folder)
    # Unlike pathlib's, these are false where permission is denied.
    return os.path.isdir(sweep.runs) or os.path.isfile(sweep.ledger)


def _subfolders(parent: Path) -> list[str]:
    """Return the names of the visible folders in ``parent``, sorted; none if it is missing."""
    try:
        with os.scandir(parent) as entries:
            return sorted(one.name for one in entries if one.name[0] != "." and _is_folder(one))
    except FileNotFoundError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
