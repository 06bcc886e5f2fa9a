"""Signals that ask a job to end, passed on to its trainings."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from xray_hpc.cluster.worker.child import Child
from xray_hpc.cluster.worker.failures import TOLD_TO_END
from xray_hpc.cluster.worker.job import Job

# Of what is left of a job, trainings leave so many seconds for the records and Slurm.
KEPT_SECONDS = 2
GRACE_SECONDS = 30.0
LEAST_SECONDS = 2.0


class Signals:
    """While it is entered, a signal that asks this process to end ends the children instead.

    It covers all the time in which a record says ``running``, so that the record is put right
    whenever the signal comes. ``asked`` is the first signal that came. ``notice`` is how many
    seconds before its time limit the job is told of it.
    """

    def __init__(self, job: Job | None, notice: int) -> None:
        self.asked: signal.Signals | None = None
        self._job, self._notice = job, notice
        self._children: set[Child] = set()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        self._before = {number: signal.signal(number, self._end) for number in TOLD_TO_END}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.asked = self.asked or signal.Signals(number)
        for child in list(self._children):
            child.end(self._grace(signal.Signals(number)))

    def _grace(self, number: signal.Signals) -> float:
        if number is signal.SIGUSR2:
            return max(self._notice / 2, LEAST_SECONDS)
        if self._job is not None:
            return max(self._job.kill_wait - KEPT_SECONDS, LEAST_SECONDS)
        return GRACE_SECONDS

    def watch(self, child: Child) -> None:
        """End ``child`` at the next signal, or now if one came before."""
        self._children.add(child)
        if self.asked is not None:
            child.end(self._grace(self.asked))

    def forget(self, child: Child) -> None:
        """The child has ended."""
        self._children.discard(child)
