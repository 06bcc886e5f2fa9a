"""The failure that the evidence about an ended training process stands for."""

from __future__ import annotations

import signal

import pytest

from xray_hpc.records.run_record import Failure
from xray_hpc.worker.exit_classification import ExitEvidence, classify_exit
from xray_hpc.worker.slurm_job import JobState, SlurmJob

JOB = SlurmJob("17", "node1")


def terminated(
    received: signal.Signals,
    state: str,
    *,
    restarts: int = 0,
    time_left: float | None = 3600,
    node_down: bool = False,
    preempted: bool = False,
) -> ExitEvidence:
    """Return the evidence of a training that its job's worker ended after a signal."""
    after = JobState(state, restarts, time_left, node_down=node_down, preempted=preempted)
    return ExitEvidence(143, received, JOB, after, signal_time=120)


TERM, USR2, INT = signal.SIGTERM, signal.SIGUSR2, signal.SIGINT


@pytest.mark.parametrize(
    ("evidence", "failure"),
    [
        # The states that Slurm 22.05 reports at the time of its SIGTERM.
        (terminated(TERM, "COMPLETING"), Failure.CANCELLED),
        (terminated(TERM, "CANCELLED"), Failure.CANCELLED),
        (terminated(TERM, "COMPLETING", restarts=1), Failure.PREEMPTED),
        (terminated(TERM, "PENDING", restarts=1), Failure.PREEMPTED),
        (terminated(TERM, "PENDING", restarts=1, node_down=True), Failure.NODE_FAILURE),
        (terminated(TERM, "COMPLETING", time_left=0), Failure.TIME_LIMIT),
        (terminated(TERM, "TIMEOUT", time_left=None), Failure.TIME_LIMIT),
        (terminated(TERM, "RUNNING"), Failure.PREEMPTED),
        (terminated(USR2, "RUNNING", time_left=180), Failure.TIME_LIMIT),
        (terminated(USR2, "RUNNING", time_left=3600), Failure.PREEMPTED),
        (terminated(USR2, "RUNNING", time_left=None), Failure.PREEMPTED),
        (terminated(TERM, "COMPLETING", preempted=True), Failure.PREEMPTED),
        (terminated(INT, "RUNNING"), Failure.CANCELLED),
        # Slurm does not answer.
        (ExitEvidence(143, received=TERM, job=JOB), Failure.CANCELLED),
        (ExitEvidence(-12, received=USR2, job=JOB), Failure.TIME_LIMIT),
        (ExitEvidence(143, job=JOB), Failure.KILLED),
        # Outside of Slurm.
        (ExitEvidence(-2, received=INT), Failure.CANCELLED),
        (ExitEvidence(-15), Failure.CANCELLED),
    ],
)
def test_classify_exit_of_a_terminated_training(evidence: ExitEvidence, failure: Failure) -> None:
    assert classify_exit(evidence) is failure


@pytest.mark.parametrize(
    ("evidence", "failure"),
    [
        (ExitEvidence(1, recorded=Failure.NAN_LOSS), Failure.NAN_LOSS),
        (ExitEvidence(75), Failure.NODE_FAILURE),
        (ExitEvidence(-9), Failure.KILLED),
        (ExitEvidence(-9, oom_kills=1), Failure.OUT_OF_MEMORY),
        (ExitEvidence(137, oom_kills=1), Failure.OUT_OF_MEMORY),
        (ExitEvidence(-6, output_tail="what():  std::bad_alloc"), Failure.OUT_OF_MEMORY),
        (ExitEvidence(127, output_tail="cannot allocate memory for"), Failure.OUT_OF_MEMORY),
        (ExitEvidence(74, output_tail="ERROR not enough memory"), Failure.OUT_OF_MEMORY),
        (ExitEvidence(1, output_tail="[Errno 28] No space left on device"), Failure.STORAGE),
        (ExitEvidence(74), Failure.STORAGE),
        (ExitEvidence(-signal.SIGBUS), Failure.STORAGE),  # a mapped file could not be read
        (ExitEvidence(1, output_tail="x.so: failed to map segment from"), Failure.OUT_OF_MEMORY),
        (ExitEvidence(-6, output_tail="pthread_create() failed."), Failure.OUT_OF_MEMORY),
        (ExitEvidence(-11), Failure.BUG),
        (ExitEvidence(1), Failure.BUG),
        (ExitEvidence(0), Failure.BUG),
    ],
)
def test_classify_exit_of_a_training_that_ended_by_itself(
    evidence: ExitEvidence, failure: Failure
) -> None:
    assert classify_exit(evidence) is failure


def test_classify_exit_of_a_training_that_was_terminated_without_its_job() -> None:
    state = JobState("RUNNING", 0, 3600)
    assert classify_exit(ExitEvidence(-15, job=JOB, state=state)) is Failure.KILLED


def test_classify_exit_of_a_training_whose_batch_script_was_killed() -> None:
    state = JobState("COMPLETING", 0, 3600, killed=True)
    evidence = ExitEvidence(143, received=TERM, job=JOB, state=state)
    assert classify_exit(evidence) is Failure.KILLED
