"""What must be true of a run whatever was done to it, held against its audit and its record."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.standin import MODEL, digest_of
from tests.faults.sweeps import Sweep
from xray_hpc.monitoring.run_state import find_damage
from xray_hpc.records.run_record import Status

Line = dict[str, Any]

# Slurm's words for what the report calls a run that is not finished.
SLURM_STATES = {
    "failed": ("FAILED", "OUT_OF_MEMORY"),
    "cancelled": ("CANCELLED",),
    "interrupted": ("FAILED", "TIMEOUT"),
    "lost": ("FAILED", "CANCELLED", "NODE_FAIL"),
}


@dataclass(frozen=True)
class Findings:
    """Of one run: ``lost`` epochs at the most in one interruption, epochs done ``twice``."""

    lost: int
    twice: int
    wrong: list[str]


def judge_left(sweep: Sweep, left: str) -> list[str]:
    """What does not agree about runs that ended unfinished and should be called ``left``."""
    report = sweep.report_says()
    wrong = []
    for seed in sweep.seeds:
        state, code = sweep.slurm_says(seed)
        called = report[sweep.runs[seed].name]
        if (
            called != left
            or state not in SLURM_STATES[left]
            or (code == "0:0" and state == "FAILED")
        ):
            wrong.append(
                f"run {seed} should be {left}: its report says {called}, Slurm {state} {code}, "
                f"{sweep.told(seed)}"
            )
    return wrong


def judge(sweep: Sweep, failures: Collection[str | None]) -> list[Findings]:
    """Hold every run of a sweep that is over against an uninterrupted one.

    ``failures`` are the classes that a try which did not finish may have been given.
    """
    report = sweep.report_says()
    return [_judge(sweep, seed, failures, report) for seed in sweep.seeds]


def _judge(
    sweep: Sweep, seed: int, failures: Collection[str | None], report: dict[str, str]
) -> Findings:
    record, audit, run = sweep.record(seed), sweep.control.audit(seed), sweep.runs[seed]
    processes = [list(lines) for _, lines in itertools.groupby(audit, _process)]
    losses = [_lost(*pair) for pair in itertools.pairwise(processes)]
    ends = [line["epoch"] for line in audit if line["what"] == "end"]
    beside = sum(bool(line["beside"]) for line in audit)
    twice = len(ends) - len(set(ends)) + beside
    said = (*sweep.slurm_says(seed), report[run.name])
    ended = [one.failure for one in record.attempts[:-1]]
    facts = {
        "is not finished": record.status is Status.FINISHED,
        f"lacks a file: {find_damage(run, MODEL)}": find_damage(run, MODEL) is None,
        "has another digest": bool(audit) and audit[-1].get("digest") == digest_of(sweep.epochs),
        f"lost epochs: {losses}": all(0 <= loss <= 1 for loss in losses),
        f"did epochs twice: {ends}": len(ends) == len(set(ends)),
        "was trained by two processes at once": not beside,
        f"is finished, but Slurm and the report say {said}": said
        == ("COMPLETED", "0:0", "finished"),
        f"has tries that ended by {ended}": set(ended) <= set(failures),
        "counts restarts wrongly": record.restarts == len(record.attempts) - 1,
    }
    wrong = [f"run {seed} {what}: {sweep.told(seed)}" for what, holds in facts.items() if not holds]
    return Findings(max(losses, default=0), twice, wrong)


def _process(line: Line) -> tuple[int, int]:
    return line["pid"], line["began"]


def _lost(before: Sequence[Line], after: Sequence[Line]) -> int:
    """How many epochs that one process had begun the next one began again."""
    return int(before[-1]["epoch"]) + 1 - int(after[0]["epoch"])
