"""Inject faults into real Slurm jobs: ``python -m tests.faults``.

Writes the results into RESULTS.md, or prints them with ``--only NAME...``. Requires root and
Slurm's packages (tests/slurm/install.sh).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.injection import FaultResult, inject
from tests.faults.registry import FAULTS
from tests.slurm.config_files import slurm_version

FOLDER = Path(__file__).parent

HEAD = """\
# Fault injection results

Faults in runs of a fake training (fake_training.py: epochs, checkpoints and files, but no
TensorFlow) on a throwaway cluster with real Slurm daemons, under the real launcher, worker and
training entry point. Lost and repeated epochs are counted from the audit of each run, not from its
record. The outcome is "as uninterrupted" if every run has the digest of an uninterrupted run and
complete files, and Slurm, the record and the report agree that it is finished.

{date}, Slurm {slurm}, commit {commit}: `{command}` ({seconds:.0f} s)

| fault | method | runs | finished unaided | finished after another launch | \
epochs lost at most | epochs repeated | outcome |
| --- | --- | --: | --: | --: | --: | --: | --- |
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="runs for each fault (default: 5)")
    parser.add_argument("--only", nargs="+", choices=sorted(FAULTS), metavar="NAME")
    parser.add_argument("--together", type=int, default=3, help="parallel faults (default: 3)")
    arguments = parser.parse_args()
    start = time.monotonic()
    with ThreadPoolExecutor(arguments.together) as pool:
        names = arguments.only or list(FAULTS)
        # The longest first, so that none of them is left over at the end.
        futures = {
            name: pool.submit(_inject, name, arguments.times)
            for name in sorted(names, key=lambda name: -FAULTS[name].sweeps)
        }
        results = [futures[name].result() for name in names]
    text = results_table(results, time.monotonic() - start)
    if arguments.only:
        print(text)
    else:
        (FOLDER / "RESULTS.md").write_text(text)
    return int(any(result.problems for result in results))


def _inject(name: str, times: int) -> FaultResult:
    start = time.monotonic()
    result = inject(FAULTS[name], times)
    summary = "\n".join(["PROBLEMS", *result.problems]) if result.problems else "as expected"
    print(f"{name}: {result.runs} runs, {time.monotonic() - start:.0f} s: {summary}", flush=True)
    return result


def results_table(results: Iterable[FaultResult], seconds: float) -> str:
    """Return the text of RESULTS.md, with a row for each fault."""
    head = HEAD.format(
        date=time.strftime("%Y-%m-%d"),
        slurm=".".join(f"{part:02}" for part in slurm_version()),
        commit=_git("rev-parse", "--short", "HEAD"),
        command=" ".join(["python", "-m", "tests.faults", *sys.argv[1:]]),
        seconds=seconds,
    )
    return head + "".join(map(_row, results))


def _row(result: FaultResult) -> str:
    notes = "; ".join(f"{count} {note}" for note, count in sorted(result.notes.items()))
    cells = (
        result.fault.name,
        f"{result.fault.method} ({notes})" if notes else result.fault.method,
        result.runs,
        result.unaided,
        result.runs - result.unaided,
        result.epochs_lost,
        result.epochs_repeated,
        f"{len(result.problems)} problems" if result.problems else "as uninterrupted",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=FOLDER, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
