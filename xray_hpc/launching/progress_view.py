"""A line on each run that goes or ends, for whoever waits for them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from xray_hpc.errors import UserError
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_metrics import read_metrics
from xray_hpc.records.run_progress import read_progress
from xray_hpc.records.run_record import Status, read_record

REDRAW_SECONDS = 1.0
LOG_EVERY_SECONDS = 15.0
NAMED = 4


class ProgressView:
    """A line that is redrawn in a terminal; in a log a line each time something has changed."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.terminal = sys.stdout.isatty()
        self.shown = ""
        self.when = 0.0

    def going(self, runs: Sequence[RunPaths], ended: int) -> None:
        """Say how far ``runs`` are, now and then."""
        pause = REDRAW_SECONDS if self.terminal else LOG_EVERY_SECONDS
        if not runs or time.monotonic() - self.when < pause:
            return
        self.when = time.monotonic()
        text = "; ".join(_where(paths) for paths in runs[:NAMED])
        if len(runs) > NAMED:
            text += f"; {len(runs) - NAMED} more"
        if text == self.shown:
            return
        self.shown = text
        line = f"[{ended}/{self.total}] {text}"
        if self.terminal:
            columns = os.get_terminal_size().columns
            print("\r\x1b[K" + line[: columns - 1], end="", flush=True)
        else:
            print(line, flush=True)

    def ended(self, paths: RunPaths, ended: int) -> None:
        """Say how a run ended; ``ended`` counts it."""
        self.say(_outcome(paths), ended)

    def say(self, line: str, ended: int) -> None:
        """Print a line that stays."""
        clear = "\r\x1b[K" if self.terminal else ""
        print(f"{clear}[{ended}/{self.total}] {line}", flush=True)
        self.when = time.monotonic()


def _where(paths: RunPaths) -> str:
    """``ft-1a2b3c4d epoch 3/8, validation accuracy 0.871``."""
    progress = read_progress(paths)
    if progress is None:
        return f"{paths.name} starting"
    done = f"epoch {progress.done}/{progress.epochs}"
    return f"{paths.name} {done}, validation accuracy {progress.val_accuracy:.3f}"


def _outcome(paths: RunPaths) -> str:
    try:
        return _describe(paths)
    except (UserError, OSError) as error:
        return f"{paths.name} ended, but its files cannot be read: {error}"


def _describe(paths: RunPaths) -> str:
    record = read_record(paths)
    if record is None or record.status is not Status.FINISHED:
        status = record.status.value if record else "missing"
        error = record.error if record else None
        why = f": {error['type']}: {error['message'][:120]}" if error else ""
        return f"{paths.name} {status}{why} (see {paths.log})"
    test = read_metrics(paths).test
    return (
        f"{paths.name} finished in {record.seconds:.0f} s: test accuracy "
        f"{test.accuracy:.3f}, AUC {'none' if test.auc is None else format(test.auc, '.3f')}"
    )
