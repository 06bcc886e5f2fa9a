"""Calls spread over processes, their results in order and few of them at a time."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from xray_hpc.data.ahead import cores

Given = TypeVar("Given")
Result = TypeVar("Result")

MOST = 4  # a login node is for everyone, and one process writes what all the others read
CHUNK = 16  # calls that a process is given at once
AHEAD = 2  # chunks of a process whose results nobody has asked for yet
WORTH = 128  # so many calls are worth the start of processes
GONE = (EOFError, OSError, pickle.UnpicklingError)


def spread(
    call: Callable[[Given], Result],
    given: Sequence[Given],
    *,
    worth: int = WORTH,
    chunk: int = CHUNK,
) -> Generator[Result, None, None]:
    """What ``call``, a function of a module, gives of each; in the order of ``given``.

    A process that dies, as one that the system kills for want of memory, leaves its part to this
    one. So does one whose call raises: the error is then raised here.
    """
    processes = min(available_cpus(), MOST)
    if processes == 1 or len(given) < worth:
        yield from map(call, given)
        return
    chunks = [given[i : i + chunk] for i in range(0, len(given), chunk)]
    workers = [Worker(call, chunks[i::processes]) for i in range(processes)]
    try:
        for _, worker in zip(chunks, itertools.cycle(workers), strict=False):
            yield from worker.next()
    finally:
        for worker in workers:
            worker.end()


def available_cpus() -> int:
    """How many CPUs this process may use: those that it is bound to, and no more than its job's."""
    bound = cores()
    job = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(bound, int(job)) if job.isdigit() and int(job) else bound


class Worker(Generic[Given, Result]):
    """A process that makes a call of everything in some chunks, and knows but the next of them.

    It is a new interpreter (a fork would copy the locks of threads that it does not copy), which
    knows nothing of this one's main module, as those of ``multiprocessing`` do. It has a session
    of its own, for Ctrl-C is not for it, and ends when this process does.
    """

    def __init__(self, call: Callable[[Given], Result], chunks: Sequence[Sequence[Given]]) -> None:
        self._call = call
        self._coming = iter(chunks)
        self._asked: deque[Sequence[Given]] = deque()
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        pipe = subprocess.PIPE
        words = [sys.executable, "-c", code]
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, start_new_session=True)
        self._send(call)
        for _ in range(AHEAD):
            self._ask()

    def next(self) -> list[Result]:
        """The results of the next chunk."""
        assert self._process.stdout
        results: list[Result] | None = None
        with suppress(*GONE):
            results = pickle.load(self._process.stdout)
        self._ask()
        chunk = self._asked.popleft()
        return [self._call(one) for one in chunk] if results is None else results

    def end(self) -> None:
        """Stop it, whatever it is at."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        with suppress(OSError):  # what it was not told any more
            self._process.stdin.close()

    def _ask(self) -> None:
        for chunk in itertools.islice(self._coming, 1):
            self._asked.append(chunk)
            self._send(chunk)

    def _send(self, what: object) -> None:
        assert self._process.stdin
        with suppress(OSError):  # that it is gone shows when its results are asked for
            pickle.dump(what, self._process.stdin)
            self._process.stdin.flush()


def serve() -> None:
    """The whole life of a worker: until nobody is at the other end of the pipe, or a call raises.

    Whoever asked calls again then, and sees the error.
    """
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    with suppress(Exception):
        call: Callable[[Any], Any] = pickle.load(asked)
        while True:
            pickle.dump([call(one) for one in pickle.load(asked)], answers, protocol=5)
            answers.flush()
