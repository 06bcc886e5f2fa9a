"""Why a try of a run ended, and what to do about it: decided from what is known, nothing asked."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from xray_hpc.config.cluster_config import Action, FailureConfig
from xray_hpc.records import exit_codes
from xray_hpc.records.run_record import Attempt, Failure, RunRecord
from xray_hpc.worker.slurm_job import JobState

TOLD_TO_END = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP)
# SIGUSR2 comes up to a minute earlier than asked for, and Slurm looks every 30 s.
EARLY_SECONDS = 90

# Of a run's own doing, so that trying again without end would be in vain.
COUNTED = frozenset(
    {
        Failure.OUT_OF_MEMORY,
        Failure.GPU_OUT_OF_MEMORY,
        Failure.BAD_DATA,
        Failure.NAN_LOSS,
        Failure.STORAGE,
        Failure.KILLED,
        Failure.BUG,
    }
)
# Another try may get further than this one did.
EXCUSED = frozenset({Failure.PREEMPTED, Failure.NODE_FAILURE, Failure.OUT_OF_MEMORY})
BAD_NODES = 5
IDLE_TRIES = 2

# The last words of a process that could not say more, or not write it down.
LAST_WORDS = {
    Failure.STORAGE: ("No space left on device", "Read-only file system", "Disk quota exceeded"),
    Failure.OUT_OF_MEMORY: ("std::bad_alloc", "Cannot allocate memory", "MemoryError"),
}

# What to raise for a run that does not get to its next checkpoint.
CURES = {
    Failure.TIME_LIMIT: "raise cluster.time",
    Failure.KILLED: "see its log, and raise cluster.mem if memory may be short",
}


@dataclass(frozen=True)
class ExitEvidence:
    """What is known of how a training process ended.

    ``code`` is its exit code, ``-n`` where signal n killed it; ``asked`` the signal that told it
    to end; ``job`` what Slurm says of the job since, ``restarts`` how often the job had been put
    back as it started; ``notice`` is seconds. ``in_job`` is false outside of Slurm. ``said`` is
    what the process wrote into its record, ``last_words`` the end of its output, ``oom_kills`` how
    often the kernel killed for want of memory meanwhile.
    """

    code: int
    asked: signal.Signals | None = None
    in_job: bool = False
    job: JobState | None = None
    restarts: int = 0
    notice: int = 0
    said: Failure | None = None
    last_words: str = ""
    oom_kills: int = 0


def told_to_end(code: int) -> signal.Signals | None:
    """The signal that asked a process to end, where its exit code shows one."""
    number = -code if code < 0 else code - 128
    return next((known for known in TOLD_TO_END if known == number), None)


def classify(evidence: ExitEvidence) -> Failure:
    """Why the try ended."""
    # Slurm signals each process of a job; the training's may have got it before the worker's.
    asked = evidence.asked or (None if evidence.said else told_to_end(evidence.code))
    if asked is not None:
        return _classify_asked(evidence, asked)
    if evidence.said is not None:
        return evidence.said
    if evidence.code == exit_codes.BAD_NODE:
        return Failure.NODE_FAILURE
    if evidence.code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return Failure.OUT_OF_MEMORY if evidence.oom_kills else Failure.KILLED
    for failure, signs in LAST_WORDS.items():
        if any(sign in evidence.last_words for sign in signs):
            return failure
    return Failure.STORAGE if evidence.code == exit_codes.STORAGE_ERROR else Failure.BUG


def _classify_asked(evidence: ExitEvidence, asked: signal.Signals) -> Failure:
    job = evidence.job
    if not evidence.in_job:
        return Failure.CANCELLED
    if job is None:  # Slurm does not answer
        return _classify_unheard(evidence, asked)
    if job.restarts > evidence.restarts:
        return Failure.NODE_FAILURE if job.node_down else Failure.PREEMPTED
    if job.preempted:
        return Failure.PREEMPTED
    if job.state == "TIMEOUT" or (job.time_left is not None and job.time_left <= 0):
        return Failure.TIME_LIMIT
    if job.killed:  # the batch script, and Slurm ended what it had started
        return Failure.KILLED
    if job.state != "RUNNING":
        return Failure.PREEMPTED if job.state == "PREEMPTED" else Failure.CANCELLED
    if asked in (signal.SIGINT, signal.SIGHUP):
        return Failure.CANCELLED
    if job.time_left is not None and job.time_left <= evidence.notice + EARLY_SECONDS:
        return Failure.TIME_LIMIT
    return Failure.PREEMPTED if evidence.asked else Failure.KILLED


def _classify_unheard(evidence: ExitEvidence, asked: signal.Signals) -> Failure:
    if asked is signal.SIGUSR2:  # nobody but Slurm sends it, and never to cancel
        return Failure.TIME_LIMIT
    # Nothing is known of a reason to go on; unless the training was told alone.
    return Failure.CANCELLED if evidence.asked else Failure.KILLED


@dataclass(frozen=True)
class FailureDecision:
    """What to do about a run, and why, in words that end a sentence about it."""

    action: Action
    why: str


def decide(policy: FailureConfig, failure: Failure, record: RunRecord) -> FailureDecision:
    """What to do about a run whose last try, in the record already, ended with ``failure``."""
    decision = by_policy(policy, failure)
    if decision.action == "stop":
        return decision
    chain = _chain(record.attempts)
    if failure in COUNTED:
        put_back = sum(1 for item in chain[:-1] if _failure(item) in COUNTED)
        if put_back >= policy.retries:
            return FailureDecision("stop", f"cluster.on_failure.retries is {policy.retries}")
    if failure is Failure.NODE_FAILURE:
        nodes = sum(1 for item in chain if _failure(item) is Failure.NODE_FAILURE)
        if nodes > BAD_NODES:
            return FailureDecision(
                "stop", f"{nodes} nodes failed it or were unfit; look at them in run.json"
            )
    if failure not in EXCUSED and _idle(record.attempts, len(chain)) >= IDLE_TRIES:
        cure = CURES.get(failure, "see its log")
        return FailureDecision("stop", f"no new checkpoint in two tries; {cure}")
    return decision


def by_policy(policy: FailureConfig, failure: Failure) -> FailureDecision:
    """What is to be done about a run that ended with ``failure`` if it had no tries before."""
    if failure is Failure.CANCELLED:
        return FailureDecision("stop", "it was cancelled")
    action: Action = getattr(policy, failure.value)
    return FailureDecision(action, f"cluster.on_failure.{failure.value} is {action}")


def _chain(attempts: Sequence[Attempt]) -> Sequence[Attempt]:
    """The last tries, each but the last put back by a job: what came since somebody launched."""
    first = len(attempts) - 1
    while first > 0 and attempts[first - 1].requeued:
        first -= 1
    return attempts[max(first, 0) :]


def _idle(attempts: Sequence[Attempt], count: int) -> int:
    """How many of the last ``count`` tries got no further than any before them.

    Counted back from the last to one that did; what others made an end to does not count.
    """
    idle = 0
    for index in range(len(attempts) - 1, len(attempts) - count - 1, -1):
        if _reached(attempts[index]) > max(map(_reached, attempts[:index]), default=[0, 0, 0]):
            break
        idle += _failure(attempts[index]) not in EXCUSED
    return idle


def _reached(item: Attempt) -> list[int]:
    return [*(item.checkpoint or [0, 0]), item.feature_blocks or 0]


def _failure(item: Attempt) -> Failure | None:
    return None if item.failure is None else Failure(item.failure)
