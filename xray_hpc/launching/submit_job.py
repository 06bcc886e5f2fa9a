"""Submitting jobs to Slurm: batch scripts by submitit, the ledger told before and after."""

from __future__ import annotations

import secrets
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from xray_hpc.config.cluster_config import ClusterConfig, minutes
from xray_hpc.config.schema import as_dict
from xray_hpc.errors import SlurmError, SlurmUnavailableError
from xray_hpc.launching import job_python
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import write_json, write_text
from xray_hpc.records.paths import EXIT_CODE, SweepPaths
from xray_hpc.records.run_record import user_name
from xray_hpc.resources import resource
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm.client import QueuedJob

RETRY_SECONDS = 10.0
TRIES = 12
SETTLING_SECONDS = 10.0
FEATURES_NOTICE = 30  # seconds before its time limit; it has little to bring to safety
FEATURES_STARTS = 10


@dataclass(frozen=True)
class Job:
    """A job or array to submit.

    ``arguments`` are what comes behind ``python jobs/<kind>.py``; ``tasks`` are, of an array that
    works through runs, the runs of each task; ``after`` are the ids of jobs that must have ended,
    however; ``throttle`` is how many of its tasks may run at once; ``begin`` is a time before which
    it does not start, as sbatch takes it.
    """

    sweep: SweepPaths
    kind: str
    cluster: ClusterConfig
    arguments: tuple[str, ...] = ()
    tasks: tuple[tuple[str, ...], ...] = ((),)
    after: tuple[str, ...] = ()
    throttle: int | None = None
    code: Path | None = None
    begin: str | None = None

    @property
    def title(self) -> str:
        """What the job is, in a few words."""
        if self.kind != "runs":
            return f"the {self.kind} job"
        return f"an array of {len(self.tasks)} jobs" if len(self.tasks) > 1 else "the run's job"

    def script(self, folder: Path) -> str:
        """The text of the batch script; its logs go into ``folder``."""
        import submitit  # here, for the sake of launches outside of Slurm

        executor = submitit.SlurmExecutor(folder)
        executor.update_parameters(**self.parameters(folder))
        if len(self.tasks) > 1:
            executor.parameters["map_count"] = len(self.tasks)
        return str(executor._make_submission_file_text(self._command(folder), ""))

    def parameters(self, folder: Path) -> dict[str, Any]:
        """The parameters of submitit's executor."""
        cluster, runs = self.cluster, self.kind == "runs"
        gpus = self.kind in ("runs", "features")
        ask = cluster if gpus else cluster.cpu_job
        time_key = "cluster.time" if gpus else "cluster.cpu_job.time"
        extra: dict[str, Any] = {
            "mem": ask.mem,
            "dependency": f"afterany:{':'.join(self.after)}" if self.after else None,
            "begin": self.begin,
            # Also where the site has it otherwise: both go on from where they were.
            "requeue": gpus,
        }
        if gpus:
            extra |= {"gpus-per-node": cluster.gpus or None} | (cluster.extra or {})
        setup = [*cluster.setup]
        if self.code is not None:
            # As snapshot.environment has it, on top of what the node has.
            more = "${PYTHONPATH:+:$PYTHONPATH}"
            path = f"export PYTHONPATH={shlex.quote(str(self.code))}{more}"
            setup = [path, "export PYTHONSAFEPATH=1", *setup]
        name = f"xray-{self.sweep.name}" if runs else f"{self.kind}-{self.sweep.name}"
        return {
            "job_name": name,
            "partition": (None if gpus else cluster.cpu_job.partition) or cluster.partition,
            "account": cluster.account,
            "qos": cluster.qos,
            "constraint": cluster.constraint if gpus else None,
            "time": minutes(ask.time, time_key),
            "nodes": 1,
            "ntasks_per_node": 1,
            "cpus_per_task": ask.cpus,
            # From Slurm 22.05 on srun does not inherit --cpus-per-task from sbatch; and where
            # sbatch was given --export=NONE, it would start the task with no environment.
            "srun_args": [f"--cpus-per-task={ask.cpus}", "--export=ALL"],
            "setup": setup or None,
            "teardown": self._teardown(folder) if gpus else None,
            "signal_delay_s": cluster.signal_time if runs else FEATURES_NOTICE,
            "stderr_to_stdout": True,
            "wckey": None,
            "array_parallelism": self.throttle or len(self.tasks),
            "additional_parameters": {
                key: value
                for key, value in extra.items()
                if value is not None and value is not False
            },
        }

    def _python(self) -> str:
        """How a node calls jobs/<kind>.py, as shell words."""
        jobs = resource("jobs") if self.code is None else self.code / "jobs"
        script = jobs / ("run.py" if self.kind == "runs" else f"{self.kind}.py")
        return f"{job_python.call(self.cluster)} -u {shlex.quote(str(script))}"

    def _command(self, folder: Path) -> str:
        words = ["--submission", str(folder)] if self.kind == "runs" else self.arguments
        return f"{self._python()} {shlex.join(words)}"

    def _teardown(self, folder: Path) -> list[str]:
        """What the batch shell does when the task has ended.

        Where a run's was killed before it could say why, that is found out. A features job goes on
        in another start where its time was up, which no other process sees to; how it ended is
        noted.
        """
        if self.kind == "runs":
            after = f'{self._command(folder)} --after "$code"'
            return ["code=$?", f'[ "$code" -eq 0 ] || {after}', 'exit "$code"']
        out_of_time = f'[ "$code" -eq {128 + signal.SIGUSR2} ]'
        few = f'[ "${{SLURM_RESTART_COUNT:-0}}" -lt {FEATURES_STARTS - 1} ]'
        return [
            "code=$?",
            f'if {out_of_time} && {few}; then scontrol requeue "$SLURM_JOB_ID"; exit "$code"; fi',
            f'echo "$code" > {shlex.quote(str(folder / EXIT_CODE))}',
            'exit "$code"',
        ]


def submit(job: Job, lock: int) -> str:
    """Submit a job; give its id. The ledger is told before and after.

    ``lock`` is the file descriptor of the sweep's lock.

    Raises:
        UserError: Slurm refuses the job, or does not answer for minutes.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{job.kind}-{secrets.token_hex(2)}"
    folder = job.sweep.slurm / name
    tasks = [list(runs) for runs in job.tasks]
    write_text(folder / slurm.SCRIPT, job.script(folder))
    if job.kind == "runs":
        content = {"kind": job.kind, "cluster": as_dict(job.cluster), "tasks": tasks}
        write_json(folder / "tasks.json", content)
    who = user_name()
    ledger.append(job.sweep, "submitting", submission=name, kind=job.kind, tasks=tasks, user=who)
    try:
        job_id = _sbatch(folder / slurm.SCRIPT, lock)
    except SlurmUnavailableError:
        raise  # the controller may have accepted the job: the next launch finds out
    except SlurmError as error:
        ledger.append(job.sweep, "refused", submission=name, reason=str(error))
        raise type(error)(f"sbatch refused the job: {error}") from error
    ledger.append(job.sweep, "submitted", submission=name, job=job_id)
    return job_id


def _sbatch(script: Path, lock: int) -> str:
    """Submit; while the controller does not answer, try again, unless it has taken the job."""
    for _ in range(TRIES):
        try:
            return slurm.submit(script, hold_open=lock)
        except SlurmUnavailableError as error:
            reason = error.reason
        print(f"Slurm does not answer ({reason}); retrying", file=sys.stderr, flush=True)
        if taken := _find(script.parent.name, _queue_at_last()):
            return taken
    raise SlurmUnavailableError(reason)


def _queue_at_last() -> dict[str, QueuedJob]:
    """The queue, as soon as Slurm answers; jobs that ended a moment ago are in it."""
    for _ in range(TRIES):
        time.sleep(RETRY_SECONDS)
        try:
            return slurm.queued_jobs(ended=True)
        except SlurmUnavailableError as error:
            reason = error.reason
    raise SlurmUnavailableError(reason)


def _find(submission: str, queue: Mapping[str, QueuedJob]) -> str | None:
    """The id of the job of a submission, if it is in the queue."""
    # Its name is there once; the path to it may be another on another host.
    return next((array_id(job) for job, at in queue.items() if at.submission == submission), None)


def array_id(job: str) -> str:
    """``17`` of ``17_3``."""
    return job.partition("_")[0]


def settle(sweep: SweepPaths) -> dict[str, str]:
    """Settle what a launch that was killed left open: enter the jobs that Slurm did take.

    Gives the id of each by submission; the others are entered as never submitted.

    Raises:
        UserError: Slurm does not answer.
    """
    open_ones = {name: at for name, at in ledger.read(sweep).submissions.items() if at.job is None}
    if not open_ones:
        return {}
    newest = max(datetime.fromisoformat(at.time) for at in open_ones.values())
    age = (datetime.now(timezone.utc) - newest).total_seconds()
    # The controller may still be about to take what a killed sbatch has sent.
    time.sleep(min(max(SETTLING_SECONDS - age, 0), SETTLING_SECONDS))
    queue, adopted = slurm.queued_jobs(ledger.read(sweep).users(), ended=True), {}
    for name in open_ones:
        if job := _find(name, queue):
            ledger.append(sweep, "submitted", submission=name, job=job)
            adopted[name] = job
        else:
            ledger.append(sweep, "refused", submission=name, reason="the launch was killed before")
    return adopted


def pack(runs: Sequence[str], runs_per_job: int) -> list[tuple[str, ...]]:
    """The runs of each task."""
    starts = range(0, len(runs), runs_per_job)
    return [tuple(runs[start : start + runs_per_job]) for start in starts]
