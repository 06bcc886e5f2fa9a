"""Do every fault to real jobs, and write what came out into RESULTS.md: ``python -m tests.faults``.

It needs root and Slurm's packages (tests/slurm/install.sh). ``--only NAME...`` prints the table of
some faults and leaves RESULTS.md alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.faults import FAULTS
from tests.faults.proving import Outcome, prove
from tests.slurm.configuration import slurm_version

FOLDER = Path(__file__).parent

HEAD = """\
# What came of faults

Runs of a stand-in for training (standin.py: epochs, checkpoints and files, but no TensorFlow) on a
throw-away cluster with real Slurm daemons, under the real launch, worker and training process. A
run counts as lost or run twice by its own audit, not by what its record says.

{when}, Slurm {slurm}, commit {commit}: `{command}` ({seconds:.0f} s)

| fault | how it was done | runs | finished by itself | by the same launch again | \
epochs lost at most | epochs run twice | outcome |
| --- | --- | --: | --: | --: | --: | --: | --- |
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="runs that a fault is done to (5)")
    parser.add_argument("--only", nargs="+", choices=sorted(FAULTS), metavar="NAME")
    parser.add_argument("--together", type=int, default=3, help="faults at a time (3)")
    chosen = parser.parse_args()
    began = time.monotonic()
    with ThreadPoolExecutor(chosen.together) as pool:
        names = chosen.only or list(FAULTS)
        # The longest first, so that nothing is left to wait for in the end.
        proofs = {
            name: pool.submit(_proof, name, chosen.times)
            for name in sorted(names, key=lambda name: -FAULTS[name].share)
        }
        outcomes = [proofs[name].result() for name in names]
    text = table(outcomes, time.monotonic() - began)
    if chosen.only:
        print(text)
    else:
        (FOLDER / "RESULTS.md").write_text(text)
    return int(any(outcome.wrong for outcome in outcomes))


def _proof(name: str, times: int) -> Outcome:
    began = time.monotonic()
    outcome = prove(FAULTS[name], times)
    verdict = "\n".join(["WRONG", *outcome.wrong]) if outcome.wrong else "as it should be"
    print(f"{name}: {outcome.runs} runs, {time.monotonic() - began:.0f} s: {verdict}", flush=True)
    return outcome


def table(outcomes: Iterable[Outcome], seconds: float) -> str:
    """The page: a line for each fault."""
    head = HEAD.format(
        when=time.strftime("%Y-%m-%d"),
        slurm=".".join(f"{part:02}" for part in slurm_version()),
        commit=_git("rev-parse", "--short", "HEAD"),
        command=f"python {' '.join(_words(sys.argv))}",
        seconds=seconds,
    )
    return head + "".join(map(_row, outcomes))


def _row(outcome: Outcome) -> str:
    notes = "; ".join(f"{count} {note}" for note, count in sorted(outcome.notes.items()))
    cells = (
        outcome.fault.name,
        f"{outcome.fault.how} ({notes})" if notes else outcome.fault.how,
        outcome.runs,
        outcome.alone,
        outcome.runs - outcome.alone,
        outcome.lost,
        outcome.twice,
        "all finished, as uninterrupted" if not outcome.wrong else f"{len(outcome.wrong)} wrong",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def _words(arguments: Sequence[str]) -> list[str]:
    return ["-m", "tests.faults", *arguments[1:]]


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=FOLDER, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
