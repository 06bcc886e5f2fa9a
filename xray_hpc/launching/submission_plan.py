"""Plan what one launch submits: stage, features, arrays of runs, collect, and their order."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
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
    """The jobs of a submission.

    Attributes:
        jobs: the jobs in order, by placeholders such as ``STAGE`` for their ids.
        later: runs above the submit limit, which the collect job submits later.
    """

    jobs: Mapping[str, BatchJob]
    later: tuple[str, ...] = ()

    @property
    def arrays(self) -> list[BatchJob]:
        """The jobs that train."""
        return [job for job in self.jobs.values() if job.kind == "runs"]


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
    if limits.jobs_left is not None and limits.jobs_left < 1:
        raise SubmitLimitError(
            "you have reached Slurm's limit of submitted jobs; launch again when some have ended, "
            "or run several per job with cluster.runs_per_job"
        )
    if limits.jobs_left is not None and limits.jobs_left <= OTHER_JOBS + 1:
        extractors = ()  # no room for it beside a run, which then computes its own features
    size = cluster.runs_per_job
    tasks = [tuple(runs[start : start + size]) for start in range(0, len(runs), size)]
    others = OTHER_JOBS + bool(extractors)
    room = len(tasks) if limits.jobs_left is None else max(limits.jobs_left - others, 0)
    now, later = tasks[:room], tasks[room:]
    job = functools.partial(BatchJob, sweep, cluster=cluster, code=code)
    jobs: dict[str, BatchJob] = {}
    first: tuple[str, ...] = ()  # the job that prepares what all runs share
    if data_sets and now:
        jobs["STAGE"] = job("stage", arguments=tuple(data_sets))
        first = ("STAGE",)
    if extractors and now:
        options = () if cluster.check_node else ("--unchecked",)
        jobs["FEATURES"] = job("features", arguments=(*options, *extractors), after=first)
        first = ("FEATURES",)
    parallel = cluster.parallel and cluster.parallel // cluster.runs_per_gpu
    parts = split_array(len(now), array_size=limits.array_size, parallel=parallel)
    count = len(parts)
    names = ["RUNS"] if count == 1 else [f"RUNS{number}" for number in range(1, count + 1)]
    for name, part in zip(names, parts, strict=True):
        # cluster.parallel limits the whole sweep, so a throttled part waits for earlier arrays.
        after = first if part.throttle is None else (*first, *live)
        if part.after is not None:
            after = (names[part.after],)
        inside = tuple(now[part.start : part.stop])
        jobs[name] = job("runs", tasks=inside, after=after, throttle=part.throttle)
    begin = LATER if later and not (now or live) else None
    folder = str(sweep.folder)
    jobs["COLLECT"] = job("collect", arguments=(folder,), after=(*live, *names), begin=begin)
    return SubmissionPlan(jobs, tuple(itertools.chain.from_iterable(later)))


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
    parts: list[ArrayPart] = []
    for begin in range(start, stop, size):
        after = None if throttle is None or not parts else position + len(parts) - 1
        parts.append(ArrayPart(begin, min(begin + size, stop), throttle, after))
    return parts
