"""What one launch submits: a stage job, the runs in one array or several, and a collect job."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.cluster.config import ClusterConfig
from xray_hpc.cluster.launching.submission import Job, pack, submit
from xray_hpc.cluster.preflight import preflight
from xray_hpc.cluster.preflight.limits import Limits, Part, split
from xray_hpc.cluster.slurm import commands as slurm
from xray_hpc.errors import UserError
from xray_hpc.runs import ledger
from xray_hpc.runs.paths import SweepPaths

BESIDE = 2  # jobs that are none of the runs': stage and collect


@dataclass(frozen=True)
class Wave:
    """Jobs whose ids are not known yet.

    ``arrays`` are the parts of the runs with their jobs; ``later`` are the runs for which Slurm
    has no room now.
    """

    stage: Job | None
    arrays: tuple[tuple[Part, Job], ...]
    collect: Job
    later: tuple[str, ...]

    def jobs(self) -> Iterator[Job]:
        """All of them, with words in the place of ids."""
        if self.stage is not None:
            yield self.stage
        for part, job in self.arrays:
            yield dataclasses.replace(job, after=_after(part, "STAGE", self._names()))
        yield dataclasses.replace(self.collect, after=tuple(self._names()))

    def _names(self) -> list[str]:
        count = len(self.arrays)
        return ["RUNS"] if count == 1 else [f"RUNS{number}" for number in range(1, count + 1)]


@dataclass(frozen=True)
class Sent:
    """The ids of a wave's jobs."""

    stage: str | None
    arrays: tuple[str, ...]
    collect: str

    def line(self, runs: int, jobs: int) -> str:
        """What was submitted, in a line."""
        beside = f"collect job {self.collect} last"
        if self.stage is not None:
            beside = f"stage job {self.stage} first, {beside}"
        if not self.arrays:
            return f"submitted job {self.collect}, which compares the runs when all have ended"
        if len(self.arrays) > 1:
            what = f"jobs {', '.join(self.arrays)}: {len(self.arrays)} arrays of {runs} runs"
        else:
            what = f"job {self.arrays[0]}: " + ("run" if runs == 1 else f"array of {runs} runs")
        packed = f" in {jobs} job{'s' if jobs > 1 else ''}" if jobs != runs else ""
        return f"submitted {what}{packed} ({beside})"


def make_wave(
    sweep: SweepPaths,
    cluster: ClusterConfig,
    code: Path | None,
    data_sets: Sequence[str],
    runs: Sequence[str],
    allowed: Limits,
) -> Wave:
    """What to submit of ``runs`` under the cluster's limits.

    ``data_sets`` are the run folders whose images the stage job packs; none: there is no such job.

    Raises:
        UserError: this user may not submit even one run now.
    """
    tasks = pack(runs, cluster.runs_per_job)
    room = len(tasks) if allowed.submit is None else allowed.submit - BESIDE
    if runs and room < 1:
        raise UserError(
            f"Slurm lets you submit only {allowed.submit} more jobs now (your limit of submitted "
            "jobs); launch again when others have ended, or use cluster.runs_per_job"
        )
    now, later = tasks[:room], tasks[room:]
    parallel = cluster.parallel and max(1, cluster.parallel // cluster.runs_per_gpu)
    parts = split(len(now), array_size=allowed.array_index, parallel=parallel) if now else []
    job = Job(sweep, "runs", cluster, code=code)
    arrays = [
        dataclasses.replace(job, tasks=tuple(now[part.start : part.stop]), throttle=part.throttle)
        for part in parts
    ]
    stage = Job(sweep, "stage", cluster, arguments=tuple(data_sets), code=code)
    return Wave(
        stage if data_sets else None,
        tuple(zip(parts, arrays, strict=True)),
        Job(sweep, "collect", cluster, arguments=(str(sweep.folder),), code=code),
        tuple(run for task in later for run in task),
    )


def send(wave: Wave, live: Sequence[str], lock: int) -> Sent:
    """Submit a wave; all of it or nothing.

    ``live`` are the ids of arrays of runs from before, which the collect job waits for as well.

    Raises:
        UserError: Slurm refuses a job, or does not answer.
    """
    sweep = wave.collect.sweep
    for job in wave.jobs():
        preflight.test_only(dataclasses.replace(job, after=()).script(sweep.slurm / "x"))
    stage, arrays = None, list[str]()
    with _all_or_nothing(sweep) as submitted:
        if wave.stage is not None:
            stage = submit(wave.stage, lock)
            submitted.append(stage)
        for part, job in wave.arrays:
            after = _after(part, stage, arrays)
            arrays.append(submit(dataclasses.replace(job, after=after), lock))
            submitted.append(arrays[-1])
        if wave.later:
            ledger.append(sweep, "waiting", runs=list(wave.later))
        collect = submit(dataclasses.replace(wave.collect, after=(*live, *arrays)), lock)
    return Sent(stage, tuple(arrays), collect)


def _after(part: Part, stage: str | None, arrays: Sequence[str]) -> tuple[str, ...]:
    """The ids of the jobs that must have ended before a part starts."""
    if part.after is not None:
        return (arrays[part.after],)
    return () if stage is None else (stage,)


@contextmanager
def _all_or_nothing(sweep: SweepPaths) -> Iterator[list[str]]:
    """Collect the ids of submitted jobs; if the block raises, cancel those."""
    submitted: list[str] = []
    try:
        yield submitted
    except BaseException as error:
        if not submitted:
            raise
        if not slurm.cancel(submitted):
            jobs = " ".join(submitted)
            raise UserError(f"{error} (do this yourself: scancel {jobs})") from error
        ledger.append(sweep, "cancelled", jobs=submitted, runs=[])
        raise
