"""The Slurm job that this process is part of: what it was given, and putting it back."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from xray_hpc.cluster.slurm.commands import SlurmError, ask
from xray_hpc.cluster.worker.output import say

# A cluster that does not say how long a job has between SIGTERM and SIGKILL: Slurm's own default.
KILL_WAIT = 30


@dataclass(frozen=True)
class JobState:
    """What Slurm says of a job now.

    ``state`` is its word (RUNNING, COMPLETING, ...), ``restarts`` how often it was put back,
    ``time_left`` seconds, ``None`` where there is no limit, ``killed`` whether its batch script
    was killed by SIGKILL, ``node_down`` whether Slurm has given up the node of this process.
    """

    state: str
    restarts: int
    time_left: float | None
    killed: bool = False
    node_down: bool = False


@dataclass(frozen=True)
class Job:
    """The job of this process. ``memory`` is MiB of the node, ``time_limit`` minutes.

    ``id`` is as ``squeue`` writes it, ``17`` or ``17_3``; ``batch`` whether it has a script that
    can run again, ``submitted`` when Slurm took it (back), in UTC, and ``kill_wait`` how many
    seconds pass between SIGTERM and SIGKILL. What Slurm did not say is ``None``.
    """

    id: str
    node: str
    restarts: int = 0
    batch: bool = True
    gpus: int = 0
    cpus: int | None = None
    memory: int | None = None
    memory_per_cpu: bool = False
    time_limit: int | None = None
    submitted: str | None = None
    partition: str | None = None
    excluded: str | None = None
    kill_wait: int = KILL_WAIT

    def state(self) -> JobState | None:
        """What Slurm says of the job now; ``None`` where it says nothing."""
        said = _show(self.id)
        if "JobState" not in said:
            return None
        left = None
        if (limit := seconds(said.get("TimeLimit", ""))) is not None:
            left = limit - (seconds(said.get("RunTime", "")) or 0)
        killed = said.get("ExitCode", "").endswith(":9")
        restarts = int(said.get("Restarts", 0))
        lost = restarts > self.restarts and self._node_down()
        return JobState(said["JobState"], restarts, left, killed, lost)

    def _node_down(self) -> bool:
        try:
            return ask(["sinfo", "--noheader", f"--nodes={self.node}", "--format=%T"]).startswith(
                ("down", "fail")
            )
        except SlurmError:
            return False

    def requeue(self, *, memory: int | None = None, exclude: Sequence[str] = ()) -> str | None:
        """Put the job back into the queue; give what Slurm said if it does not do it.

        The job asks for ``memory`` MiB from then on, and not for the nodes ``exclude``. Slurm ends
        it with SIGTERM at once, which this process ignores from now on, as do Slurm's commands.
        """
        if not self.batch:
            return "it has no batch script to run again"
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            ask(["scontrol", "requeue", self.id])
        except SlurmError as error:
            if "pending execution" not in str(error):  # Slurm has put it back by itself
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
                ask(["scontrol", "update", f"JobId={self.id}", *changes])
            except SlurmError as error:
                say(f"warning: Slurm did not take {' '.join(changes)} ({error})")
        return None

    def largest_memory(self) -> int | None:
        """The memory in MiB of the largest node that the job could be sent to."""
        partition = ["--partition", self.partition] if self.partition else []
        try:
            text = ask(["sinfo", "--noheader", "--Node", "--format=%m", *partition])
        except SlurmError:
            return None
        return max((int(size) for size in re.findall(r"\d+", text)), default=None)


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
    given = said.get("AllocTRES") or said.get("TRES", "")  # the former since Slurm 23
    resources = dict(re.findall(r"([\w/]+)=([^,]+)", given))
    gpus = environ.get("SLURM_JOB_GPUS") or environ.get("SLURM_STEP_GPUS") or ""
    cpus = environ.get("SLURM_CPUS_PER_TASK") or said.get("NumCPUs", "")
    limit = seconds(said.get("TimeLimit", ""))
    return Job(
        id=name,
        node=environ.get("SLURMD_NODENAME") or socket.gethostname(),
        restarts=int(environ.get("SLURM_RESTART_COUNT", 0)),
        batch=said.get("BatchFlag", "1") == "1",
        gpus=len([gpu for gpu in gpus.split(",") if gpu]) or int(resources.get("gres/gpu", 0)),
        cpus=int(cpus) if cpus.isdigit() else None,
        memory=mebibytes(resources.get("mem", "")),
        memory_per_cpu="MinMemoryCPU" in said,
        time_limit=None if limit is None else limit // 60,
        submitted=_utc(said.get("SubmitTime", "")),
        partition=said.get("Partition"),
        excluded=None if said.get("ExcNodeList") == "(null)" else said.get("ExcNodeList"),
        kill_wait=_kill_wait(),
    )


def _show(job: str) -> dict[str, str]:
    """``scontrol show job`` by its keys; empty where Slurm does not answer."""
    try:
        text = ask(["scontrol", "-o", "show", "job", job])
    except SlurmError:
        return {}
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


def _kill_wait() -> int:
    try:
        found = re.search(r"^KillWait\s*=\s*(\d+)", ask(["scontrol", "show", "config"]), re.M)
    except SlurmError:
        return KILL_WAIT
    return int(found[1]) if found else KILL_WAIT


def seconds(text: str) -> int | None:
    """``1-02:03:04`` or ``02:03:04`` in seconds; ``None`` for anything else (UNLIMITED)."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def mebibytes(text: str) -> int | None:
    """``300M``, ``1.50G`` in MiB, rounded up; ``None`` for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    if found is None:
        return None
    size = float(found[1]) * 1024.0 ** ("KMGT".index(found[2] or "M") - 1)
    return int(-(-size // 1))


def _utc(text: str) -> str | None:
    """A time of Slurm's, which is this site's, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")
