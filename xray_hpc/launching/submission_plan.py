"""Plan what one launch submits: stage, features, arrays of runs, collect, and their order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import SubmitLimitError
from xray_hpc.launching.batch_job import BatchJob
from xray_hpc.launching.preflight.submit_limits import SubmitLimits
from xray_hpc.records.paths import SweepPaths

OTHER_JOBS = 2  # beside the runs: stage and collect; a features job is one more
LATER = "now+10minutes"


@dataclass(frozen=True)
class ArrayPart:
    """The tasks ``start`` to ``stop`` - 1, submitted as one array.

    Attributes:
        throttle: how many of the tasks may run at once; ``None`` for all.
        after: index of the part that must end before this one starts.
    """

    start: int
    stop: int
    throttle: int | None
    after: int | None


@dataclass(frozen=True)
class SubmissionPlan:
    """The jobs of a submission, before they have ids.

    Attributes:
        arrays: the parts of the runs, with the job of each.
        later: runs above the submit limit, which the collect job submits later.
        live: ids of earlier arrays of this sweep that have not ended; collect waits for them too.
    """

    stage: BatchJob | None
    features: BatchJob | None
    arrays: tuple[tuple[ArrayPart, BatchJob], ...]
    collect: BatchJob
    later: tuple[str, ...] = ()
    live: tuple[str, ...] = ()

    def jobs(self) -> Iterator[BatchJob]:
        """Yield all jobs in order, with placeholders such as ``STAGE`` for ids."""
        if self.stage is not None:
            yield self.stage
        first = "STAGE"
        if self.features is not None:
            yield dataclasses.replace(self.features, after=(first,))
            first = "FEATURES"
        count = len(self.arrays)
        names = ["RUNS"] if count == 1 else [f"RUNS{number}" for number in range(1, count + 1)]
        for part, job in self.arrays:
            yield dataclasses.replace(job, after=self.dependencies(part, first, names))
        yield dataclasses.replace(self.collect, after=(*self.live, *names))

    def dependencies(
        self, part: ArrayPart, first: str | None, arrays: Sequence[str]
    ) -> tuple[str, ...]:
        """Return the ids of the jobs that must end before a part starts.

        Args:
            first: id of the job that prepares what all runs share.
            arrays: ids of the arrays before this part.
        """
        if part.after is not None:
            return (arrays[part.after],)
        # cluster.parallel limits the whole sweep, so the throttled part waits for earlier arrays.
        before = () if part.throttle is None else self.live
        return before if first is None else (first, *before)


def plan_submission(
    sweep: SweepPaths,
    cluster: ClusterConfig,
    code: Path | None,
    data_sets: Sequence[str],
    extractors: Sequence[str],
    runs: Sequence[str],
    limits: SubmitLimits,
    live: Sequence[str] = (),
) -> SubmissionPlan:
    """Plan the jobs for ``runs`` within the cluster's limits.

    Without room for a single run, only a collect job is planned, which submits the runs later.

    Args:
        data_sets: run folders whose images the stage job decodes; without any there is no such job.
        extractors: run folders whose feature extractors the features job runs; likewise.
        live: ids of arrays of this sweep that have not ended.

    Raises:
        SubmitLimitError: this user may not submit even one job now.
    """
    tasks = group_runs(runs, cluster.runs_per_job)
    if limits.jobs_left is not None and limits.jobs_left < 1:
        raise SubmitLimitError(
            "you have reached Slurm's limit of submitted jobs; launch again when some have ended, "
            "or run several per job with cluster.runs_per_job"
        )
    if limits.jobs_left is not None and limits.jobs_left <= OTHER_JOBS + 1:
        extractors = ()  # no room for it beside a run, which then computes its own features
    others = OTHER_JOBS + bool(extractors)
    room = len(tasks) if limits.jobs_left is None else max(limits.jobs_left - others, 0)
    now, later = tasks[:room], tasks[room:]
    parallel = cluster.parallel and cluster.parallel // cluster.runs_per_gpu
    parts = split_array(len(now), array_size=limits.array_size, parallel=parallel) if now else []
    job = BatchJob(sweep, "runs", cluster, code=code)
    arrays = [
        dataclasses.replace(job, tasks=tuple(now[part.start : part.stop]), throttle=part.throttle)
        for part in parts
    ]
    stage = BatchJob(sweep, "stage", cluster, arguments=tuple(data_sets), code=code)
    options = () if cluster.check_node else ("--unchecked",)
    features = BatchJob(sweep, "features", cluster, arguments=(*options, *extractors), code=code)
    collect = BatchJob(sweep, "collect", cluster, arguments=(str(sweep.folder),), code=code)
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


def group_runs(runs: Sequence[str], runs_per_job: int) -> list[tuple[str, ...]]:
    """Return the runs of each task, in order."""
    starts = range(0, len(runs), runs_per_job)
    return [tuple(runs[start : start + runs_per_job]) for start in starts]


def split_array(tasks: int, *, array_size: int, parallel: int | None) -> list[ArrayPart]:
    """Split an array of ``tasks`` into parts of at most ``array_size`` tasks.

    Under a limit of ``parallel`` tasks at once, the parts form lanes that run side by side. Each
    lane has a share of the limit and the same share of the tasks, so that all lanes end at about
    the same time; a part waits for the one before it in its lane.
    """
    if parallel is None:
        return _lane(0, tasks, array_size, None, 0)
    parallel = min(parallel, tasks)
    lanes = min(-(-tasks // array_size), parallel)
    parts: list[ArrayPart] = []
    before = 0
    for lane in range(lanes):
        throttle = parallel // lanes + (lane < parallel % lanes)
        start, stop = (tasks * share // parallel for share in (before, before + throttle))
        parts += _lane(start, stop, array_size, throttle, len(parts))
        before += throttle
    return parts


def _lane(start: int, stop: int, size: int, throttle: int | None, position: int) -> list[ArrayPart]:
    """Return parts of ``size`` tasks, the first at index ``position``; chained if throttled."""
    begins = range(start, stop, size)
    afters = [None if throttle is None or not i else position + i - 1 for i in range(len(begins))]
    return [
        ArrayPart(begin, min(begin + size, stop), throttle, after)
        for begin, after in zip(begins, afters, strict=True)
    ]
