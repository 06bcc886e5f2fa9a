"""Launch a sweep again from its own files, without composing its configuration anew."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.errors import (
    ConfigError,
    LockedError,
    NoClusterError,
    SlurmUnavailableError,
    StorageError,
    SubmissionUnknownError,
    SubmitLimitError,
    UserError,
)
from xray_hpc.launching.launch_sweep import launch
from xray_hpc.launching.plan import Plan
from xray_hpc.launching.saved_settings import read_settings
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import storage_errors
from xray_hpc.records.frozen_run import FrozenRun, read_frozen_run
from xray_hpc.records.paths import SweepPaths

RETRY_SECONDS = 60.0
ATTEMPTS = 50  # a collect job has an hour, unless cluster.cpu_job.time says otherwise
TRANSIENT = (
    NoClusterError,  # from a configless cluster while the controller restarts
    SlurmUnavailableError,
    SubmissionUnknownError,
    SubmitLimitError,
    LockedError,
    StorageError,
)


def resume(sweep: SweepPaths, words: Sequence[str] = (), *, trust: bool = False) -> int:
    """Launch every run of the sweep that is not finished; return the exit code.

    Args:
        words: overrides of where and how it runs, such as ``cluster.mem=32G`` or ``wait=true``.
        trust: execute what the files of the sweep say also if others may have written them.

    Raises:
        UserError: an override is invalid, the files of the sweep are not trusted, or the launch
            fails as in :func:`launch`.
    """
    plan = _read_plan(sweep, list(ledger.read(sweep).planned), words, trust=trust)
    command = read_yaml(sweep.sweep_yaml).get("command")
    return launch(plan, list(map(str, command)) if isinstance(command, list) else [])


def submit_waiting(sweep: SweepPaths) -> None:
    """Submit the runs that exceeded the submit limit before, if any; retry for an hour.

    Raises:
        UserError: the runs cannot be submitted, or Slurm did not accept them in that hour.
    """
    for left in range(ATTEMPTS - 1, -1, -1):
        if not (waiting := ledger.read(sweep).waiting):
            return
        try:
            launch(_read_plan(sweep, waiting), None, wait_for_lock=True)
            return
        except TRANSIENT as error:
            if not left:
                raise
            print(f"{error}; retrying", file=sys.stderr, flush=True)
            time.sleep(RETRY_SECONDS)


def _read_plan(
    sweep: SweepPaths, names: Sequence[str], words: Sequence[str] = (), *, trust: bool = False
) -> Plan:
    """Plan the runs ``names`` from their frozen configurations; note those that are unreadable."""
    if not os.path.lexists(sweep.sweep_yaml):
        raise ConfigError(f"{sweep.folder} has no sweep.yaml; run the sweep's own command again")
    runs, damaged = list[FrozenRun](), dict[str, str]()
    for name in names:
        try:
            runs.append(read_frozen_run(sweep.run(name)))
        except UserError as error:
            damaged[name] = f"{name} is not resumed: {error}"
    if not runs:
        with storage_errors(sweep.folder):
            os.scandir(sweep.runs).close()
        first = next(iter(damaged.values()), "run the sweep's own command again")
        raise ConfigError(f"{sweep.folder} has no readable run; {first}")
    settings, planned = _read_settings(sweep, runs[0], words, trust), ledger.read(sweep).planned
    notes = tuple(damaged.values())
    return Plan(settings, tuple(runs), planned, notes, unreadable=tuple(damaged))


def _read_settings(
    sweep: SweepPaths, run: FrozenRun, words: Sequence[str], trust: bool
) -> SweepSettings:
    """Return the sweep's settings with the overrides ``words``."""
    values = read_settings(sweep, words, trust=trust)
    folder = sweep.folder
    return SweepSettings(name=folder.name, results=folder.parent, cache=run.cache, **values)
