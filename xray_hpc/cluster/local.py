"""Running jobs as processes of this machine."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from xray_hpc.config import RunConfig
from xray_hpc.errors import UserError
from xray_hpc.resources import resource
from xray_hpc.runs.files import read_json
from xray_hpc.runs.frozen import read_frozen
from xray_hpc.runs.paths import RunPaths
from xray_hpc.runs.record import Status, read_record

ENDING = (signal.SIGTERM, signal.SIGHUP)
POLL_SECONDS = 0.2
REDRAW_SECONDS = 1.0
LOG_EVERY_SECONDS = 15.0


def job_command(script: str, *arguments: str) -> list[str]:
    """The command line of a job's script."""
    return [sys.executable, "-u", str(resource("jobs") / f"{script}.py"), *arguments]


def run_job(script: str, *arguments: str) -> int:
    """Run one job here, its output shown; give its exit code."""
    sys.stdout.flush()  # what was said before it comes before it, into a file too
    return subprocess.run(job_command(script, *arguments)).returncode


def run_all(runs: Sequence[RunPaths], parallel: int) -> int:
    """Train the runs, ``parallel`` at a time, with a line on each; give how many did not finish."""
    before = {number: signal.signal(number, _interrupt) for number in ENDING}
    waiting, going, ended = list(runs), dict[RunPaths, subprocess.Popen[bytes]](), 0
    progress = _Progress(len(runs))
    failed = 0
    try:
        while waiting or going:
            while waiting and len(going) < parallel:
                paths = waiting.pop(0)
                going[paths] = _start(paths)
            for paths, process in list(going.items()):
                if process.poll() is not None:
                    del going[paths]
                    ended += 1
                    failed += process.returncode != 0
                    progress.ended(paths, ended)
            progress.going(list(going), ended)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        print("\nending what runs; the same command goes on from here", flush=True)
        raise
    finally:
        for process in going.values():
            process.terminate()
        for process in going.values():
            process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    return failed


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Let a closed terminal or ``kill`` end the runs as Ctrl-C does."""
    raise KeyboardInterrupt


def _start(paths: RunPaths) -> subprocess.Popen[bytes]:
    with paths.log.open("ab") as log:  # the training's own output reaches it by another way
        return subprocess.Popen(
            job_command("run", str(paths.folder)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            # Ctrl-C reaches the launcher alone, which then ends its runs in an orderly way.
            start_new_session=True,
        )


class _Progress:
    """A line that is redrawn in a terminal; in a log a line each time something has changed."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.terminal = sys.stdout.isatty()
        self.shown = ""
        self.when = 0.0
        self.runs: dict[RunPaths, RunConfig] = {}

    def going(self, runs: Sequence[RunPaths], ended: int) -> None:
        pause = REDRAW_SECONDS if self.terminal else LOG_EVERY_SECONDS
        if not runs or time.monotonic() - self.when < pause:
            return
        self.when = time.monotonic()
        text = "; ".join(self._where(paths) for paths in runs)
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
        clear = "\r\x1b[K" if self.terminal else ""
        print(f"{clear}[{ended}/{self.total}] {_outcome(paths)}", flush=True)
        self.when = time.monotonic()

    def _where(self, paths: RunPaths) -> str:
        """``ft-1a2b3c4d epoch 3/8, validation accuracy 0.871``."""
        if paths not in self.runs:
            self.runs[paths] = read_frozen(paths).config
        config = self.runs[paths]
        try:
            with paths.accuracy(config.model.name).open(newline="") as table:
                *_, last = csv.DictReader(table)
        except (FileNotFoundError, ValueError):
            return f"{paths.name} starting"
        done = f"epoch {int(last['epoch']) + 1}/{config.train.epochs}"
        return f"{paths.name} {done}, validation accuracy {float(last['val_accuracy']):.3f}"


def _outcome(paths: RunPaths) -> str:
    try:
        return _describe(paths)
    except (UserError, OSError, KeyError, TypeError) as error:
        return f"{paths.name} ended, but its files cannot be read: {error}"


def _describe(paths: RunPaths) -> str:
    record = read_record(paths)
    if record is None or record.status is not Status.FINISHED:
        status = record.status.value if record else "missing"
        error = record.error if record else None
        why = f": {error['type']}: {error['message'][:120]}" if error else ""
        return f"{paths.name} {status}{why} (see {paths.log})"
    metrics = read_json(paths.metrics)
    auc = metrics["test"]["auc"]
    return (
        f"{paths.name} finished in {record.seconds:.0f} s: test accuracy "
        f"{metrics['test']['accuracy']:.3f}, AUC {'none' if auc is None else format(auc, '.3f')}"
    )
