"""Train a run: ``python -m xray_hpc.training RUN_FOLDER``.

``jobs/run.py``, which holds the lease of the run, starts and monitors this process.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from xray_hpc import job_logging
from xray_hpc.absolute_path import absolute_path
from xray_hpc.errors import DataError, LeaseLostError, UserError
from xray_hpc.isolated_keras import isolated_keras
from xray_hpc.printable import escape_output
from xray_hpc.records import exit_codes
from xray_hpc.records.atomic_files import is_gone
from xray_hpc.records.lease_file import LEASE_VARIABLE
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import ErrorInfo, Failure, Status, now, read_record, update_record
from xray_hpc.system_errors import describe_system_error
from xray_hpc.training.failure_class import classify_failure
from xray_hpc.training.lease_watch import LeaseWatch
from xray_hpc.training.signals import exit_on_signals, exit_with_parent

logger = logging.getLogger("xray_hpc.training")


def main() -> int:
    """Train the run whose folder is on the command line; return the exit code."""
    job_logging.configure()
    escape_output()
    exit_on_signals()
    if pipe := os.environ.get(job_logging.WORKER_PIPE):
        exit_with_parent(int(pipe))
    paths = RunPaths(absolute_path(sys.argv[1]))
    if lease := os.environ.get(LEASE_VARIABLE):
        LeaseWatch(Path(lease)).start()
    return execute_run(paths)


def execute_run(paths: RunPaths) -> int:
    """Train the run, record a failure in ``run.json``, and return the exit code.

    Returns:
        0: finished; 2: invalid input; 69: another process has taken the run; 74: storage error;
        75: unfit node; 1: any other failure.

    Raises:
        Exception: an unexpected error (a bug).
    """
    try:
        with isolated_keras():
            from xray_hpc.training.train_run import train_run
        train_run(paths, bar=os.environ.get("XRAY_HPC_BAR") == "1")
    except Exception as error:
        try:
            return _record_failure(paths, _blocked(paths, error) or error)
        except LeaseLostError as lost:
            logger.error("%s", lost)
            return exit_codes.LEASE_HELD
    return 0


def _blocked(paths: RunPaths, error: Exception) -> DataError | None:
    """Return the error for a file in the place of a folder of the run, or the reverse."""
    wrong_kind = (FileExistsError, IsADirectoryError, NotADirectoryError)
    if not isinstance(error, wrong_kind) or not error.filename:
        return None
    if not Path(error.filename).is_relative_to(paths.folder):
        return None
    reason = f"{error.filename} is in the way ({error.strerror})"
    return DataError(f"{reason}; remove it and launch again")


def _record_failure(paths: RunPaths, error: Exception) -> int:
    if is_gone(paths.folder):  # which the worker logs
        return exit_codes.STORAGE_ERROR
    if isinstance(error, LeaseLostError):
        raise error
    message = describe_system_error(error) or str(error) or type(error).__name__
    message = " ".join(message.split())
    try:
        record = read_record(paths)
        failure, code = classify_failure(error, on_gpu=bool(record and record.gpus))
        update_record(
            paths,
            status=Status.FAILED,
            ended=now(),
            failure=failure.value,
            error=ErrorInfo(type(error).__name__, message[:500]),
        )
    except LeaseLostError:
        raise
    except (OSError, UserError, MemoryError) as write_error:
        logger.error("%s (run.json cannot be updated: %s)", message, write_error)
        return exit_codes.STORAGE_ERROR
    if failure is Failure.BUG:
        raise error
    logger.error("%s", message)
    return code


if __name__ == "__main__":
    sys.exit(main())
