"""Train runs: ``python jobs/run.py RUN_FOLDER...``, or those of an array task of a submission.

A Slurm task executes this script, whether it was launched (``--submission FOLDER``) or submitted
with slurm_templates/sweep.sbatch. Finished runs are left alone. The exit code is that of
``run_worker``; with ``--after``, 0 once the end of the task is recorded.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from pathlib import Path

from xray_hpc import job_logging
from xray_hpc.absolute_path import absolute_path
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.dataclass_conversion import build
from xray_hpc.errors import ConfigError
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.paths import RunPaths, SweepPaths, is_name
from xray_hpc.shared_folder import create_file
from xray_hpc.worker.dead_task import handle_dead_task
from xray_hpc.worker.worker import run_worker

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
    parser.add_argument("--local", action="store_true", help="ignore the Slurm job around this")
    parser.add_argument(
        "--after",
        type=int,
        metavar="CODE",
        help="train nothing; handle a task that has ended with CODE before it could do so itself",
    )
    parser.add_argument(
        "--setup-error", metavar="TEXT", help="with --after: the line of cluster.setup that failed"
    )
    arguments = parser.parse_args()
    if bool(arguments.run) == bool(arguments.submission):
        parser.error("give either run folders or --submission")
    if arguments.after is not None and not arguments.submission:
        parser.error("--after requires --submission")
    if arguments.run:
        runs = [RunPaths(absolute_path(folder)) for folder in arguments.run]
        return run_worker(runs, ClusterConfig("local" if arguments.local else "slurm"))
    if "SLURM_JOB_ID" not in os.environ:
        raise ConfigError("SLURM_JOB_ID is not set; cluster.container must pass on the environment")
    submission = absolute_path(arguments.submission)
    if is_duplicate(submission):
        logger.info("this job is a duplicate of another job, which has its runs; nothing to do")
        return 0
    runs, cluster = read_task(submission)
    task, start = (os.environ.get(f"SLURM_{key}", 0) for key in ("ARRAY_TASK_ID", "RESTART_COUNT"))
    handled = submission / f".handled-{task}-{start}"
    if arguments.after is None:
        code = run_worker(runs, cluster)
        if code:  # tell --after that the worker itself has handled the end of its runs
            with contextlib.suppress(OSError):
                create_file(handled)
        return code
    if handled.exists():
        handled.unlink()
    else:
        error = arguments.setup_error  # from stderr of any program: the bytes may not be UTF-8
        text = error and error.encode(errors="surrogateescape").decode(errors="replace")
        handle_dead_task(runs, cluster, arguments.after, text)
    return 0


def read_task(folder: Path) -> tuple[list[RunPaths], ClusterConfig]:
    """Return the runs of this task of a submission, and the settings they were launched with."""
    file = folder / "tasks.json"
    if not file.is_file():
        raise ConfigError(f"{folder} is not a submission: it holds no tasks.json")
    content, task = read_json(file), int(os.environ.get("SLURM_ARRAY_TASK_ID", 0))
    tasks, sweep = content["tasks"], SweepPaths(folder.parent.parent)
    if task >= len(tasks):
        raise ConfigError(f"{file} has no task {task}; it has {len(tasks)}")
    if wrong := [name for name in tasks[task] if not is_name(name)]:
        raise ConfigError(f"{file} has the run {wrong[0]!r}, which is not the name of a folder")
    return [sweep.run(name) for name in tasks[task]], build(ClusterConfig, content["cluster"])


def is_duplicate(folder: Path) -> bool:
    """Return whether the ledger has another job for this submission, or has given it up.

    A slow controller may accept a job twice, or long after the launch that submitted it was killed.
    """
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    sweep, name = SweepPaths(folder.parent.parent), folder.name
    events = [event for event in ledger.events(sweep) if event.get("submission") == name]
    submitted = [event["job"] for event in events if event["event"] == "submitted"]
    refused = any(event["event"] == "refused" for event in events)
    return job not in submitted if submitted else refused


if __name__ == "__main__":
    job_logging.run_job(main)
