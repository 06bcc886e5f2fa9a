"""What a job does with its runs: try each, then decide once whether the job goes on.

Slurm's state, the exit code and ``run.json`` tell the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.records import exit_codes
from xray_hpc.records.paths import RunPaths
from xray_hpc.worker.attempt import Attempts
from xray_hpc.worker.job_signals import Signals
from xray_hpc.worker.requeue import given_up, requeue_job
from xray_hpc.worker.slurm_job import Job, current_job

POLL_SECONDS = 0.2


def work(runs: Sequence[RunPaths], cluster: ClusterConfig) -> int:
    """Train the runs that are not finished, ``cluster.runs_per_gpu`` side by side.

    Gives the exit code that the job should end with: 0 where every run is finished; else that of
    the first which is not: 2 for wrong input, 69 where somebody else trains it, 74 where its folder
    cannot be written to, 128 + n where signal n ended it. A Slurm job with a run to be tried again
    is put back into the queue, unless ``cluster.kind`` is local: then the job is somebody else's.
    A bug is raised when that is done.
    """
    job = None if cluster.kind == "local" else current_job()
    side_by_side = min(cluster.runs_per_gpu, len(runs))
    todo = [run for run in runs if not given_up(run, runs, job)]
    with Signals(job, cluster.signal_time) as signals, ExitStack() as leases:
        cpus = _cpus(job, side_by_side)
        attempts = Attempts(cluster, job, signals, leases, side_by_side, cpus)
        with ThreadPoolExecutor(side_by_side) as pool:
            futures = [pool.submit(attempts.attempt, run) for run in todo]
            while wait(futures, timeout=POLL_SECONDS).not_done:  # signals are handled meanwhile
                signals.limit()
        if attempts.superseded.is_set():  # putting the job back would end that later start
            return exit_codes.LEASE_HELD
        bugs = [error for future in futures if (error := future.exception())]
        outcomes = [future.result() for future in futures if not future.exception()]
        requeue_job(outcomes, job, cluster, signals.patience)
    for bug in bugs:
        raise bug
    codes = [outcome.code for outcome in outcomes] + [1] * (len(runs) - len(todo))
    return next((code for code in codes if code), 0)


def _cpus(job: Job | None, side_by_side: int) -> int | None:
    """How many CPUs each run gets; ``None`` for all that there are."""
    if job is None and side_by_side == 1:
        return None
    available = job.cpus if job and job.cpus else len(os.sched_getaffinity(0))
    return max(available // side_by_side, 1)
