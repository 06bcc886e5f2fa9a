"""How long a look at a sweep takes, and what a lease costs each run."""

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
from tests.benchmarks.timing import Sample, heavy_imports, progress, python, timed
from tests.run_folders import run_metrics
from xray_hpc.records import ledger
from xray_hpc.records.json_record import write_json_record
from xray_hpc.records.lease import Lease
from xray_hpc.records.lease_file import LeaseOwner, current_owner
from xray_hpc.records.paths import SPLITS, RunPaths, SweepPaths
from xray_hpc.records.run_progress import TrainingProgress
from xray_hpc.records.run_record import Attempt, Status, now, read_record
from xray_hpc.slurm.client import QUEUE_FORMAT

SIZE = 1000
EPOCHS = 50
NODE = "gpu-01"
# Of each ten runs in launch order.
MIX = ("finished",) * 5 + ("running",) * 2 + ("failed",) + ("pending",) * 2
SQUEUE = ("squeue", "--noheader", "--array", "--me", f"--format={QUEUE_FORMAT}")


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Two tables: status beside ``squeue``, and leases."""
    status = Table(
        f"Status of {SIZE:,} runs",
        f"`python -m xray_hpc.status SWEEP`, whole: {', '.join(_counts())}; those that run have a "
        f"progress.json and a live lease of another host's. {paused_cluster.ABOUT}",
        ("command", *TIMES, "Slurm calls"),
    )
    progress(f"launching {SIZE} runs to look at")
    try:
        with start_paused_cluster(folder / "status") as cluster:
            status.rows += _status(cluster, folder / "status" / "results", repeat)
    except SkippedError as why:
        status.rows.append((f"left out: {why}", "-", "-", "-"))
    loads = ", ".join(heavy_imports(("xray_hpc.status", "--help"))) or "none"
    status.remarks.append(f"Of the large libraries it loads: {loads}.")
    yield status
    progress(f"leases of {SIZE} runs")
    yield _leases(folder / "leases", repeat)


def _counts() -> Iterator[str]:
    for state in dict.fromkeys(MIX):
        yield f"{SIZE * MIX.count(state) // len(MIX)} {state}"


def _status(cluster: PausedCluster, results: Path, repeat: int) -> Iterator[Sequence[str]]:
    python("-m", *sweep_commands.command(results, SIZE), **cluster.environment)
    (sweep,) = (SweepPaths(path) for path in results.iterdir() if (path / "runs").is_dir())
    _age(sweep, cluster)
    words = ("-m", "xray_hpc.status", str(sweep.folder))
    shown = python(*words, **cluster.environment).stdout
    if any(count not in shown for count in _counts()):
        raise RuntimeError(f"status shows something else than {list(_counts())}:\n{shown}")
    commands: dict[str, Callable[[], object]] = {
        "`python -m xray_hpc.status SWEEP`": lambda: python(*words, **cluster.environment),
        "`squeue --array` alone": lambda: cluster.ask(*SQUEUE),
        "for scale: `python -c 'pass'`": lambda: python("-c", "pass"),
    }
    for name, call in commands.items():
        before, samples = cluster.calls(), []
        for _ in range(repeat):
            _renew(sweep)
            samples.append(timed(call))
        calls = (cluster.calls() - before).items()
        yield name, *times(samples), ", ".join(f"{n // repeat} {what}" for what, n in calls)


def _age(sweep: SweepPaths, cluster: PausedCluster) -> None:
    """Make the files of a launched sweep those of one that has worked for a while."""
    jobs = ledger.read(sweep).jobs()
    gone = []
    for i, (name, job) in enumerate(jobs.items()):
        paths, state = sweep.run(name), MIX[i % len(MIX)]
        if state != "pending":
            _begin(paths, job.id)
        if state == "running":
            _lease(paths)
        if state == "finished":
            _finish(paths)
        if state == "failed":
            error = {"type": "ValueError", "message": "crop must be below 1"}
            _record(paths, status=Status.FAILED, failure="bug", error=error, ended=now())
        if state in ("finished", "failed"):
            gone.append(job.id)
    cluster.ask("scancel", *gone)


def _begin(paths: RunPaths, job: str) -> None:
    began = Attempt(now(), NODE, job)
    _record(paths, status=Status.RUNNING, node=NODE, job_id=job, started=now(), attempts=[began])
    trained = TrainingProgress(20, EPOCHS, 0, 60.0, 12, 0.9, 0.3, 0.95)
    paths.progress.write_text(json.dumps(dataclasses.asdict(trained)))


def _finish(paths: RunPaths) -> None:
    _record(paths, status=Status.FINISHED, ended=now())
    model = paths.name.split("-")[0]
    for path in (paths.accuracy(model), paths.loss(model), paths.auc(model)):
        path.touch()
    for split in SPLITS:
        paths.scores(model, split).touch()
        paths.roc(model, split).touch()
    scores = {"loss": 0.3, "accuracy": 0.9, "auc": 0.95}
    write_json_record(paths.metrics, run_metrics(scores, scores, epochs=EPOCHS))


def _record(paths: RunPaths, **changes: Any) -> None:
    """Change the record, without the wait for the disk that the project's own way has."""
    record = read_record(paths)
    assert record is not None
    changed = dataclasses.asdict(dataclasses.replace(record, **changes))
    paths.record.write_text(json.dumps(changed))


def _lease(paths: RunPaths) -> None:
    """The lease of a process on another host."""
    owner = LeaseOwner(NODE, "user", 1, now(), node=NODE, boot="another")
    paths.lease.mkdir(exist_ok=True)
    (paths.lease / "1").write_text(json.dumps(dataclasses.asdict(owner)))


def _renew(sweep: SweepPaths) -> None:
    """The heartbeats of those that run."""
    for i, name in enumerate(ledger.read(sweep).jobs()):
        if MIX[i % len(MIX)] == "running":
            os.utime(sweep.run(name).lease / "1")


def _leases(folder: Path, repeat: int) -> Table:
    """What taking, renewing, giving back and looking up costs."""
    runs = [RunPaths(folder / str(i)) for i in range(SIZE)]
    for run in runs:
        run.folder.mkdir(parents=True)
    spent: dict[str, list[Sample]] = {}
    for _ in range(repeat):
        for what, sample in _lease_costs(runs):
            spent.setdefault(what, []).append(sample)
    return Table(
        f"Leases of {SIZE:,} runs",
        "All of them in turn, within one process. A run takes one and gives it back, and renews it "
        "every 15 s; `status` and a launch look up those of all runs that have not finished.",
        ("what", *TIMES, "ms a run"),
        [
            (what, *times(samples), number(1000 * min(s.wall for s in samples) / SIZE))
            for what, samples in spent.items()
        ],
    )


def _lease_costs(runs: Sequence[RunPaths]) -> Iterator[tuple[str, Sample]]:
    """What is done to all leases, and how long it takes; there are none before and after."""
    leases: list[Lease] = []

    def look() -> Sample:
        return timed(lambda: [current_owner(run.lease) for run in runs])

    yield "look up: never taken", look()
    yield "take", timed(lambda: leases.extend(Lease.acquire(run.lease) for run in runs))
    yield "heartbeat", timed(lambda: _each(leases, Lease._renew))
    yield "look up: held on this host", look()
    yield "give back", timed(lambda: _each(leases, Lease.release))
    yield "look up: given back", look()
    for run in runs:
        _lease(run)
    yield "look up: held on another host", look()
    for run in runs:
        shutil.rmtree(run.lease)


def _each(leases: Sequence[Lease], call: Callable[[Lease], None]) -> None:
    for lease in leases:
        call(lease)
