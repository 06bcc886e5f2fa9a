"""What is done about a run after a failed attempt."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.cluster_config import FailureConfig
from xray_hpc.records.run_record import Attempt, Failure, RunRecord
from xray_hpc.worker.failure_policy import COUNTED, MAX_NODE_FAILURES, FailureDecision
from xray_hpc.worker.failure_policy import decide as decide_with

EPOCHS = 6
KILLED, LIMIT, PREEMPTED = Failure.KILLED, Failure.TIME_LIMIT, Failure.PREEMPTED

# The failure of an attempt, and the steps that its checkpoint has reached, two in each epoch.
AttemptSpec = tuple[Failure | None, int | None]


def record(*attempts: AttemptSpec) -> RunRecord:
    """Return a record with these attempts, of which all but the last were requeued."""
    items = [
        Attempt(
            "2026-11-30T12:00:00+00:00",
            "node1",
            failure=failure.value if failure else None,
            checkpoint=None if steps is None else [steps // 2, steps % 2],
            requeued=number < len(attempts),
        )
        for number, (failure, steps) in enumerate(attempts, 1)
    ]
    return RunRecord("ft-1", "sweep", "ft", epochs=EPOCHS, attempts=items)


def decide(*attempts: AttemptSpec, policy: FailureConfig | None = None) -> FailureDecision:
    """Return the decision after the last of these attempts."""
    failure = attempts[-1][0]
    assert failure is not None
    return decide_with(policy or FailureConfig(), failure, record(*attempts))


def test_decide_stops_a_cancelled_run() -> None:
    assert decide((Failure.CANCELLED, 3)).action == "stop"


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
def test_decide_follows_the_policy(failure: Failure, action: str) -> None:
    decision = decide((failure, 1))
    assert decision.action == action
    assert decision.reason == f"cluster.on_failure.{failure.value} is {action}"


def test_decide_limits_the_retries_for_failures_of_the_run_itself() -> None:
    policy = FailureConfig(retries=2)
    attempts: list[AttemptSpec] = [(KILLED, 1), (PREEMPTED, 2), (KILLED, 3)]
    assert decide(*attempts, policy=policy).action == "requeue"
    decision = decide(*attempts, (KILLED, 4), policy=policy)
    assert (decision.action, decision.reason) == ("stop", "cluster.on_failure.retries is 2")


def test_decide_counts_retries_from_the_last_launch() -> None:
    before_launch = record((KILLED, 1), (KILLED, 2)).attempts
    after_launch = record((KILLED, 3)).attempts
    both = dataclasses.replace(record((None, None)), attempts=[*before_launch, *after_launch])
    assert decide_with(FailureConfig(retries=1), KILLED, both).action == "requeue"


def test_decide_stops_a_run_without_progress_in_two_attempts() -> None:
    assert decide((LIMIT, 3), (LIMIT, 3)).action == "requeue"
    decision = decide((LIMIT, 3), (LIMIT, 3), (LIMIT, 3))
    assert decision.action == "stop"
    assert "raise cluster.time" in decision.reason


def test_decide_ignores_preemptions_when_it_looks_for_progress() -> None:
    assert decide((LIMIT, 0), (PREEMPTED, 0)).action == "requeue"
    assert decide((LIMIT, 0), (PREEMPTED, 0), (LIMIT, None)).action == "stop"
    assert decide((LIMIT, 0), (PREEMPTED, 2), (LIMIT, 2)).action == "requeue"


def test_decide_raises_the_memory_even_without_progress() -> None:
    failure = Failure.OUT_OF_MEMORY
    assert decide((failure, 0), (failure, 0)).action == "more_memory"


def test_decide_limits_the_number_of_bad_nodes() -> None:
    attempts: list[AttemptSpec] = [(Failure.NODE_FAILURE, 0)] * MAX_NODE_FAILURES
    assert decide(*attempts).action == "exclude_node"
    assert decide(*attempts, (Failure.NODE_FAILURE, 0)).action == "stop"


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
def test_decide_stops_every_run_eventually_unless_preempted(
    policy: FailureConfig, data: st.DataObject
) -> None:
    failures = st.sampled_from([failure for failure in Failure if failure is not PREEMPTED])
    attempts: list[AttemptSpec] = []
    limit = (2 * EPOCHS + 1) * 2 + policy.retries + MAX_NODE_FAILURES + 1
    for _ in range(limit):
        steps = data.draw(st.none() | st.integers(0, 2 * EPOCHS))
        attempts.append((data.draw(failures), steps))
        if decide(*attempts, policy=policy).action == "stop":
            break
    else:
        pytest.fail(f"not stopped after {limit} attempts: {attempts}")


@given(POLICIES, st.lists(st.sampled_from(sorted(COUNTED)), min_size=1, max_size=8))
def test_decide_never_exceeds_the_retries(policy: FailureConfig, failures: list[Failure]) -> None:
    attempts: list[AttemptSpec] = [(failure, epoch) for epoch, failure in enumerate(failures, 1)]
    requeues = 0
    for count in range(1, len(attempts) + 1):
        if decide(*attempts[:count], policy=policy).action == "stop":
            break
        requeues += 1
    assert requeues <= policy.retries
