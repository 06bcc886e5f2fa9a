"""Inject a fault into real jobs on a cluster of its own, and collect the result."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import loop_filesystem
from tests.faults.checks import check_finished, check_unfinished
from tests.faults.fault import Fault
from tests.faults.fault_sweep import FaultError, FaultSweep, throwaway_cluster
from xray_hpc.records.run_record import Status

RUNS_PER_SWEEP = 2  # of a fault that needs a sweep for each time


@dataclass
class FaultResult:
    """The result of a fault.

    Attributes:
        fault: The fault.
        runs: How many runs it was done to.
        unaided: How many of them finished without another launch.
        epochs_lost: The most epochs that one interruption cost.
        epochs_repeated: How many epochs were completed more than once.
        problems: What was not as expected; empty if all is well.
        notes: The notes of the fault, counted.
    """

    fault: Fault
    runs: int = 0
    unaided: int = 0
    epochs_lost: int = 0
    epochs_repeated: int = 0
    problems: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


def inject(fault: Fault, times: int) -> FaultResult:
    """Inject the fault into ``times`` runs (or sweeps, see ``Fault``); errors become problems."""
    result = FaultResult(fault)
    try:
        with contextlib.ExitStack() as stack:
            slurm = stack.enter_context(throwaway_cluster())
            temporary = tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(temporary))
            if fault.own_filesystem:
                stack.enter_context(loop_filesystem.mounted(folder / "results"))
            runs = RUNS_PER_SWEEP if fault.sweeps else times
            first = FaultSweep(slurm, folder, runs, **fault.sweep_options)
            sweeps = [first]
            for number in range(1, fault.sweeps * times):
                sweeps.append(dataclasses.replace(first, name=f"{first.name}{number}"))
            for sweep in sweeps:
                fault.inject(sweep)
                sweep.training.release()
            for sweep in sweeps:
                _finish(result, sweep)
    except FaultError as error:
        result.problems.append(str(error))
    except Exception:  # so that the other faults are injected nevertheless
        result.problems.append(traceback.format_exc())
    return result


def _finish(result: FaultResult, sweep: FaultSweep) -> None:
    """Wait for the jobs of the sweep, launch it again if needed, and check its runs."""
    fault = result.fault
    sweep.wait_until_idle()
    result.runs += sweep.run_count
    result.notes.update(filter(None, [sweep.note]))
    finished = [sweep.record(seed).status is Status.FINISHED for seed in sweep.seeds]
    result.unaided += 0 if fault.sweeps else sum(finished)
    if fault.status is not None:
        result.problems += check_unfinished(sweep, fault.status)
    elif not fault.sweeps and not all(finished):
        result.problems.append(f"{finished.count(False)} runs did not finish unaided")
    if not all(finished):
        sweep.launch()
        sweep.wait_until_idle()
    failures = {failure and failure.value for failure in fault.failures}
    for check in check_finished(sweep, failures):
        result.epochs_lost = max(result.epochs_lost, check.epochs_lost)
        result.epochs_repeated += check.epochs_repeated
        result.problems += check.problems
