"""Measure the status command, and the cost of leases."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import paused_cluster, sweep_commands
from tests.benchmarks.markdown_table import TIMES, Table, number, times
from tests.benchmarks.paused_cluster import PausedCluster, SkippedError, start_paused_cluster
from tests.benchmarks.timing import Sample, heavy_imports, log_progress, run_python, time_call
from tests.run_folders import run_metrics
from xray_hpc.records import ledger
from xray_hpc.records.json_record import with_checksum, write_json_record
from xray_hpc.records.lease import Lease
from xray_hpc.records.lease_file import LeaseOwner, current_owner
from xray_hpc.records.paths import SPLITS, RunPaths, SweepPaths
from xray_hpc.records.run_integrity import result_states
from xray_hpc.records.run_progress import TrainingProgress
from xray_hpc.records.run_record import Attempt, ErrorInfo, Status, now, read_record
from xray_hpc.slurm.client import QUEUE_FORMAT

SIZE = 1000
FIGURES = 9  # of a finished run
EPOCHS = 50
NODE = "gpu-01"
# The states of every ten runs in launch order.
MIX = ("finished",) * 5 + ("running",) * 2 + ("failed",) + ("pending",) * 2
SQUEUE = ("squeue", "--noheader", "--array", "--me", f"--format={QUEUE_FORMAT}")


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield two tables: status compared with ``squeue``, and leases."""
    status = Table(
        f"Status of {SIZE:,} runs",
        f"`python -m xray_hpc.status SWEEP` with {', '.join(_counts())} runs; running ones have a "
        f"progress.json and a live lease of another host. {paused_cluster.ABOUT}",
        ("command", *TIMES, "Slurm calls"),
    )
    log_progress(f"launching {SIZE} runs")
    try:
        with start_paused_cluster(folder / "status") as cluster:
            status.rows += _status(cluster, folder / "status" / "results", repeat)
    except SkippedError as reason:
        status.rows.append((f"skipped: {reason}", "-", "-", "-"))
    loads = ", ".join(heavy_imports(("xray_hpc.status", "--help"))) or "none"
    status.remarks.append(f"Large libraries imported: {loads}.")
    yield status
    log_progress(f"leases of {SIZE} runs")
    yield _leases(folder / "leases", repeat)


def _counts() -> Iterator[str]:
    for state in dict.fromkeys(MIX):
        yield f"{SIZE * MIX.count(state) // len(MIX)} {state}"


def _status(cluster: PausedCluster, results: Path, repeat: int) -> Iterator[Sequence[str]]:
    run_python("-m", *sweep_commands.command(results, SIZE), **cluster.environment)
    (sweep,) = (SweepPaths(path) for path in results.iterdir() if (path / "runs").is_dir())
    _set_states(sweep, cluster)
    command = ("-m", "xray_hpc.status", str(sweep.folder))
    output = run_python(*command, **cluster.environment).stdout
    if any(count not in output for count in _counts()):
        raise RuntimeError(f"status does not show {list(_counts())}:\n{output}")
    commands: dict[str, Callable[[], object]] = {
        "`python -m xray_hpc.status SWEEP`": lambda: run_python(*command, **cluster.environment),
        "`squeue --array` alone": lambda: cluster.ask(*SQUEUE),
        "for scale: `python -c 'pass'`": lambda: run_python("-c", "pass"),
    }
    for name, call in commands.items():
        before, samples = cluster.calls(), []
        for _ in range(repeat):
            _renew(sweep)
            samples.append(time_call(call))
        calls = (cluster.calls() - before).items()
        yield name, *times(samples), ", ".join(f"{n // repeat} {program}" for program, n in calls)


def _set_states(sweep: SweepPaths, cluster: PausedCluster) -> None:
    """Write the records of the runs so that they have the states ``MIX``."""
    jobs = ledger.read(sweep).jobs()
    ended = []
    for i, (name, job) in enumerate(jobs.items()):
        paths, state = sweep.run(name), MIX[i % len(MIX)]
        if state != "pending":
            _begin(paths, job.id)
        if state == "running":
            _lease(paths)
        if state == "finished":
            _finish(paths)
        if state == "failed":
            error = ErrorInfo("ValueError", "crop must be below 1")
            _record(paths, status=Status.FAILED, failure="bug", error=error, ended=now())
        if state in ("finished", "failed"):
            ended.append(job.id)
    cluster.ask("scancel", *ended)


def _begin(paths: RunPaths, job: str) -> None:
    attempt = Attempt(now(), NODE, job)
    _record(paths, status=Status.RUNNING, node=NODE, job_id=job, started=now(), attempts=[attempt])
    progress = TrainingProgress(20, EPOCHS, 0, 60.0, 12, 0.9, 0.3, 0.95)
    paths.progress.write_text(json.dumps(dataclasses.asdict(progress)))


def _finish(paths: RunPaths) -> None:
    model = paths.name.split("-")[0]
    for path in (paths.accuracy(model), paths.loss(model), paths.auc(model)):
        path.touch()
    for split in SPLITS:
        paths.scores(model, split).touch()
        paths.roc(model, split).touch()
    scores = {"loss": 0.3, "accuracy": 0.9, "auc": 0.95}
    write_json_record(paths.metrics, run_metrics(scores, scores, epochs=EPOCHS))
    paths.figures.mkdir()
    figures = [paths.figures / f"{number}.png" for number in range(FIGURES)]
    for path in (paths.model, paths.summary, *figures):
        path.touch()
    _record(paths, status=Status.FINISHED, ended=now(), files=result_states(paths, model))


def _record(paths: RunPaths, **changes: Any) -> None:
    """Change the record without syncing to disk."""
    record = read_record(paths)
    assert record is not None
    changed = dataclasses.asdict(dataclasses.replace(record, **changes))
    paths.record.write_text(with_checksum(changed))


def _lease(paths: RunPaths) -> None:
    """Write a lease of a process on another host."""
    owner = LeaseOwner(NODE, "user", 1, now(), node=NODE, boot="another")
    paths.lease.mkdir(exist_ok=True)
    (paths.lease / "1").write_text(json.dumps(dataclasses.asdict(owner)))


def _renew(sweep: SweepPaths) -> None:
    """Renew the leases of running runs."""
    for i, name in enumerate(ledger.read(sweep).jobs()):
        if MIX[i % len(MIX)] == "running":
            os.utime(sweep.run(name).lease / "1")


def _leases(folder: Path, repeat: int) -> Table:
    """Measure acquiring, renewing, releasing and reading leases."""
    runs = [RunPaths(folder / str(i)) for i in range(SIZE)]
    for run in runs:
        run.folder.mkdir(parents=True)
    samples: dict[str, list[Sample]] = {}
    for _ in range(repeat):
        for operation, sample in _lease_costs(runs):
            samples.setdefault(operation, []).append(sample)
    return Table(
        f"Leases of {SIZE:,} runs",
        "All leases in turn, within one process. A run acquires its lease once, renews it every "
        "15 s and releases it; `status` and a launch read those of all unfinished runs.",
        ("operation", *TIMES, "ms per run"),
        [
            (operation, *times(found), number(1000 * min(one.wall for one in found) / SIZE))
            for operation, found in samples.items()
        ],
    )


def _lease_costs(runs: Sequence[RunPaths]) -> Iterator[tuple[str, Sample]]:
    """Yield each operation on all leases with its cost; no lease exists before and after."""
    leases: list[Lease] = []

    def read() -> Sample:
        return time_call(lambda: [current_owner(run.lease) for run in runs])

    yield "read: never acquired", read()
    yield "acquire", time_call(lambda: leases.extend(Lease.acquire(run.lease) for run in runs))
    yield "heartbeat", time_call(lambda: _each(leases, Lease._renew))
    yield "read: held on this host", read()
    yield "release", time_call(lambda: _each(leases, Lease.release))
    yield "read: released", read()
    for run in runs:
        _lease(run)
    yield "read: held on another host", read()
    for run in runs:
        shutil.rmtree(run.lease)


def _each(leases: Sequence[Lease], call: Callable[[Lease], None]) -> None:
    for lease in leases:
        call(lease)
