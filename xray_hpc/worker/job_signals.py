"""Termination signals of a job, forwarded to its training processes."""

from __future__ import annotations

import contextlib
import functools
import math
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from xray_hpc.worker.exit_classification import TERMINATION_SIGNALS
from xray_hpc.worker.slurm_job import SlurmJob, kill_wait
from xray_hpc.worker.training_process import TrainingProcess

# The last seconds before Slurm's SIGKILL, reserved for writing records and requeueing.
RESERVED_SECONDS = 2
GRACE_SECONDS = 30.0
MIN_GRACE_SECONDS = 2.0
# How long to wait for an unreachable controller if no SIGKILL is imminent.
CONTROLLER_SECONDS = 120.0


class JobSignals:
    """Forward termination signals to the training processes instead of ending this process.

    A context manager, entered for as long as a record may say ``running``, so that the record is
    corrected whenever a signal arrives. Ignored signals remain ignored.
    """

    def __init__(self, job: SlurmJob | None, signal_time: int) -> None:
        self.received: signal.Signals | None = None  # the first one
        self._times: dict[signal.Signals, float] = {}
        self._job, self._signal_time = job, signal_time
        self._processes: set[TrainingProcess] = set()
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> JobSignals:
        self._previous = {
            number: signal.signal(number, self._handle)
            for number in TERMINATION_SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN  # nohup ignores SIGHUP
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._times.setdefault(signal.Signals(number), time.monotonic())
        self.received = self.received or signal.Signals(number)
        for process in list(self._processes):
            process.terminate(math.inf)

    def kill_overdue(self) -> None:
        """Kill the processes that have not ended in time. Asks Slurm: not for handlers."""
        for number, arrived in list(self._times.items()):
            for process in list(self._processes):
                process.terminate(arrived + self._grace(number) - time.monotonic())

    def _grace(self, number: signal.Signals) -> float:
        if number is signal.SIGUSR2:
            return max(self._signal_time / 2, MIN_GRACE_SECONDS)
        return max(self._kill_wait - RESERVED_SECONDS, MIN_GRACE_SECONDS)

    @functools.cached_property
    def _kill_wait(self) -> float:
        return GRACE_SECONDS if self._job is None else kill_wait()

    @property
    def slurm_patience(self) -> float:
        """How many seconds to wait for Slurm's controller before this process is killed."""
        if not self._times:
            return CONTROLLER_SECONDS
        ends = [
            arrived + (self._signal_time if number is signal.SIGUSR2 else self._kill_wait)
            for number, arrived in list(self._times.items())
        ]
        return max(min(ends) - RESERVED_SECONDS - time.monotonic(), 0)

    @contextlib.contextmanager
    def forwarded_to(self, process: TrainingProcess) -> Iterator[None]:
        """Terminate ``process`` when a signal arrives or has arrived; kill it at the end."""
        self._processes.add(process)
        try:
            if self.received is not None:
                process.terminate(math.inf)
            yield
        finally:
            process.terminate(0)
            self._processes.discard(process)
