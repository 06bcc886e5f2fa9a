"""The Slurm job of this process: its resources, its state, and how to requeue it."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from xray_hpc.errors import JobPendingError, SlurmError, SlurmUnavailableError, UserError
from xray_hpc.slurm.client import run_command
from xray_hpc.slurm.scontrol import Node, nodes, parse_records, settings
from xray_hpc.slurm.units import parse_mebibytes, parse_number, parse_seconds

logger = logging.getLogger(__name__)

# Slurm's default for the seconds between SIGTERM and SIGKILL.
KILL_WAIT = 30
RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class JobState:
    """The present state of a job, from ``scontrol show job``."""

    state: str  # RUNNING, COMPLETING, ...
    restarts: int  # how often it has been requeued
    time_left: float | None  # seconds; None without a time limit
    killed: bool = False  # SIGKILL ended its batch script
    node_down: bool = False  # Slurm has set the node of this process down
    preempted: bool = False


@dataclass(frozen=True)
class SlurmJob:
    """The Slurm job of this process. A value that Slurm did not report is ``None``."""

    id: str  # as squeue prints it: 17, or 17_3 for an array task
    node: str  # Slurm's name of this node
    restarts: int = 0  # how often it had been requeued when this start of it began
    batch: bool = True  # it has a batch script, and so can be requeued
    gpus: int | None = None
    cpus: int | None = None
    memory: int | None = None  # MiB on this node
    memory_per_cpu: bool = False  # the memory was requested per CPU
    time_limit: int | None = None  # minutes
    submitted: str | None = None  # or last requeued, in UTC
    partition: str | None = None
    excluded: str | None = None  # the node list of --exclude

    def state(self, patience: float = 0) -> JobState | None:
        """Return the present state of the job; ``None`` if Slurm does not report it.

        An unreachable controller is retried for ``patience`` seconds.
        """
        shown = _show(self.id, patience)
        if not shown:
            return None
        time_left = None
        if (limit := parse_seconds(shown.get("TimeLimit", ""))) is not None:
            time_left = limit - (parse_seconds(shown.get("RunTime", "")) or 0)
        restarts = parse_number(shown.get("Restarts")) or 0
        killed = shown.get("ExitCode", "").endswith(":9")
        node_down = restarts > self.restarts and self._node_is_down()
        # A preemption before StartTime was that of an earlier start of the job.
        preemption, start = shown.get("PreemptTime", "None"), shown.get("StartTime", "")
        preempted = preemption not in ("None", "Unknown") and preemption >= start
        return JobState(shown["JobState"], restarts, time_left, killed, node_down, preempted)

    def _node_is_down(self) -> bool:
        try:
            shown = run_command(["sinfo", "--noheader", f"--nodes={self.node}", "--format=%T"])
        except SlurmError:
            return False
        # A flag such as * (not responding) may follow.
        return any(re.fullmatch(r"(down|fail|failing)\W?\s*", line) for line in shown.splitlines())

    def requeue(
        self, *, memory: int | None = None, exclude: Sequence[str] = (), patience: float = 0
    ) -> str | None:
        """Requeue the job; return ``None``, or Slurm's reason if the job is not requeued.

        From now on the job requests ``memory`` MiB and excludes the nodes ``exclude``, and this
        process ignores termination signals. An unreachable controller is retried for ``patience``
        seconds.
        """
        if not self.batch:
            return "it has no batch script"
        # Slurm will send SIGTERM to this process and to scontrol, which still updates the job.
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            _ask_with_patience(["scontrol", "requeue", self.id], patience)
        except JobPendingError:
            pass  # Slurm has requeued it by itself
        except SlurmError as error:
            return str(error)
        changes = []
        if memory is not None:
            per_cpu = f"MinMemoryCPU={-(-memory // (self.cpus or 1))}"
            changes.append(per_cpu if self.memory_per_cpu else f"MinMemoryNode={memory}")
        if exclude:
            excluded = dict.fromkeys([*filter(None, [self.excluded]), *exclude])
            changes.append(f"ExcNodeList={','.join(excluded)}")
        if changes:
            try:
                _ask_with_patience(["scontrol", "update", f"JobId={self.id}", *changes], patience)
            except SlurmError as error:
                logger.warning(f"Slurm refused {' '.join(changes)} for the requeued job: {error}")
        return None

    def largest_memory(self) -> int | None:
        """Return the memory in MiB of the largest node with the job's partition, GPUs and CPUs."""
        return max((node.megabytes for node in self._fitting_nodes() or ()), default=None)

    def fits_another_node(self, excluded: Collection[str]) -> bool:
        """Return whether another node has the job's partition, GPUs and CPUs, or may have them."""
        fitting = self._fitting_nodes()
        return fitting is None or any(node.name not in excluded for node in fitting)

    def _fitting_nodes(self) -> list[Node] | None:
        try:
            return [
                node
                for node in nodes()
                if self.partition in (None, *node.partitions)
                and sum(node.gpus.values()) >= (self.gpus or 0)
                and node.cpus >= (self.cpus or 0)
            ]
        except UserError:
            return None


def current_job(environ: Mapping[str, str] = os.environ) -> SlurmJob | None:
    """Return the job of this process; ``None`` outside of Slurm."""
    job_id = environ.get("SLURM_JOB_ID")
    if array := environ.get("SLURM_ARRAY_JOB_ID"):
        job_id = f"{array}_{environ['SLURM_ARRAY_TASK_ID']}"
    if job_id is None:
        return None
    shown = _show(job_id)
    resources = shown.get("AllocTRES") or shown.get("TRES", "")  # AllocTRES since Slurm 23
    allocated = dict(re.findall(r"([\w/]+)=([^,]+)", resources))  # cpu=4, mem=16G, ...
    cpus = environ.get("SLURM_CPUS_PER_TASK") or shown.get("NumCPUs", "")
    limit = parse_seconds(shown.get("TimeLimit", ""))
    return SlurmJob(
        id=job_id,
        node=environ.get("SLURMD_NODENAME") or socket.gethostname(),
        restarts=int(environ.get("SLURM_RESTART_COUNT", 0)),
        batch=shown.get("BatchFlag") != "0",  # 1, or 2 after a requeue
        gpus=_gpu_count(shown, allocated, environ),
        cpus=int(cpus) if cpus.isdigit() else None,
        memory=parse_mebibytes(allocated.get("mem", "")),
        memory_per_cpu="MinMemoryCPU" in shown,
        time_limit=None if limit is None else limit // 60,
        submitted=_utc(shown.get("SubmitTime", "")),
        partition=shown.get("Partition"),
        excluded=None if shown.get("ExcNodeList") == "(null)" else shown.get("ExcNodeList"),
    )


def _show(job: str, patience: float = 0) -> dict[str, str]:
    """Return the fields of ``scontrol show job``; none if Slurm does not answer."""
    try:
        shown = _ask_with_patience(["scontrol", "-o", "show", "job", job], patience)
    except SlurmError:
        return {}
    jobs = (fields for fields in parse_records(shown, "JobId") if "JobState" in fields)
    return next(jobs, {})


def _ask_with_patience(command: list[str], patience: float) -> str:
    """Return the output of a Slurm command, retried for a while if the controller is down."""
    end = time.monotonic() + patience
    while True:
        try:
            return run_command(command)
        except SlurmUnavailableError:
            if time.monotonic() + RETRY_SECONDS > end:
                raise
        time.sleep(RETRY_SECONDS)


def _gpu_count(
    shown: Mapping[str, str], allocated: Mapping[str, str], environ: Mapping[str, str]
) -> int | None:
    """Return the number of GPUs of the job; ``None`` if it is unknown."""
    indices = environ.get("SLURM_JOB_GPUS") or environ.get("SLURM_STEP_GPUS") or ""
    count = len([index for index in indices.split(",") if index])
    if count := count or parse_number(allocated.get("gres/gpu")) or 0:
        return count
    # Some clusters do not count GPUs, or allocate shares of them. Then any sign of a GPU in the
    # request means that the number is unknown, not 0.
    hints = [value for key, value in shown.items() if "TRES" in key.upper()]
    hinted = bool(environ.get("CUDA_VISIBLE_DEVICES")) or any(
        re.search("gpu|gres", hint) for hint in hints
    )
    return None if hinted or not allocated else 0


def kill_wait() -> int:
    """Return the seconds between Slurm's SIGTERM and its SIGKILL (``KillWait``)."""
    try:
        found = re.match(r"\d+", settings().get("KillWait", ""))
    except UserError:
        found = None
    return int(found[0]) if found else KILL_WAIT


def _utc(text: str) -> str | None:
    """Convert a local time of Slurm's to UTC; ``None`` if it is not a time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")
