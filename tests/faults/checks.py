"""Check what must hold for every run, whatever happened to it: its audit against its record."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tests.faults.audit import AuditLine
from tests.faults.fake_training import expected_digest
from tests.faults.fault_sweep import FaultSweep
from xray_hpc.monitoring.run_state import read_evidence
from xray_hpc.records.run_record import Status

# Slurm's possible job states for each status of an unfinished run in the report.
SLURM_STATES = {
    "failed": ("FAILED", "OUT_OF_MEMORY"),
    "cancelled": ("CANCELLED",),
    "interrupted": ("FAILED", "TIMEOUT"),
    "lost": ("FAILED", "CANCELLED", "NODE_FAIL"),
}


@dataclass(frozen=True)
class RunCheck:
    """The checks of one run.

    Attributes:
        epochs_lost: The most epochs that one interruption cost.
        epochs_repeated: How many epochs were completed more than once.
        problems: One message for each check that failed.
    """

    epochs_lost: int
    epochs_repeated: int
    problems: list[str]


def check_unfinished(sweep: FaultSweep, status: str) -> list[str]:
    """Check that all runs ended with ``status``, and that Slurm's job states agree with it.

    Returns:
        One message for each run that did not.
    """
    reported = sweep.reported_statuses()
    problems = []
    for seed in sweep.seeds:
        state, code = sweep.slurm_state(seed)
        found = reported[sweep.runs[seed].name]
        agrees = state in SLURM_STATES[status] and not (state == "FAILED" and code == "0:0")
        if found != status or not agrees:
            problems.append(
                f"run {seed} should be {status}: the report has {found}, Slurm {state} {code}, "
                f"{sweep.describe(seed)}"
            )
    return problems


def check_finished(sweep: FaultSweep, failures: Collection[str | None]) -> list[RunCheck]:
    """Compare every run of an ended sweep with an uninterrupted run.

    Args:
        sweep: The sweep.
        failures: The failures that its unfinished attempts may have recorded.
    """
    reported = sweep.reported_statuses()
    return [_check_run(sweep, seed, failures, reported) for seed in sweep.seeds]


def _check_run(
    sweep: FaultSweep, seed: int, failures: Collection[str | None], reported: dict[str, str]
) -> RunCheck:
    record, audit, run = sweep.record(seed), sweep.audit.read(seed), sweep.runs[seed]
    processes = [list(lines) for _, lines in itertools.groupby(audit, _process)]
    lost = [_epochs_lost(*pair) for pair in itertools.pairwise(processes)]
    completed = [line["epoch"] for line in audit if line["event"] == "end"]
    concurrent = sum(bool(line["others"]) for line in audit)
    final_status = (*sweep.slurm_state(seed), reported[run.name])
    recorded = [attempt.failure for attempt in record.attempts[:-1]]
    damage = read_evidence(run).damage
    digest = audit[-1].get("digest") if audit else None
    checks = {
        "is not finished": record.status is Status.FINISHED,
        f"is damaged: {damage}": damage is None,
        "has another digest than an uninterrupted run": digest == expected_digest(sweep.epochs),
        f"lost epochs: {lost}": all(0 <= epochs <= 1 for epochs in lost),
        f"completed epochs twice: {completed}": len(completed) == len(set(completed)),
        "was trained by two processes at once": not concurrent,
        f"is finished, but Slurm and the report have {final_status}": final_status
        == ("COMPLETED", "0:0", "finished"),
        f"has attempts that ended with {recorded}": set(recorded) <= set(failures),
        "has a wrong number of restarts": record.restarts == len(record.attempts) - 1,
    }
    problems = [
        f"run {seed} {problem}: {sweep.describe(seed)}"
        for problem, holds in checks.items()
        if not holds
    ]
    repeated = len(completed) - len(set(completed)) + concurrent
    return RunCheck(max(lost, default=0), repeated, problems)


def _process(line: AuditLine) -> tuple[int, int]:
    return line["pid"], line["process_start"]


def _epochs_lost(before: Sequence[AuditLine], after: Sequence[AuditLine]) -> int:
    """Return how many epochs that one process had begun the next one began again."""
    return int(before[-1]["epoch"]) + 1 - int(after[0]["epoch"])
