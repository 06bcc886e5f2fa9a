"""What one launch submits: jobs that make what runs share, the runs in arrays, a collect job."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import SlurmUnavailableError, SubmitLimitError
from xray_hpc.launching.preflight import checks
from xray_hpc.launching.preflight.limits import Limits, Part, split
from xray_hpc.launching.submit_job import Job, pack, submit
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths
from xray_hpc.slurm import client as slurm

BESIDE = 2  # jobs that are none of the runs': stage and collect; a features job is one more
LATER = "now+10minutes"


@dataclass(frozen=True)
class SubmissionPlan:
    """Jobs whose ids are not known yet.

    ``arrays`` are the parts of the runs with their jobs; ``later`` are the runs for which Slurm
    has no room now; ``live`` are the ids of arrays of runs from before, which the collect job
    waits for as well.
    """

    stage: Job | None
    features: Job | None
    arrays: tuple[tuple[Part, Job], ...]
    collect: Job
    later: tuple[str, ...] = ()
    live: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it holds no run."""
        return not self.arrays

    def jobs(self) -> Iterator[Job]:
        """All of them, with words in the place of ids."""
        if self.stage is not None:
            yield self.stage
        first = "STAGE"
        if self.features is not None:
            yield dataclasses.replace(self.features, after=(first,))
            first = "FEATURES"
        for part, job in self.arrays:
            yield dataclasses.replace(job, after=self.after(part, first, self._names()))
        yield dataclasses.replace(self.collect, after=(*self.live, *self._names()))

    def after(self, part: Part, first: str | None, arrays: Sequence[str]) -> tuple[str, ...]:
        """The ids of the jobs that must have ended before a part starts.

        ``first`` is that of the job which makes what all runs need.
        """
        if part.after is not None:
            return (arrays[part.after],)
        # The parallelism that was asked for holds for the sweep, with what is live of it.
        before = () if part.throttle is None else self.live
        return before if first is None else (first, *before)

    def _names(self) -> list[str]:
        count = len(self.arrays)
        if not count:
            return []
        return ["RUNS"] if count == 1 else [f"RUNS{number}" for number in range(1, count + 1)]


@dataclass(frozen=True)
class SubmittedJobs:
    """The ids of a wave's jobs."""

    stage: str | None
    features: str | None
    arrays: tuple[str, ...]
    collect: str

    def line(self, runs: int, jobs: int) -> str:
        """What was submitted, in a line."""
        beside = f"collect job {self.collect} last"
        if self.features is not None:
            beside = f"features job {self.features} second, {beside}"
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


def plan_submission(
    sweep: SweepPaths,
    cluster: ClusterConfig,
    code: Path | None,
    data_sets: Sequence[str],
    extractors: Sequence[str],
    runs: Sequence[str],
    allowed: Limits,
    live: Sequence[str] = (),
) -> SubmissionPlan:
    """What to submit of ``runs`` under the cluster's limits.

    ``data_sets`` are the run folders whose images the stage job packs, ``extractors`` those whose
    extractors the features job computes; where there are none, there is no such job.
    Where there is no room for a run, only a collect job is submitted, which sees to them later.

    Raises:
        SubmitLimitError: this user may not submit even one job now.
    """
    tasks = pack(runs, cluster.runs_per_job)
    if allowed.submit is not None and allowed.submit < 1:
        raise SubmitLimitError(
            "Slurm lets you submit no more jobs now (your limit of submitted jobs); launch again "
            "when others have ended, or pack runs with cluster.runs_per_job"
        )
    if allowed.submit is not None and allowed.submit <= BESIDE + 1:
        extractors = ()  # no room for it beside a run, which does it itself then
    beside = BESIDE + bool(extractors)
    room = len(tasks) if allowed.submit is None else max(allowed.submit - beside, 0)
    now, later = tasks[:room], tasks[room:]
    parallel = cluster.parallel and cluster.parallel // cluster.runs_per_gpu
    parts = split(len(now), array_size=allowed.array_index, parallel=parallel) if now else []
    job = Job(sweep, "runs", cluster, code=code)
    arrays = [
        dataclasses.replace(job, tasks=tuple(now[part.start : part.stop]), throttle=part.throttle)
        for part in parts
    ]
    stage = Job(sweep, "stage", cluster, arguments=tuple(data_sets), code=code)
    words = () if cluster.check_node else ("--unchecked",)
    features = Job(sweep, "features", cluster, arguments=(*words, *extractors), code=code)
    collect = Job(sweep, "collect", cluster, arguments=(str(sweep.folder),), code=code)
    if later and not (now or live):
        collect = dataclasses.replace(collect, begin=LATER)
    return SubmissionPlan(
        stage if data_sets and now else None,
        features if extractors and now else None,
        tuple(zip(parts, arrays, strict=True)),
        collect,
        tuple(run for task in later for run in task),
        tuple(live),
    )


def send(wave: SubmissionPlan, lock: int) -> SubmittedJobs:
    """Submit a wave; all of it or nothing.

    Raises:
        SlurmError: Slurm refuses a job, or does not answer.
    """
    sweep = wave.collect.sweep
    for job in wave.jobs():
        checks.test_only(dataclasses.replace(job, after=()).script(sweep.slurm / "x"))
    stage, features, arrays = None, None, list[str]()
    with _all_or_nothing(sweep) as submitted:
        if wave.stage is not None:
            stage = submit(wave.stage, lock)
            submitted.append(stage)
        if wave.features is not None:
            behind = () if stage is None else (stage,)
            features = submit(dataclasses.replace(wave.features, after=behind), lock)
            submitted.append(features)
        for part, job in wave.arrays:
            after = wave.after(part, features or stage, arrays)
            arrays.append(submit(dataclasses.replace(job, after=after), lock))
            submitted.append(arrays[-1])
        if wave.later:
            ledger.append(sweep, "waiting", runs=list(wave.later))
        collect = submit(dataclasses.replace(wave.collect, after=(*wave.live, *arrays)), lock)
    return SubmittedJobs(stage, features, tuple(arrays), collect)


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
            what = str(error) or "interrupted"
            raise SlurmUnavailableError(f"{what}; run scancel {jobs}") from error
        ledger.append(sweep, "cancelled", jobs=submitted, runs=[])
        raise
