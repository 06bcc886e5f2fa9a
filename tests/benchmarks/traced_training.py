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
from xray_hpc.training.__main__ import quiet_start, train
from xray_hpc.training.signals import end_when_told


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
    end_when_told()
    with quiet_start():
        from xray_hpc.training import checkpointing
    checkpointing.capture = telling("copy", checkpointing.capture)
    checkpointing.StateFiles.write = telling("write", checkpointing.StateFiles.write)
    ends = checkpointing.Checkpointing.on_train_batch_end
    checkpointing.Checkpointing.on_train_batch_end = telling("look", ends)
    return train(RunPaths(Path(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
