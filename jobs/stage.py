"""Cache the images that runs need: ``python jobs/stage.py RUN_FOLDER...``.

The stage job of a launch executes this script, with one run folder for each distinct data set. It
writes the index and figures of the data into the sweep's ``data/`` folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from xray_hpc import command_line, job_logging
from xray_hpc.absolute_path import absolute_path
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.paths import RunPaths


def main() -> None:
    parser = argparse.ArgumentParser(description="Cache the images that runs need.")
    parser.add_argument("run", type=Path, nargs="+", help="results/<sweep>/runs/<run>")
    from xray_hpc.data.stage_data import stage_data, used_augmentations  # imports matplotlib

    folders = parser.parse_args().run
    with command_line.interruptible():  # so that SIGTERM leaves no temporary files
        for folder in folders:
            paths = RunPaths(absolute_path(folder))
            run = read_frozen_run(paths)
            shown = used_augmentations(paths.sweep, run)
            stage_data(run.config.data, run.cache, paths.sweep, shown, run.config.seed)


if __name__ == "__main__":
    job_logging.run_job(main)
