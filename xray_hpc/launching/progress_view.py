"""Show the progress of running runs, and a line on each that ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from xray_hpc.monitoring.run_state import RunEvidence, failure_message, read_evidence, state_of
from xray_hpc.printable import printable, unescaped
from xray_hpc.records.atomic_files import is_gone
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_flags import describe_flags
from xray_hpc.records.run_progress import read_progress

REDRAW_SECONDS = 1.0
LOG_EVERY_SECONDS = 15.0
NAMED_RUNS = 4
CLEAR_LINE = "\r\x1b[K"


class ProgressView:
    """A status line that is redrawn on a terminal; in a log, a new line after each change."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.terminal = sys.stdout.isatty()
        self.stream = unescaped(sys.stdout)
        self.shown = ""
        self.shown_at = 0.0

    def update(self, runs: Sequence[RunPaths], ended: int) -> None:
        """Show the progress of ``runs``, at most once per interval."""
        interval = REDRAW_SECONDS if self.terminal else LOG_EVERY_SECONDS
        if not runs or time.monotonic() - self.shown_at < interval:
            return
        self.shown_at = time.monotonic()
        text = "; ".join(_progress(paths) for paths in runs[:NAMED_RUNS])
        if len(runs) > NAMED_RUNS:
            text += f"; {len(runs) - NAMED_RUNS} more"
        if text == self.shown:
            return
        self.shown = text
        line = f"[{ended}/{self.total}] {printable(text)}"
        if self.terminal:
            columns = os.get_terminal_size().columns
            print(CLEAR_LINE + line[: columns - 1], end="", file=self.stream, flush=True)
        else:
            print(line, file=self.stream, flush=True)

    def print_result(self, paths: RunPaths, ended: int) -> None:
        """Print how a run ended; ``ended`` counts it."""
        self.print_line(_result(paths), ended)

    def print_line(self, line: str, ended: int) -> None:
        """Print a permanent line."""
        clear = CLEAR_LINE if self.terminal else ""
        text = f"{clear}[{ended}/{self.total}] {printable(line)}"
        print(text, file=self.stream, flush=True)
        self.shown_at = time.monotonic()


def _progress(paths: RunPaths) -> str:
    """Return such as ``ft-1a2b3c4d epoch 3/8, validation accuracy 0.871``."""
    progress = read_progress(paths)
    if progress is None:
        return f"{paths.name} starting"
    epochs = f"epoch {progress.done}/{progress.epochs}"
    return f"{paths.name} {epochs}, validation accuracy {progress.val_accuracy:.3f}"


def _result(paths: RunPaths) -> str:
    """Return a line on how a run ended, with its test metrics or its error."""
    if is_gone(paths.folder):
        return f"{paths.name} ended: its folder is gone"
    evidence = read_evidence(paths)
    record, metrics = evidence.record, evidence.metrics
    if record is not None and metrics is not None:
        test = metrics.test
        auc = "none" if test.auc is None else f"{test.auc:.3f}"
        took = f"{paths.name} finished in {record.seconds or 0:.0f} s"
        marked = f" ({describe_flags(metrics.flags)})" if metrics.flags else ""
        return f"{took}: test accuracy {test.accuracy:.3f}, AUC {auc}{marked}"
    if evidence.damage is not None:
        return f"{paths.name} ended, but its files cannot be used: {evidence.damage}"
    state = state_of(RunEvidence(record)).value
    why = f": {failure_message(record)[:160]}" if record and record.error else ""
    return f"{paths.name} {state}{why} (see {paths.log})"
