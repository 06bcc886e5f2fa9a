"""What to do about a run after a failed attempt: ``cluster.on_failure``, with its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xray_hpc.config.cluster_config import Action, FailureConfig
from xray_hpc.records.run_record import Attempt, Failure, RunRecord

# Failures with a cause outside the run: its status becomes "interrupted" instead of "failed".
INTERRUPTIONS = frozenset(
    {Failure.TIME_LIMIT, Failure.PREEMPTED, Failure.NODE_FAILURE, Failure.CANCELLED}
)
# Failures that the run itself causes; they count towards cluster.on_failure.retries.
COUNTED = frozenset(Failure) - INTERRUPTIONS
# Failures after which the next attempt may get further, even if this one made no progress.
EXCUSED = frozenset({Failure.PREEMPTED, Failure.NODE_FAILURE, Failure.OUT_OF_MEMORY})
MAX_NODE_FAILURES = 5
MAX_ATTEMPTS_WITHOUT_PROGRESS = 2

# What a user can change for a run that never reaches its next checkpoint.
ADVICE = {
    Failure.TIME_LIMIT: "raise cluster.time",
    Failure.SETUP: "correct cluster.setup, or end a line that may fail with || true",
    Failure.KILLED: "see its log, and raise cluster.mem if memory may be short",
}


@dataclass(frozen=True)
class FailureDecision:
    """What to do about a run, and the reason as a clause for messages."""

    action: Action
    reason: str


def decide(policy: FailureConfig, failure: Failure, record: RunRecord) -> FailureDecision:
    """Return what to do about a run whose last recorded attempt ended with ``failure``.

    The policy's action applies until the run has used up its retries, failed on too many nodes or
    made no progress in two attempts.
    """
    decision = policy_decision(policy, failure)
    if decision.action == "stop":
        return decision
    chain = _failures_since_launch(record.attempts)
    if failure in COUNTED and sum(cause in COUNTED for cause in chain[:-1]) >= policy.retries:
        return FailureDecision("stop", f"cluster.on_failure.retries is {policy.retries}")
    nodes = chain.count(Failure.NODE_FAILURE)
    if failure is Failure.NODE_FAILURE and nodes > MAX_NODE_FAILURES:
        reason = f"{nodes} nodes failed or were unfit; see bad_nodes in run.json"
        return FailureDecision("stop", reason)
    without_progress = _attempts_without_progress(record.attempts, chain)
    if failure not in EXCUSED and without_progress >= MAX_ATTEMPTS_WITHOUT_PROGRESS:
        advice = ADVICE.get(failure, "see its log")
        return FailureDecision("stop", f"no new checkpoint in two attempts; {advice}")
    return decision


def policy_decision(policy: FailureConfig, failure: Failure) -> FailureDecision:
    """Return the policy's action for ``failure``, whatever the run's earlier attempts."""
    if failure is Failure.CANCELLED:
        return FailureDecision("stop", "the run was cancelled")
    action: Action = getattr(policy, failure.value)
    return FailureDecision(action, f"cluster.on_failure.{failure.value} is {action}")


def _failures_since_launch(attempts: Sequence[Attempt]) -> list[Failure | None]:
    """Return the failures of the attempts since the run was last launched by a user."""
    first = len(attempts) - 1
    while first > 0 and attempts[first - 1].requeued:
        first -= 1
    return [Failure(last.failure) if last.failure else None for last in attempts[max(first, 0) :]]


def _attempts_without_progress(attempts: Sequence[Attempt], chain: list[Failure | None]) -> int:
    """Count the latest attempts that reached no new checkpoint, unless their failure is excused."""
    without_progress = 0
    for index, failure in zip(reversed(range(len(attempts))), reversed(chain), strict=False):
        before = max(map(_progress, attempts[:index]), default=[0, 0, 0])
        if _progress(attempts[index]) > before:
            break
        without_progress += failure not in EXCUSED
    return without_progress


def _progress(attempt: Attempt) -> list[int]:
    return [*(attempt.checkpoint or [0, 0]), attempt.feature_blocks or 0]
