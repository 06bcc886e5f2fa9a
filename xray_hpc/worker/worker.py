"""The worker of a job: train the runs of the job, then requeue it if one of them needs that.

The exit code of the job, its state in Slurm and ``run.json`` agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.records import exit_codes
from xray_hpc.records.paths import RunPaths
from xray_hpc.thread_map import available_cores
from xray_hpc.worker.attempt import AttemptRunner
from xray_hpc.worker.job_signals import JobSignals
from xray_hpc.worker.requeue import requeue_job, was_given_up
from xray_hpc.worker.slurm_job import current_job

POLL_SECONDS = 0.2


def run_worker(runs: Sequence[RunPaths], cluster: ClusterConfig) -> int:
    """Train the unfinished runs, ``cluster.runs_per_gpu`` at a time, and requeue the job if needed.

    The job is never requeued with ``cluster.kind=local``: a Slurm job around a local launch belongs
    to somebody else. An unexpected exception in one run is raised after the others have ended.

    Returns:
        0 if every run is finished, else the exit code of the first unfinished one: 2 for invalid
        input, 69 if another process trains it, 74 if its folder is not writable, 75 if this node is
        unfit for it, 128 + n if it was ended by signal n; any other code if its training failed.
    """
    job = None if cluster.kind == "local" else current_job()
    parallel = min(cluster.runs_per_gpu, len(runs))
    available = job.cpus if job and job.cpus else available_cores()
    cpus = None if job is None and parallel == 1 else max(available // parallel, 1)
    open_runs = [run for run in runs if not was_given_up(run, runs, job)]
    with JobSignals(job, cluster.signal_time) as signals, ExitStack() as leases:
        runner = AttemptRunner(cluster, job, signals, leases, parallel, cpus)
        with ThreadPoolExecutor(parallel) as pool:
            futures = [pool.submit(runner.run, run) for run in open_runs]
            # Short waits, because signal handlers run between them, in this thread only.
            while wait(futures, timeout=POLL_SECONDS).not_done:
                signals.kill_overdue()
        if runner.superseded.is_set():  # requeueing the job would end its later start
            return exit_codes.LEASE_HELD
        errors = [error for future in futures if (error := future.exception())]
        outcomes = [future.result() for future in futures if not future.exception()]
        requeue_job(outcomes, job, cluster, signals.slurm_patience)
    for error in errors:
        raise error
    codes = [outcome.code for outcome in outcomes] + [1] * (len(runs) - len(open_runs))
    return next((code for code in codes if code), 0)
