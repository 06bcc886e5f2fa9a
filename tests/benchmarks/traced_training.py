"""Train a run, and print when it checks for signals and copies and writes checkpoints.

python -m tests.benchmarks.traced_training RUN
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xray_hpc.isolated_keras import isolated_keras
from xray_hpc.records.paths import RunPaths
from xray_hpc.training.__main__ import execute_run
from xray_hpc.training.signals import exit_on_signals


def traced(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function to print ``NAME-begins TIME`` and ``NAME-ends TIME``."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        _print_time(f"{name}-begins")
        result = function(*arguments, **named)
        _print_time(f"{name}-ends")
        return result

    return wrapper


def _print_time(event: str) -> None:
    # A single unbuffered write, because another thread writes checkpoints.
    os.write(sys.stdout.fileno(), f"{event} {time.monotonic()}\n".encode())


def main() -> int:
    """Run the command."""
    exit_on_signals()
    with isolated_keras():
        from xray_hpc.training import checkpoint
    checkpoint.capture = traced("copy", checkpoint.capture)
    checkpoint.CheckpointStore.save = traced("write", checkpoint.CheckpointStore.save)
    step_check = checkpoint.CheckpointCallback.on_train_batch_end
    checkpoint.CheckpointCallback.on_train_batch_end = traced("step-check", step_check)
    return execute_run(RunPaths(Path(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
