"""Why an attempt ended: a ``Failure``, derived from the evidence about its training process."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass

from xray_hpc.records import exit_codes
from xray_hpc.records.run_record import Failure
from xray_hpc.worker.slurm_job import JobState, SlurmJob

# The signals that ask a process to end.
TERMINATION_SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP)
# Slurm checks time limits every 30 s and sends SIGUSR2 up to a minute before the requested time.
EARLY_SIGNAL_SECONDS = 90

# Messages at the end of the output of a process that could not record its failure.
OUTPUT_PATTERNS = {
    Failure.STORAGE: ("No space left on device", "Read-only file system", "Disk quota exceeded"),
    Failure.OUT_OF_MEMORY: (
        *("std::bad_alloc", "Cannot allocate memory", "MemoryError", "failed to map segment"),
        *("cannot allocate memory", "not enough memory", "pthread_create() failed"),
    ),
}


@dataclass(frozen=True)
class ExitEvidence:
    """What is known about the end of a training process."""

    code: int  # its exit code; -n if signal n killed it
    received: signal.Signals | None = None  # the signal that asked the worker to end
    job: SlurmJob | None = None
    state: JobState | None = None  # of the job after the end; None if Slurm did not answer
    signal_time: int = 0  # seconds before its time limit at which Slurm signals the job
    recorded: Failure | None = None  # what the process wrote into run.json
    output_tail: str = ""
    oom_kills: int = 0  # in the job's cgroup, while the process ran


def termination_signal(code: int) -> signal.Signals | None:
    """Return the termination signal that an exit code stands for (``-n`` or 128 + n), if any."""
    number = -code if code < 0 else code - 128
    return next((known for known in TERMINATION_SIGNALS if known == number), None)


def classify_exit(evidence: ExitEvidence) -> Failure:
    """Return the cause of an attempt's end."""
    # Slurm signals every process of a job, and the training may have received it first.
    received = evidence.received
    if received is None and evidence.recorded is None:
        received = termination_signal(evidence.code)
    if received is not None:
        return _classify_terminated(evidence, received)
    if evidence.recorded is not None:
        return evidence.recorded
    if evidence.code == exit_codes.BAD_NODE:
        return Failure.NODE_FAILURE
    if evidence.code == exit_codes.LEASE_HELD:  # this process was stopped for a while
        return Failure.KILLED
    if evidence.code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return Failure.OUT_OF_MEMORY if evidence.oom_kills else Failure.KILLED
    if evidence.code in (-signal.SIGBUS, 128 + signal.SIGBUS):
        return Failure.STORAGE
    for failure, patterns in OUTPUT_PATTERNS.items():
        if any(pattern in evidence.output_tail for pattern in patterns):
            return failure
    return Failure.STORAGE if evidence.code == exit_codes.STORAGE_ERROR else Failure.BUG


def _classify_terminated(evidence: ExitEvidence, received: signal.Signals) -> Failure:
    job, state = evidence.job, evidence.state
    if job is None:
        return Failure.CANCELLED
    if state is None:
        if received is signal.SIGUSR2:  # only Slurm sends it, and never in order to cancel
            return Failure.TIME_LIMIT
        # Nothing speaks for requeueing, unless the training process alone was signalled.
        return Failure.CANCELLED if evidence.received else Failure.KILLED
    if state.restarts > job.restarts:
        return Failure.NODE_FAILURE if state.node_down else Failure.PREEMPTED
    if state.preempted:
        return Failure.PREEMPTED
    time_left = math.inf if state.time_left is None else state.time_left
    if state.state == "TIMEOUT" or time_left <= 0:
        return Failure.TIME_LIMIT
    if state.killed:  # the batch script was killed, and Slurm ended its processes
        return Failure.KILLED
    if state.state != "RUNNING":
        return Failure.PREEMPTED if state.state == "PREEMPTED" else Failure.CANCELLED
    if received in (signal.SIGINT, signal.SIGHUP):
        return Failure.CANCELLED
    if time_left <= evidence.signal_time + EARLY_SIGNAL_SECONDS:
        return Failure.TIME_LIMIT
    return Failure.PREEMPTED if evidence.received else Failure.KILLED
