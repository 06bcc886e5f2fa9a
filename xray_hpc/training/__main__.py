"""The training process of a run: ``python -m xray_hpc.training RUN_FOLDER``.

It is started by ``jobs/run.py``, which holds the run and watches over this process.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xray_hpc import job_logging
from xray_hpc.errors import UserError
from xray_hpc.records import exit_codes
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, Status, now, read_record, update_record
from xray_hpc.training.failure_class import classify_failure
from xray_hpc.training.signals import exit_on_signals, exit_with_parent


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hold back what libraries write to stderr while they are imported, unless that fails.

    TensorFlow's lines about CPU features and absent GPU drivers come before any of its settings
    for logging have an effect.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(kept, 2)
            held.seek(0)
            sys.stderr.buffer.write(held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def main() -> int:
    """Train the run of the folder that the command line names; give the exit code."""
    job_logging.configure()
    exit_on_signals()
    if pipe := os.environ.get("XRAY_HPC_PARENT"):
        exit_with_parent(int(pipe))
    return execute_run(RunPaths(Path(sys.argv[1]).resolve()))


def execute_run(paths: RunPaths) -> int:
    """Train the run; whatever goes wrong is in ``run.json`` before the exit code is given.

    0: it is finished; 2: its input is wrong; 74: its files cannot be written or read; 75: this
    node is unfit; 1: it failed otherwise. A bug is raised.
    """
    try:
        with quiet_start():
            from xray_hpc.training.train_run import train_run
        train_run(paths, bar=os.environ.get("XRAY_HPC_BAR") == "1")
    except Exception as error:
        return _fail(paths, error)
    return 0


def _fail(paths: RunPaths, error: Exception) -> int:
    line = " ".join(str(error).split()) or type(error).__name__
    try:
        record = read_record(paths)
        verdict = classify_failure(error, on_gpu=bool(record and record.gpus))
        update_record(
            paths,
            status=Status.FAILED,
            ended=now(),
            failure=verdict.failure.value,
            error={"type": type(error).__name__, "message": line[:500]},
        )
    except (OSError, UserError) as unwritten:
        print(f"error: {line}; nor can it be recorded: {unwritten}", file=sys.stderr)
        return exit_codes.STORAGE_ERROR
    if verdict.failure is Failure.BUG:
        raise error
    print("error:", line, file=sys.stderr)
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
