"""Calls spread over processes, their results in order and few of them at a time."""

from __future__ import annotations

import importlib
import itertools
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from xray_hpc.thread_map import available_cores

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
    with Pool(call) as pool:
        yield from pool.begin(given, worth=worth, chunk=chunk)


class Pool(Generic[Given, Result]):
    """The processes of :func:`spread`, one of which may be started before there is what to do.

    ``loads`` is a module that takes long to import: they do so as soon as they are started.
    """

    def __init__(self, call: Callable[[Given], Result], loads: str = __name__) -> None:
        self._call = call
        self._loads = loads
        self._workers: list[Worker[Given, Result]] = []

    def __enter__(self) -> Pool[Given, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them, whatever they are at."""
        for worker in self._workers:
            worker.end()

    def start(self, processes: int = 1) -> None:
        """Start so many in all, one a CPU at most; none where there is but one, which is busy.

        Fewer where the system lets this user start no more.
        """
        cpus = available_cpus()
        while cpus > 1 and len(self._workers) < min(processes, cpus, MOST):
            try:
                self._workers.append(Worker(self._call, self._loads))
            except (OSError, RuntimeError):  # of a process, or of a thread
                return

    def begin(
        self, given: Sequence[Given], *, worth: int = WORTH, chunk: int = CHUNK
    ) -> Iterator[Result]:
        """Begin with these calls, once only; their results, as for :func:`spread`."""
        chunks = [given[i : i + chunk] for i in range(0, len(given), chunk)]
        if len(given) >= worth:
            self.start(len(chunks))
        for i, worker in enumerate(self._workers):
            worker.begin(chunks[i :: len(self._workers)])
        return self._results(chunks)

    def _results(self, chunks: Sequence[Sequence[Given]]) -> Iterator[Result]:
        if not self._workers:
            yield from map(self._call, itertools.chain(*chunks))
            return
        for _, worker in zip(chunks, itertools.cycle(self._workers), strict=False):
            yield from worker.next()


def available_cpus() -> int:
    """How many CPUs this process may use: those that it is bound to, and no more than its job's."""
    bound = available_cores()
    job = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(bound, int(job)) if job.isdigit() and int(job) else bound


class Worker(Generic[Given, Result]):
    """A process that makes a call of everything in some chunks, and knows but the next of them.

    It is a new interpreter (a fork would copy the locks of threads that it does not copy), which
    knows nothing of this one's main module, as those of ``multiprocessing`` do. It has a session
    of its own, for Ctrl-C is not for it, and ends when this process does.
    """

    def __init__(self, call: Callable[[Given], Result], loads: str = __name__) -> None:
        self._call = call
        self._coming: Iterator[Sequence[Given]] = iter(())
        self._asked: deque[Sequence[Given]] = deque()
        paths = f"import sys; sys.path[:] = {sys.path!r}"
        code = f"{paths}; from {__name__} import serve; serve({loads!r})"
        pipe = subprocess.PIPE
        words = [sys.executable, "-c", code]
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, start_new_session=True)
        self._unsent: SimpleQueue[bytes | None] = SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, daemon=True)
        self._sender.start()
        self._send(call)

    def begin(self, chunks: Iterable[Sequence[Given]]) -> None:
        """Ask for the results of these chunks."""
        self._coming = iter(chunks)
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
        self._unsent.put(None)
        self._sender.join()
        self._process.stdout.close()
        with suppress(OSError):  # what it was not told any more
            self._process.stdin.close()

    def _ask(self) -> None:
        for chunk in itertools.islice(self._coming, 1):
            self._asked.append(chunk)
            self._send(chunk)

    def _send(self, what: object) -> None:
        self._unsent.put(pickle.dumps(what, protocol=5))

    def _send_all(self) -> None:
        """Write what is to be sent, of which a pipe holds but little until the other end reads."""
        assert self._process.stdin
        with suppress(OSError):  # that it is gone shows when its results are asked for
            for what in iter(self._unsent.get, None):
                self._process.stdin.write(what)
                self._process.stdin.flush()


def serve(loads: str) -> None:
    """The whole life of a worker: until nobody is at the other end of the pipe, or a call raises.

    Whoever asked calls again then, and sees the error.
    """
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    with suppress(Exception):
        importlib.import_module(loads)
        call: Callable[[Any], Any] = pickle.load(asked)
        while True:
            pickle.dump([call(one) for one in pickle.load(asked)], answers, protocol=5)
            answers.flush()
