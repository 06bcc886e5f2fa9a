"""Load the runs of one or several sweeps into memory."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.errors import ConfigError
from xray_hpc.monitoring.discovery import run_names
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import storage_errors
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.report.process_pool import ProcessPool
from xray_hpc.report.read_run import read_run
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.shared_columns import SharedColumns
from xray_hpc.report.sweep_results import SweepResults

RESULT_TABLES = (".csv", "metrics.json")


@dataclass(frozen=True)
class RunSource:
    """A run folder and the facts of the ledger about it; see :func:`read_run`."""

    paths: RunPaths
    planned: Sequence[str] = ()
    cancelled: int | None = None


def load_sweeps(sweeps: Sequence[SweepPaths]) -> SweepResults:
    """Read all runs of the sweeps, in launch order.

    A run that cannot be read has its status and the reason. A run that several sweeps have with the
    same results is there once; runs with the same name and different results are named
    ``sweep/run``.

    Raises:
        ConfigError: a sweep has no runs.
        StorageError: a sweep's folder cannot be read.
    """
    sources = [source for sweep in sweeps for source in _sources(sweep)]
    shared = SharedColumns()
    runs = list[RunResult]()
    with ProcessPool(read_source) as pool:
        for run in pool.map(sources):
            shared.share(run)
            runs.append(run)
    names = _sweep_names(sweeps)
    return _merged(sweeps, [names[source.paths.folder.parent] for source in sources], sources, runs)


def read_source(source: RunSource) -> RunResult:
    """Read a run folder."""
    return read_run(source.paths, source.planned, source.cancelled)


def _sources(sweep: SweepPaths) -> list[RunSource]:
    with storage_errors(sweep.folder):
        names = run_names(sweep)
        if not names:
            raise ConfigError(f"{sweep.folder} has no runs yet; launch the sweep first")
        launches = ledger.read(sweep)
    return [
        RunSource(sweep.run(name), launches.planned.get(name, ()), launches.cancelled.get(name))
        for name in names
    ]


def _sweep_names(sweeps: Sequence[SweepPaths]) -> Mapping[Path, str]:
    """Return a unique name for each folder of runs: that of its sweep, or its path."""
    counts = Counter(sweep.folder.resolve().name for sweep in sweeps)
    return {
        sweep.runs: name if counts[name := sweep.folder.resolve().name] == 1 else str(sweep.folder)
        for sweep in sweeps
    }


def _merged(
    sweeps: Sequence[SweepPaths],
    owners: Sequence[str],
    sources: Sequence[RunSource],
    runs: Sequence[RunResult],
) -> SweepResults:
    """Drop copies of runs, and give the others unique names."""
    finished = {run.name for run in runs if run.finished}
    kept: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
    for i, run in enumerate(runs):
        if run.finished or run.name not in finished:
            kept.setdefault((run.name, _contents(run)), i)
    counts = Counter(name for name, _ in kept)
    results, folders, owner_of = list[RunResult](), dict[str, RunPaths](), dict[str, str]()
    for (name, _), i in kept.items():
        unique = name if counts[name] == 1 else f"{owners[i]}/{name}"
        results.append(dataclasses.replace(runs[i], name=unique))
        folders[unique], owner_of[unique] = sources[i].paths, owners[i]
    return SweepResults(sweeps, results, folders, owner_of)


def _contents(run: RunResult) -> tuple[tuple[str, str], ...]:
    """Return the checksums of a finished run's metrics and tables; empty for other runs."""
    files = run.record.files if run.finished and run.record else {}
    checksums = ((name, str(state).split()[-1]) for name, state in files.items())
    return tuple(sorted(pair for pair in checksums if pair[0].endswith(RESULT_TABLES)))
