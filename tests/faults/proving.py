"""Doing a fault to real runs on a real cluster, and saying what came out."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import storage
from tests.faults.doing import Fault
from tests.faults.judging import judge, judge_left
from tests.faults.sweeps import FaultError, Sweep, throwaway
from xray_hpc.records.run_record import Status

RUNS_OF_MANY = 2


@dataclass
class Outcome:
    """What came of a fault: how many runs it met, and how many of them came back by themselves.

    ``lost`` epochs at the most in one interruption, epochs done ``twice``; ``wrong`` is empty where
    all is as it should be. ``notes`` count what the fault has to say.
    """

    fault: Fault
    runs: int = 0
    alone: int = 0
    lost: int = 0
    twice: int = 0
    wrong: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


def prove(fault: Fault, times: int) -> Outcome:
    """Do the fault to ``times`` runs (or sweeps, see :class:`Fault`) on a cluster of its own."""
    outcome = Outcome(fault)
    try:
        with contextlib.ExitStack() as stack:
            slurm = stack.enter_context(throwaway())
            folder = Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True)
                )
            )
            if fault.mounted:
                stack.enter_context(storage.mounted(folder / "results"))
            count = times if not fault.share else RUNS_OF_MANY
            first = Sweep(slurm, folder, count, **fault.options)
            sweeps = [first]
            for number in range(1, fault.share * times):
                sweeps.append(dataclasses.replace(first, name=f"{first.name}{number}"))
            for sweep in sweeps:
                fault.do(sweep)
            for sweep in sweeps:
                _conclude(outcome, sweep)
    except FaultError as error:
        outcome.wrong.append(str(error))
    except Exception:  # the other faults are to be done nevertheless
        outcome.wrong.append(traceback.format_exc())
    return outcome


def _conclude(outcome: Outcome, sweep: Sweep) -> None:
    fault = outcome.fault
    sweep.until_idle()
    outcome.runs += sweep.times
    outcome.notes.update(filter(None, [sweep.note]))
    finished = [sweep.record(seed).status is Status.FINISHED for seed in sweep.seeds]
    outcome.alone += 0 if fault.share else sum(finished)
    if fault.left is not None:
        outcome.wrong += judge_left(sweep, fault.left)
    if not all(finished):
        sweep.launch()
        sweep.until_idle()
    failures = {failure and failure.value for failure in fault.failures}
    for findings in judge(sweep, failures):
        outcome.lost = max(outcome.lost, findings.lost)
        outcome.twice += findings.twice
        outcome.wrong += findings.wrong
