"""Collect a sweep: ``python jobs/collect.py SWEEP_FOLDER``.

The collect job of a launch executes this script when the runs submitted so far have ended. It
submits the runs that exceeded Slurm's job limits before, and writes the report.
"""

from __future__ import annotations

import sys

from xray_hpc import job_logging
from xray_hpc.absolute_path import absolute_path
from xray_hpc.collect import main as collect
from xray_hpc.launching.relaunch import submit_waiting
from xray_hpc.records.paths import SweepPaths


def main() -> None:
    submit_waiting(SweepPaths(absolute_path(sys.argv[1])))
    collect()


if __name__ == "__main__":
    job_logging.run_job(main)
