"""Train the run of one folder: ``python jobs/run.py RUN_FOLDER``.

What a Slurm task executes, whether it was launched, or submitted with slurm_templates/sweep.sbatch.
A finished run is left alone. Exit code 0: the run is finished; 2: the input was wrong; 128 + n: it
was ended by signal n; anything else: the training failed (see ``run.json`` and ``log``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from xray_hpc import cli
from xray_hpc.cluster.worker import work
from xray_hpc.runs.paths import RunPaths


def main() -> int:
    parser = argparse.ArgumentParser(description="Train the run of one folder.")
    parser.add_argument("run", type=Path, help="results/<sweep>/runs/<run>")
    return work(RunPaths(parser.parse_args().run.resolve()))


if __name__ == "__main__":
    cli.run(main)
