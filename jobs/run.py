"""Train runs: ``python jobs/run.py RUN_FOLDER...``, or those of a task of a submission.

What a Slurm task executes, whether it was launched (``--submission FOLDER``), or submitted with
slurm_templates/sweep.sbatch. A finished run is left alone. Exit code 0: every run is finished; 2:
the input was wrong; 69: somebody else trains a run; 74: a run folder cannot be written to; 128 + n:
a run was ended by signal n; anything else: a training failed (see ``run.json`` and ``log``).
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from pathlib import Path

from xray_hpc import job_logging
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.schema import build
from xray_hpc.errors import ConfigError
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.worker.dead_task import conclude_dead
from xray_hpc.worker.worker import work

logger = logging.getLogger("xray_hpc.jobs.run")


def main() -> int:
    parser = argparse.ArgumentParser(description="Train runs.")
    parser.add_argument("run", type=Path, nargs="*", help="results/<sweep>/runs/<run>")
    parser.add_argument(
        "--submission",
        type=Path,
        metavar="FOLDER",
        help="results/<sweep>/slurm/<submission>; the task is SLURM_ARRAY_TASK_ID, or 0",
    )
    parser.add_argument(
        "--local", action="store_true", help="a Slurm job around this is none of its business"
    )
    parser.add_argument(
        "--after",
        type=int,
        metavar="CODE",
        help="train nothing: the task has ended with CODE; see to it if it could not itself",
    )
    arguments = parser.parse_args()
    if bool(arguments.run) == bool(arguments.submission):
        parser.error("give run folders, or --submission")
    if arguments.after is not None and not arguments.submission:
        parser.error("--after goes with --submission")
    if arguments.run:
        runs = [RunPaths(folder.resolve()) for folder in arguments.run]
        return work(runs, ClusterConfig("local" if arguments.local else "slurm"))
    if is_double(arguments.submission.resolve()):
        logger.info("this job was submitted a second time; the first one sees to its runs")
        return 0
    runs, cluster = read_task(arguments.submission.resolve())
    start = f"{os.environ.get('SLURM_ARRAY_TASK_ID', 0)}-{os.environ.get('SLURM_RESTART_COUNT', 0)}"
    settled = arguments.submission / f".settled-{start}"
    if arguments.after is None:
        code = work(runs, cluster)
        if code:  # as a task that was killed before it could see to its runs has it
            with contextlib.suppress(OSError):
                settled.touch()
        return code
    if settled.exists():
        settled.unlink()
    else:
        conclude_dead(runs, cluster, arguments.after)
    return int(arguments.after)


def read_task(folder: Path) -> tuple[list[RunPaths], ClusterConfig]:
    """The runs of this task of a submission, and what they were launched with."""
    file = folder / "tasks.json"
    if not file.is_file():
        raise ConfigError(f"{folder} is not a submission: it holds no tasks.json")
    content, task = read_json(file), int(os.environ.get("SLURM_ARRAY_TASK_ID", 0))
    tasks, sweep = content["tasks"], SweepPaths(folder.parent.parent)
    if task >= len(tasks):
        raise ConfigError(f"{file} has no task {task}; it has {len(tasks)}")
    return [sweep.run(name) for name in tasks[task]], build(ClusterConfig, content["cluster"])


def is_double(folder: Path) -> bool:
    """Whether the ledger knows another job of this submission, or has given this one up.

    A controller that is slow to answer may take a job twice, or long after its launch was killed.
    """
    mine = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    said = [
        event
        for event in ledger.events(SweepPaths(folder.parent.parent))
        if event.get("submission") == folder.name
    ]
    taken = [event["job"] for event in said if event["event"] == "submitted"]
    refused = any(event["event"] == "refused" for event in said)
    return mine not in taken if taken else refused


if __name__ == "__main__":
    job_logging.run_job(main)
