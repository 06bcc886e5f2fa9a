"""The training process of a run, which also says when it looks for a signal, copies and writes.

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

from xray_hpc.records.paths import RunPaths
from xray_hpc.training.__main__ import execute_run, quiet_start
from xray_hpc.training.signals import exit_on_signals


def telling(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which says when it begins and when it ends: a line ``what TIME`` for each."""

    @functools.wraps(function)
    def tells(*arguments: Any, **named: Any) -> Any:
        _tell(f"{what}-begins")
        made = function(*arguments, **named)
        _tell(f"{what}-ends")
        return made

    return tells


def _tell(what: str) -> None:
    # at once and in one piece: a checkpoint is written by another thread
    os.write(sys.stdout.fileno(), f"{what} {time.monotonic()}\n".encode())


def main() -> int:
    """The command."""
    exit_on_signals()
    with quiet_start():
        from xray_hpc.training import checkpoint
    checkpoint.capture = telling("copy", checkpoint.capture)
    checkpoint.CheckpointStore.save = telling("write", checkpoint.CheckpointStore.save)
    ends = checkpoint.CheckpointCallback.on_train_batch_end
    checkpoint.CheckpointCallback.on_train_batch_end = telling("look", ends)
    return execute_run(RunPaths(Path(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
