"""Compute what frozen trunks give: ``python jobs/trunk.py RUN_FOLDER...``.

What the trunk job of a launch executes, before the runs that share its outputs: one run folder for
each trunk. A run whose trunk's outputs are not there when it starts computes them itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from xray_hpc import cli
from xray_hpc.runs.frozen import read_frozen
from xray_hpc.runs.paths import RunPaths
from xray_hpc.training.__main__ import quiet_start
from xray_hpc.training.ending import end_when_told


def main() -> None:
    parser = argparse.ArgumentParser(description="Compute what the frozen trunks of runs give.")
    parser.add_argument("run", type=Path, nargs="+", help="results/<sweep>/runs/<run>")
    parser.add_argument("--gpus", type=int, help="how many the job has; by default all it sees")
    arguments = parser.parse_args()
    runs = [read_frozen(RunPaths(folder.resolve())) for folder in arguments.run]
    end_when_told()
    with quiet_start():
        from xray_hpc.training.devices import check_gpus
        from xray_hpc.training.run import prepare_devices
        from xray_hpc.training.sharing import compute_trunks
        from xray_hpc.training.strategy import make_strategy
    prepare_devices(arguments.gpus)
    if arguments.gpus:
        check_gpus(arguments.gpus)
    compute_trunks(runs, make_strategy())


if __name__ == "__main__":
    cli.run(main)
