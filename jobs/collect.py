"""Collect a sweep: ``python jobs/collect.py SWEEP_FOLDER``.

What the collect job of a launch executes, when the runs submitted so far have ended: the same as
``python -m xray_hpc.collect``, and then the submission of those for which Slurm had no room.
"""

from __future__ import annotations

import sys
from pathlib import Path

from xray_hpc import cli
from xray_hpc.cluster.launching.resume import submit_waiting
from xray_hpc.collect import main as collect
from xray_hpc.runs.paths import SweepPaths


def main() -> int:
    collect()
    return submit_waiting(SweepPaths(Path(sys.argv[1]).resolve()))


if __name__ == "__main__":
    cli.run(main)
