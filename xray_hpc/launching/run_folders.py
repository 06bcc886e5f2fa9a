"""Create the folders of a planned sweep, before any run starts."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile

from xray_hpc import shared_folder
from xray_hpc.config.secret_values import mask_override
from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.data.private_cache import private_cache
from xray_hpc.errors import ConfigError, RecordError, StorageError
from xray_hpc.launching.plan import Plan
from xray_hpc.launching.saved_settings import write_settings
from xray_hpc.records import ledger
from xray_hpc.records.code_state import current_code_state, write_code_state
from xray_hpc.records.file_lock import NOT_WRITABLE
from xray_hpc.records.frozen_run import FrozenRun, write_frozen_run
from xray_hpc.records.paths import RunPaths, SweepPaths, display_path
from xray_hpc.records.run_integrity import config_state
from xray_hpc.records.run_record import GitState, RunRecord, Status, now, read_record, write_record
from xray_hpc.system_errors import advice

WRITERS = 8


def check_folders(settings: SweepSettings, kind: str) -> list[str]:
    """Check that results and cache can be written, and that the sweep's folder is one of a sweep.

    Write nothing. For Slurm, return a note if only the nodes may be able to create the cache, or if
    it is another user's.

    Raises:
        ConfigError: the sweep's folder holds other files than those of a sweep.
        StorageError: a folder cannot be written or read.
    """
    sweep = SweepPaths(settings.folder)
    shown, choose = display_path(sweep.folder), "choose another folder with name=NAME"
    # os.path is false for what lies in a folder without access, where pathlib raises.
    if os.path.isdir(sweep.folder):
        try:
            names = sorted(os.listdir(sweep.folder))
        except OSError as error:
            raise StorageError(f"{shown} cannot be read ({error.strerror}); {choose}") from error
        others = [name for name in names if name[0] != "." and name != sweep.data.name]
        own = {path.name for path in (sweep.runs, sweep.ledger, sweep.sweep_yaml)}
        if others and own.isdisjoint(names):
            raise ConfigError(f"{shown} holds {others[0]}, but no sweep; {choose}")
    notes = []
    for key, folder in (("results", settings.results), ("cache", settings.cache)):
        existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
        try:
            with contextlib.suppress(FileNotFoundError):
                os.stat(folder)  # its name may be too long
            with TemporaryFile(dir=existing):
                continue
        except OSError as error:
            place = "which" if existing == folder else f"but {existing}"
            problem = f"{key} is {folder}, {place} cannot be written ({error.strerror})"
            denied = error.errno in NOT_WRITABLE
        if key == "cache" and denied and existing == folder and (private := private_cache()):
            if kind == "slurm":  # local jobs print this themselves, if anything is to be made
                notes.append(f"{problem}; what is not there yet is made in {private}")
            continue
        if key == "results" or kind != "slurm" or existing == folder:
            raise StorageError(f"{problem}; choose another folder with {key}=FOLDER")
        notes.append(f"{problem}; it must be writable on the nodes")
    return notes


def make_results_folder(folder: Path) -> None:
    """Create a folder and its parents; raise ``StorageError`` if that fails."""
    try:
        shared_folder.make_folder(folder)
    except OSError as error:
        problem = f"cannot create the folder {folder} ({error.strerror})"
        raise StorageError(f"{problem}; {advice(error)}, and launch again") from error


def create_run_folders(plan: Plan, command: Sequence[str] | None, todo: AbstractSet[str]) -> None:
    """Write the sweep's files and its run folders.

    Args:
        command: the user's command line; ``None`` leaves ``sweep.yaml`` as it is.
        todo: runs whose configuration is written, also if it exists: the cache or the path of the
            data may have changed. Other runs are left as they are.
    """
    sweep = plan.sweep
    make_results_folder(sweep.runs)
    known = set(ledger.read(sweep).planned)
    if new := {run.name: plan.overrides[run.name] for run in plan.runs if run.name not in known}:
        ledger.append(sweep, "planned", runs=new)
    state = current_code_state()
    git = GitState(state.commit, state.changes is not None) if state.commit else None
    code = write_code_state(sweep.code, state)
    with ThreadPoolExecutor(WRITERS) as pool:  # writing waits for the file system
        list(pool.map(lambda run: _create_run(plan, run, git), plan.select(todo)))
    if command is None:
        return
    content = {
        "name": sweep.name,
        "launched": now(),
        "command": list(map(mask_override, command)),
        "code": code,
        "report": dataclasses.asdict(plan.settings.report),
        "runs": [run.name for run in plan.runs],
    }
    write_settings(sweep, content, plan.settings.cluster)


def _create_run(plan: Plan, run: FrozenRun, git: GitState | None) -> None:
    """Write a run's frozen configuration, an empty log and, for a new run, its record."""
    paths = plan.sweep.run(run.name)
    write_frozen_run(paths, run)
    shared_folder.create_file(paths.log)  # so that `xray_hpc.logs -f` can follow it already
    files, record = config_state(paths), _usable_record(paths)
    if record is None:
        model, epochs = run.config.model.name, run.config.train.epochs
        overrides, sweep = list(plan.overrides[run.name]), plan.sweep.name
        record = RunRecord(run.name, sweep, model, overrides=overrides, epochs=epochs, git=git)
        write_record(paths, dataclasses.replace(record, files=files))
    elif record.files != files:
        write_record(paths, dataclasses.replace(record, files=files))


def _usable_record(paths: RunPaths) -> RunRecord | None:
    """Return the record of a run to start; ``None`` if it has none, or a damaged one."""
    try:
        record = read_record(paths)
    except RecordError:
        return None
    if record is None or record.run != paths.name:
        return None
    # A finished run to start is damaged.
    return None if record.status is Status.FINISHED else record
