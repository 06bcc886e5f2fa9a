"""The Slurm job that this process is part of: what it was given, and putting it back."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from xray_hpc.errors import JobPendingError, SlurmError, SlurmUnavailableError, UserError
from xray_hpc.slurm.client import run_command
from xray_hpc.slurm.scontrol import nodes, parse_fields, settings
from xray_hpc.slurm.units import parse_mebibytes, parse_seconds

logger = logging.getLogger(__name__)

# A cluster that does not say how long a job has between SIGTERM and SIGKILL: Slurm's own default.
KILL_WAIT = 30
RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class JobState:
    """What Slurm says of a job now.

    ``state`` is its word (RUNNING, COMPLETING, ...), ``restarts`` how often it was put back,
    ``time_left`` seconds, ``None`` where there is no limit, ``killed`` whether its batch script
    was killed by SIGKILL, ``node_down`` whether Slurm has given up the node of this process,
    ``preempted`` whether another job is to have its place.
    """

    state: str
    restarts: int
    time_left: float | None
    killed: bool = False
    node_down: bool = False
    preempted: bool = False


@dataclass(frozen=True)
class Job:
    """The job of this process. ``memory`` is MiB of the node, ``time_limit`` minutes.

    ``id`` is as ``squeue`` writes it, ``17`` or ``17_3``; ``batch`` whether it has a script that
    can run again, ``submitted`` when Slurm took it (back), in UTC. What Slurm did not say is
    ``None``.
    """

    id: str
    node: str
    restarts: int = 0
    batch: bool = True
    gpus: int | None = None
    cpus: int | None = None
    memory: int | None = None
    memory_per_cpu: bool = False
    time_limit: int | None = None
    submitted: str | None = None
    partition: str | None = None
    excluded: str | None = None

    def state(self, patience: float = 0) -> JobState | None:
        """What Slurm says of the job now; ``None`` where it says nothing.

        While its controller does not answer it is asked again, for ``patience`` seconds.
        """
        said = _show(self.id, patience)
        if "JobState" not in said:
            return None
        left = None
        if (limit := parse_seconds(said.get("TimeLimit", ""))) is not None:
            left = limit - (parse_seconds(said.get("RunTime", "")) or 0)
        killed = said.get("ExitCode", "").endswith(":9")
        restarts = int(said.get("Restarts", 0))
        lost = restarts > self.restarts and self._node_down()
        # Both by one clock. It may be that of an earlier start, which was preempted.
        preempted = said.get("PreemptTime", "None") not in ("None", "Unknown") and (
            said["PreemptTime"] >= said.get("StartTime", "")
        )
        return JobState(said["JobState"], restarts, left, killed, lost, preempted)

    def _node_down(self) -> bool:
        try:
            return run_command(
                ["sinfo", "--noheader", f"--nodes={self.node}", "--format=%T"]
            ).startswith(("down", "fail"))
        except SlurmError:
            return False

    def requeue(
        self, *, memory: int | None = None, exclude: Sequence[str] = (), patience: float = 0
    ) -> str | None:
        """Put the job back into the queue; give what Slurm said if it does not do it.

        The job asks for ``memory`` MiB from then on, and not for the nodes ``exclude``. Slurm ends
        it with SIGTERM at once. That is ignored by Slurm's commands, which change the job yet, and
        by this process, until somebody gives it other handlers. While the controller does not
        answer it is asked again, for ``patience`` seconds.
        """
        if not self.batch:
            return "it has no batch script to run again"
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            _insist(["scontrol", "requeue", self.id], patience)
        except JobPendingError:
            pass  # Slurm has requeued it
        except SlurmError as error:
            return str(error)
        changes = []
        if memory is not None and self.memory_per_cpu:
            changes.append(f"MinMemoryCPU={-(-memory // (self.cpus or 1))}")
        elif memory is not None:
            changes.append(f"MinMemoryNode={memory}")
        if exclude:
            nodes = dict.fromkeys([*filter(None, [self.excluded]), *exclude])
            changes.append(f"ExcNodeList={','.join(nodes)}")
        if changes:
            try:
                _insist(["scontrol", "update", f"JobId={self.id}", *changes], patience)
            except SlurmError as error:
                logger.warning(f"Slurm did not take {' '.join(changes)} ({error})")
        return None

    def largest_memory(self) -> int | None:
        """The memory in MiB of the largest node that has what else the job was given."""
        try:
            fitting = [
                node.megabytes
                for node in nodes()
                if self.partition in (None, *node.partitions)
                and sum(node.gpus.values()) >= (self.gpus or 0)
                and node.cpus >= (self.cpus or 0)
            ]
        except UserError:
            return None
        return max(fitting, default=None)


def job_id(environ: Mapping[str, str] = os.environ) -> str | None:
    """This job's id as ``squeue`` writes it, ``17`` or ``17_3``; ``None`` outside of Slurm."""
    if array := environ.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{environ['SLURM_ARRAY_TASK_ID']}"
    return environ.get("SLURM_JOB_ID")


def current_job(environ: Mapping[str, str] = os.environ) -> Job | None:
    """The job that this process is part of; ``None`` outside of Slurm."""
    name = job_id(environ)
    if name is None:
        return None
    said = _show(name)
    resources = _resources(said)
    cpus = environ.get("SLURM_CPUS_PER_TASK") or said.get("NumCPUs", "")
    limit = parse_seconds(said.get("TimeLimit", ""))
    return Job(
        id=name,
        node=environ.get("SLURMD_NODENAME") or socket.gethostname(),
        restarts=int(environ.get("SLURM_RESTART_COUNT", 0)),
        batch=said.get("BatchFlag") != "0",  # it is 1, and 2 after the job was put back
        gpus=_gpus(said, environ),
        cpus=int(cpus) if cpus.isdigit() else None,
        memory=parse_mebibytes(resources.get("mem", "")),
        memory_per_cpu="MinMemoryCPU" in said,
        time_limit=None if limit is None else limit // 60,
        submitted=_utc(said.get("SubmitTime", "")),
        partition=said.get("Partition"),
        excluded=None if said.get("ExcNodeList") == "(null)" else said.get("ExcNodeList"),
    )


def _show(job: str, patience: float = 0) -> dict[str, str]:
    """``scontrol show job`` by its keys; empty where Slurm does not answer."""
    try:
        return parse_fields(_insist(["scontrol", "-o", "show", "job", job], patience))
    except SlurmError:
        return {}


def _insist(command: list[str], patience: float) -> str:
    """What a command of Slurm's prints, once the controller answers.

    Raises:
        SlurmError: it failed, or got no answer for ``patience`` seconds.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return run_command(command)
        except SlurmUnavailableError:
            if time.monotonic() + RETRY_SECONDS > end:
                raise
        time.sleep(RETRY_SECONDS)


def _resources(said: Mapping[str, str]) -> dict[str, str]:
    given = said.get("AllocTRES") or said.get("TRES", "")  # the former since Slurm 23
    return dict(re.findall(r"([\w/]+)=([^,]+)", given))


def _gpus(said: Mapping[str, str], environ: Mapping[str, str]) -> int | None:
    """How many GPUs the job was given; ``None`` where that cannot be told."""
    named = environ.get("SLURM_JOB_GPUS") or environ.get("SLURM_STEP_GPUS") or ""
    resources = _resources(said)
    if count := len([gpu for gpu in named.split(",") if gpu]):
        return count
    if count := int(resources.get("gres/gpu", 0)):
        return count
    # A cluster may not count its GPUs, or give shares of them: then what was asked for tells.
    hints = [value for key, value in said.items() if "TRES" in key.upper()]
    hints.append("gpu" if environ.get("CUDA_VISIBLE_DEVICES") else "")
    unknown = not resources or any(re.search("gpu|gres", hint) for hint in hints)
    return None if unknown else 0


def kill_wait() -> int:
    """How many seconds pass between Slurm's SIGTERM and its SIGKILL."""
    try:
        found = re.match(r"\d+", settings().get("KillWait", ""))
    except UserError:
        return KILL_WAIT
    return int(found[0]) if found else KILL_WAIT


def _utc(text: str) -> str | None:
    """A time of Slurm's, which is this site's, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")
