"""Compute cached features: ``python jobs/features.py RUN_FOLDER...``.

The features job of a launch executes this script before the runs that share the features, with one
run folder for each feature extractor. A run that finds no cached features computes them itself.
The exit code is 128 + n if signal n ended the job; the next start resumes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from xray_hpc import job_logging
from xray_hpc.absolute_path import absolute_path
from xray_hpc.isolated_keras import isolated_keras
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.paths import RunPaths
from xray_hpc.training.signals import exit_on_signals
from xray_hpc.worker.gpu_usage import has_nvidia_smi
from xray_hpc.worker.slurm_job import current_job


def main() -> None:
    parser = argparse.ArgumentParser(description="Compute the cached features of runs.")
    parser.add_argument("run", type=Path, nargs="+", help="results/<sweep>/runs/<run>")
    parser.add_argument("--local", action="store_true", help="ignore the Slurm job around this")
    parser.add_argument("--unchecked", action="store_true", help="do not check the job's GPUs")
    arguments = parser.parse_args()
    runs = [read_frozen_run(RunPaths(absolute_path(folder))) for folder in arguments.run]
    exit_on_signals()
    with isolated_keras():
        from xray_hpc.features.precompute import precompute_features
        from xray_hpc.training.gpu_check import check_gpus
        from xray_hpc.training.strategy import gpu_names, make_strategy
        from xray_hpc.training.train_run import load_run_data, prepare_devices
    job = None if arguments.local else current_job()
    gpus = job.gpus if job else None
    prepare_devices(gpus)
    if gpus and not arguments.unchecked and has_nvidia_smi():
        check_gpus(gpus)
    precompute_features(runs, make_strategy(), load_run_data, gpu_names())


if __name__ == "__main__":
    job_logging.run_job(main)
