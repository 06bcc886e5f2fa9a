"""Submitting jobs to Slurm with submitit."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from xray_hpc.cluster.config import ClusterConfig, minutes
from xray_hpc.cluster.slurm import submitting_environment
from xray_hpc.errors import UserError
from xray_hpc.resources import resource
from xray_hpc.runs import ledger
from xray_hpc.runs.paths import SweepPaths

MINUTE = 60


def execute(script: str, *arguments: str) -> None:
    """Become ``python jobs/<script>.py ARGUMENTS``: what submitit calls on the node.

    The script takes this process's place, so that signals reach it and its exit code is the
    job's: submitit's own pickled results are not used.
    """
    path = resource("jobs") / f"{script}.py"
    os.execv(sys.executable, [sys.executable, "-u", str(path), *arguments])


def submit_runs(
    sweep: SweepPaths, runs: Sequence[str], cluster: ClusterConfig, *, after: str | None
) -> dict[str, str]:
    """Submit the runs as one array (one job where there is one run); give each run's job id.

    The ledger is told before and after. ``after`` is the id of a job that must have ended.
    """
    executor = _executor(sweep, run_parameters(sweep, cluster, len(runs), after), cluster)
    submission = executor.folder.name
    ledger.append(sweep, "submitting", submission=submission, runs=list(runs))
    folders = [str(sweep.run(run).folder) for run in runs]
    scripts = ["run"] * len(runs)
    jobs = _submit(executor, lambda: executor.map_array(execute, scripts, folders))
    ids = {run: str(job.job_id) for run, job in zip(runs, jobs, strict=True)}
    ledger.append(sweep, "submitted", submission=submission, jobs=ids)
    return ids


def submit_stage(sweep: SweepPaths, runs: Sequence[str], cluster: ClusterConfig) -> str:
    """Submit the job that packs the images of these runs; give its id."""
    executor = _executor(sweep, cpu_parameters(f"stage-{sweep.name}", cluster, None), cluster)
    folders = [str(sweep.run(run).folder) for run in runs]
    job = _submit(executor, lambda: executor.submit(execute, "stage", *folders))
    ledger.append(sweep, "stage", job=str(job.job_id))
    return str(job.job_id)


def submit_collect(sweep: SweepPaths, cluster: ClusterConfig, *, after: Sequence[str]) -> str:
    """Submit the job that collects the sweep when the jobs ``after`` have ended, however."""
    dependency = "afterany:" + ":".join(after)
    parameters = cpu_parameters(f"collect-{sweep.name}", cluster, dependency)
    executor = _executor(sweep, parameters, cluster)
    job = _submit(executor, lambda: executor.submit(execute, "collect", str(sweep.folder)))
    ledger.append(sweep, "collect", job=str(job.job_id))
    return str(job.job_id)


def run_parameters(
    sweep: SweepPaths, cluster: ClusterConfig, runs: int, after: str | None
) -> dict[str, Any]:
    """The parameters of submitit's executor for the runs."""
    extra = {
        "mem": cluster.mem,
        "dependency": None if after is None else f"afterany:{after}",
        "gpus-per-node": cluster.gpus or None,
    }
    return _parameters(
        cluster,
        name=f"xray-{sweep.name}",
        partition=cluster.partition,
        time=minutes(cluster.time, "cluster.time"),
        cpus=cluster.cpus,
        extra=extra | (cluster.extra or {}),
    ) | {"array_parallelism": cluster.parallel or runs, "constraint": cluster.constraint}


def cpu_parameters(name: str, cluster: ClusterConfig, dependency: str | None) -> dict[str, Any]:
    """The parameters of submitit's executor for a stage or collect job."""
    job = cluster.cpu_job
    return _parameters(
        cluster,
        name=name,
        partition=job.partition or cluster.partition,
        time=minutes(job.time, "cluster.cpu_job.time"),
        cpus=job.cpus,
        extra={"mem": job.mem, "dependency": dependency},
    )


def _parameters(
    cluster: ClusterConfig,
    *,
    name: str,
    partition: str | None,
    time: int,
    cpus: int,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "job_name": name,
        "partition": partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "time": time,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": cpus,
        # From Slurm 22.05 on srun does not inherit --cpus-per-task from sbatch.
        "srun_args": [f"--cpus-per-task={cpus}"],
        "setup": list(cluster.setup) or None,
        # Time to write down that the limit was near; a run cannot save more than that yet.
        "signal_delay_s": 60,
        "stderr_to_stdout": True,
        "wckey": None,
        "additional_parameters": {
            k: v for k, v in extra.items() if v is not None and v is not False
        },
    }


def _executor(
    sweep: SweepPaths, parameters: Mapping[str, Any], cluster: ClusterConfig
) -> submitit.SlurmExecutor:
    """An executor with a folder of its own, since job ids of a cluster made anew start again."""
    folder = sweep.slurm / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    python = cluster.python or ("python" if cluster.container else shlex.quote(sys.executable))
    if cluster.container:
        python = f"{cluster.container} {python}"
    executor = submitit.SlurmExecutor(folder, python=python)
    executor.update_parameters(**parameters)
    return executor


def _submit(executor: submitit.SlurmExecutor, call: Callable[[], Any]) -> Any:
    try:
        # submitit prints what sbatch said as well as raising it.
        with submitting_environment(), contextlib.redirect_stderr(io.StringIO()):
            return call()
    except (FailedJobError, FailedSubmissionError) as error:
        shutil.rmtree(executor.folder, ignore_errors=True)  # pickles of jobs that are none
        said = " ".join(str(error).replace("sbatch: error:", "").split())
        raise UserError(f"sbatch refused the job: {said}") from error
