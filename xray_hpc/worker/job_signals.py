"""Signals that ask a job to end, passed on to its trainings."""

from __future__ import annotations

import functools
import math
import signal
import time
from types import FrameType
from typing import Any

from xray_hpc.worker.failure_policy import TOLD_TO_END
from xray_hpc.worker.slurm_job import Job, kill_wait
from xray_hpc.worker.training_process import Child

# Of what is left of a job, trainings leave so many seconds for the records and Slurm.
KEPT_SECONDS = 2
GRACE_SECONDS = 30.0
LEAST_SECONDS = 2.0
# How long Slurm's controller may be away while nobody is about to kill this process.
PATIENCE_SECONDS = 120.0


class Signals:
    """While it is entered, a signal that asks this process to end ends the children instead.

    It covers all the time in which a record says ``running``, so that the record is put right
    whenever the signal comes. ``asked`` is the first signal that came. ``notice`` is how many
    seconds before its time limit the job is told of it. A signal that is ignored stays so.
    """

    def __init__(self, job: Job | None, notice: int) -> None:
        self.asked: signal.Signals | None = None
        self._came: dict[signal.Signals, float] = {}
        self._job, self._notice = job, notice
        self._children: set[Child] = set()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        self._before = {
            number: signal.signal(number, self._end)
            for number in TOLD_TO_END
            if signal.getsignal(number) is not signal.SIG_IGN  # as nohup has it
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._came.setdefault(signal.Signals(number), time.monotonic())
        self.asked = self.asked or signal.Signals(number)
        for child in list(self._children):
            child.end(math.inf)

    def limit(self) -> None:
        """Kill the children that take too long to end; to be called every now and then.

        It is not for a signal's handler: Slurm is asked how long that is.
        """
        for number, came in list(self._came.items()):
            for child in list(self._children):
                child.end(came + self._grace(number) - time.monotonic())

    def _grace(self, number: signal.Signals) -> float:
        if number is signal.SIGUSR2:
            return max(self._notice / 2, LEAST_SECONDS)
        return max(self._kill_wait - KEPT_SECONDS, LEAST_SECONDS)

    @functools.cached_property
    def _kill_wait(self) -> float:
        return GRACE_SECONDS if self._job is None else kill_wait()

    @property
    def patience(self) -> float:
        """How many seconds there are to wait for Slurm's answer, before it kills this process."""
        if not self._came:
            return PATIENCE_SECONDS
        ends = [
            came + (self._notice if number is signal.SIGUSR2 else self._kill_wait)
            for number, came in list(self._came.items())
        ]
        return max(min(ends) - KEPT_SECONDS - time.monotonic(), 0)

    def watch(self, child: Child) -> None:
        """End ``child`` at the next signal, or now if one came before."""
        self._children.add(child)
        if self.asked is not None:
            child.end(math.inf)

    def forget(self, child: Child) -> None:
        """The child has ended."""
        self._children.discard(child)
