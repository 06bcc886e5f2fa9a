"""Why a try ended, and what is done about it."""

from __future__ import annotations

import dataclasses
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.cluster_config import FailureConfig
from xray_hpc.records.run_record import Attempt, Failure, RunRecord
from xray_hpc.worker.failure_classification import ExitEvidence, classify
from xray_hpc.worker.failure_policy import COUNTED, MAX_NODE_FAILURES, decide
from xray_hpc.worker.slurm_job import JobState

EPOCHS = 6


def asked(
    number: signal.Signals,
    state: str,
    *,
    restarts: int = 0,
    left: float | None = 3600,
    down: bool = False,
    preempted: bool = False,
) -> ExitEvidence:
    """A training ended by a signal to its job, of which Slurm says ``state`` then."""
    job = JobState(state, restarts, left, node_down=down, preempted=preempted)
    return ExitEvidence(143, received=number, in_job=True, job=job, restarts=0, signal_time=120)


@pytest.mark.parametrize(
    ("evidence", "failure"),
    [
        # What Slurm 22.05 says of a job at the moment of its SIGTERM.
        (asked(signal.SIGTERM, "COMPLETING"), Failure.CANCELLED),
        (asked(signal.SIGTERM, "CANCELLED"), Failure.CANCELLED),
        (asked(signal.SIGTERM, "COMPLETING", restarts=1), Failure.PREEMPTED),
        (asked(signal.SIGTERM, "PENDING", restarts=1), Failure.PREEMPTED),
        (asked(signal.SIGTERM, "PENDING", restarts=1, down=True), Failure.NODE_FAILURE),
        (asked(signal.SIGTERM, "COMPLETING", left=0), Failure.TIME_LIMIT),
        (asked(signal.SIGTERM, "TIMEOUT", left=None), Failure.TIME_LIMIT),
        (asked(signal.SIGTERM, "RUNNING"), Failure.PREEMPTED),
        (asked(signal.SIGUSR2, "RUNNING", left=180), Failure.TIME_LIMIT),
        (asked(signal.SIGUSR2, "RUNNING", left=3600), Failure.PREEMPTED),
        (asked(signal.SIGUSR2, "RUNNING", left=None), Failure.PREEMPTED),
        (asked(signal.SIGTERM, "COMPLETING", preempted=True), Failure.PREEMPTED),
        (asked(signal.SIGINT, "RUNNING"), Failure.CANCELLED),
        (ExitEvidence(143, received=signal.SIGTERM, in_job=True), Failure.CANCELLED),
        (ExitEvidence(-12, received=signal.SIGUSR2, in_job=True), Failure.TIME_LIMIT),
        (ExitEvidence(143, in_job=True), Failure.KILLED),
        (ExitEvidence(-2, received=signal.SIGINT), Failure.CANCELLED),
        (ExitEvidence(-15), Failure.CANCELLED),
    ],
)
def test_a_training_told_to_end(evidence: ExitEvidence, failure: Failure) -> None:
    assert classify(evidence) is failure


@pytest.mark.parametrize(
    ("evidence", "failure"),
    [
        (ExitEvidence(1, recorded=Failure.NAN_LOSS), Failure.NAN_LOSS),
        (ExitEvidence(75), Failure.NODE_FAILURE),
        (ExitEvidence(-9), Failure.KILLED),
        (ExitEvidence(-9, oom_kills=1), Failure.OUT_OF_MEMORY),
        (ExitEvidence(137, oom_kills=1), Failure.OUT_OF_MEMORY),
        (ExitEvidence(-6, output_tail="what():  std::bad_alloc"), Failure.OUT_OF_MEMORY),
        (
            ExitEvidence(1, output_tail="OSError: [Errno 28] No space left on device"),
            Failure.STORAGE,
        ),
        (ExitEvidence(74), Failure.STORAGE),
        (ExitEvidence(-11), Failure.BUG),
        (ExitEvidence(1), Failure.BUG),
        (ExitEvidence(0), Failure.BUG),
    ],
)
def test_a_training_that_ended_by_itself(evidence: ExitEvidence, failure: Failure) -> None:
    assert classify(evidence) is failure


def test_a_training_killed_alone_while_its_job_goes_on_was_killed_by_somebody() -> None:
    job = JobState("RUNNING", 0, 3600)
    assert classify(ExitEvidence(-15, in_job=True, job=job)) is Failure.KILLED


def test_a_training_ended_because_the_batch_script_was_killed() -> None:
    job = JobState("COMPLETING", 0, 3600, killed=True)
    ended = ExitEvidence(143, received=signal.SIGTERM, in_job=True, job=job)
    assert classify(ended) is Failure.KILLED


def record(*tries: tuple[Failure | None, int | None]) -> RunRecord:
    """A run's record; of each try its failure and the steps done, all but the last put back."""
    items = [
        Attempt(
            "",
            "node1",
            failure=failure.value if failure else None,
            checkpoint=None if steps is None else [steps // 2, steps % 2],
            requeued=True,
        )
        for failure, steps in tries
    ]
    return RunRecord("ft-1", "sweep", "ft", epochs=EPOCHS, attempts=_not_retried(items))


def _not_retried(items: list[Attempt]) -> list[Attempt]:
    return [*items[:-1], dataclasses.replace(items[-1], requeued=False)]


def test_a_cancelled_run_is_never_tried_again() -> None:
    decision = decide(FailureConfig(), Failure.CANCELLED, record((Failure.CANCELLED, 3)))
    assert (decision.action, decision.reason) == ("stop", "the run was cancelled")


@pytest.mark.parametrize(
    ("failure", "action"),
    [
        (Failure.OUT_OF_MEMORY, "more_memory"),
        (Failure.TIME_LIMIT, "requeue"),
        (Failure.PREEMPTED, "requeue"),
        (Failure.NODE_FAILURE, "exclude_node"),
        (Failure.NAN_LOSS, "stop"),
        (Failure.BUG, "stop"),
    ],
)
def test_the_policy_decides(failure: Failure, action: str) -> None:
    decision = decide(FailureConfig(), failure, record((failure, 1)))
    assert decision.action == action
    assert decision.reason == f"cluster.on_failure.{failure.value} is {action}"


def test_a_run_is_put_back_so_often_for_what_it_did_itself() -> None:
    policy = FailureConfig(retries=2)
    killed = [(Failure.KILLED, 1), (Failure.PREEMPTED, 2), (Failure.KILLED, 3)]
    assert decide(policy, Failure.KILLED, record(*killed)).action == "requeue"
    decision = decide(policy, Failure.KILLED, record(*killed, (Failure.KILLED, 4)))
    assert (decision.action, decision.reason) == ("stop", "cluster.on_failure.retries is 2")


def test_launching_a_run_again_gives_it_all_its_retries_again() -> None:
    before = record((Failure.KILLED, 1), (Failure.KILLED, 2)).attempts
    after = record((Failure.KILLED, 3)).attempts
    tried = dataclasses.replace(record((None, None)), attempts=[*before, *after])
    assert decide(FailureConfig(retries=1), Failure.KILLED, tried).action == "requeue"


def test_a_run_that_gets_no_further_in_two_tries_is_stopped() -> None:
    limit = Failure.TIME_LIMIT
    assert decide(FailureConfig(), limit, record((limit, 3), (limit, 3))).action == "requeue"
    decision = decide(FailureConfig(), limit, record((limit, 3), (limit, 3), (limit, 3)))
    assert decision.action == "stop"
    assert decision.reason == "no new checkpoint in two attempts; raise cluster.time"


def test_a_preemption_between_them_neither_counts_nor_helps() -> None:
    limit, taken = Failure.TIME_LIMIT, Failure.PREEMPTED
    assert decide(FailureConfig(), taken, record((limit, 0), (taken, 0))).action == "requeue"
    tried = record((limit, 0), (taken, 0), (limit, None))
    assert decide(FailureConfig(), limit, tried).action == "stop"
    tried = record((limit, 0), (taken, 2), (limit, 2))
    assert decide(FailureConfig(), limit, tried).action == "requeue"


def test_more_memory_is_tried_though_nothing_was_done() -> None:
    tried = record((Failure.OUT_OF_MEMORY, 0), (Failure.OUT_OF_MEMORY, 0))
    assert decide(FailureConfig(), Failure.OUT_OF_MEMORY, tried).action == "more_memory"


def test_a_run_is_not_sent_to_one_bad_node_after_the_other_for_ever() -> None:
    bad = [(Failure.NODE_FAILURE, 0)] * MAX_NODE_FAILURES
    assert decide(FailureConfig(), Failure.NODE_FAILURE, record(*bad)).action == "exclude_node"
    decision = decide(FailureConfig(), Failure.NODE_FAILURE, record(*bad, bad[0]))
    assert decision.action == "stop"


POLICIES = st.builds(
    FailureConfig,
    retries=st.integers(0, 4),
    **{
        failure.value: st.sampled_from(["requeue", "exclude_node", "more_memory", "stop"])
        for failure in Failure
        if failure is not Failure.CANCELLED
    },
)


@given(POLICIES, st.data())
def test_whatever_happens_to_a_run_but_preemption_it_ends(
    policy: FailureConfig, data: st.DataObject
) -> None:
    failures = st.sampled_from([item for item in Failure if item is not Failure.PREEMPTED])
    tries: list[tuple[Failure | None, int | None]] = []
    most = (2 * EPOCHS + 1) * 2 + policy.retries + MAX_NODE_FAILURES + 1
    for _ in range(most):
        failure = data.draw(failures)
        tries.append((failure, data.draw(st.none() | st.integers(0, 2 * EPOCHS))))
        if decide(policy, failure, record(*tries)).action == "stop":
            break
    else:
        pytest.fail(f"still going after {most} tries: {tries}")


@given(POLICIES, st.lists(st.sampled_from(sorted(COUNTED)), min_size=1, max_size=8))
def test_a_run_is_never_put_back_more_often_than_it_may(
    policy: FailureConfig, failures: list[Failure]
) -> None:
    tries = [(failure, epoch) for epoch, failure in enumerate(failures, 1)]
    put_back = 0
    for count in range(1, len(tries) + 1):
        if decide(policy, tries[count - 1][0], record(*tries[:count])).action == "stop":
            break
        put_back += 1
    assert put_back <= policy.retries
