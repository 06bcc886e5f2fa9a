"""Map a function over many arguments in processes, with ordered results and bounded memory."""

from __future__ import annotations

import importlib
import itertools
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from xray_hpc.thread_map import available_cores

Argument = TypeVar("Argument")
Result = TypeVar("Result")

MAX_PROCESSES = 4  # login nodes are shared, and one process writes what all others read
CHUNK_SIZE = 16  # calls that a process receives at once
CHUNKS_AHEAD = 2  # chunks per process whose results have not been consumed
MIN_CALLS = 128  # fewer calls do not justify starting processes
PROCESS_DIED = (EOFError, OSError, pickle.UnpicklingError)


class ProcessPool(Generic[Argument, Result]):
    """Processes for one :meth:`map`, which may be started before its arguments are known.

    ``ProcessPoolExecutor``, with workers that ignore SIGINT, is shorter and as fast. But 9 of 30
    Ctrl-C at random moments printed the traceback of a worker that was still starting, and the
    command ended up to 8 s later; with these processes 0 of 30, and at most 1.2 s.

    Args:
        function: a module-level function.
        preload: a module that the processes import when they start.
    """

    def __init__(self, function: Callable[[Argument], Result], preload: str = __name__) -> None:
        self._function = function
        self._preload = preload
        self._workers: list[WorkerProcess[Argument, Result]] = []

    def __enter__(self) -> ProcessPool[Argument, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()

    def start(self, processes: int = 1) -> None:
        """Start processes until there are ``processes``, at most one per CPU.

        None are started on a single CPU, and fewer if the system does not allow more.
        """
        cpus = available_cpus()
        while cpus > 1 and len(self._workers) < min(processes, cpus, MAX_PROCESSES):
            try:
                self._workers.append(WorkerProcess(self._function, self._preload))
            except (OSError, RuntimeError):  # no more processes or threads
                return

    def map(
        self,
        arguments: Sequence[Argument],
        *,
        min_calls: int = MIN_CALLS,
        chunk_size: int = CHUNK_SIZE,
    ) -> Iterator[Result]:
        """Start the calls, and return an iterator over their results in order. Call this once.

        If a process dies, for example for lack of memory, or if a call raises, its calls are
        repeated in this process, so that the exception is raised here.

        Args:
            arguments: the arguments of the calls.
            min_calls: the number of calls from which processes are started.
            chunk_size: the number of calls that a process receives at once.
        """
        chunks = [arguments[i : i + chunk_size] for i in range(0, len(arguments), chunk_size)]
        if len(arguments) >= min_calls:
            self.start(len(chunks))
        if not self._workers:
            return map(self._function, arguments)
        for i, worker in enumerate(self._workers):
            worker.start(chunks[i :: len(self._workers)])
        turns = zip(chunks, itertools.cycle(self._workers), strict=False)
        return (result for _, worker in turns for result in worker.next_results())


def available_cpus() -> int:
    """Return the number of CPUs of this process's affinity mask, or of its job if that is less."""
    bound = available_cores()
    job = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(bound, int(job)) if job.isdigit() and int(job) else bound


class WorkerProcess(Generic[Argument, Result]):
    """A process that calls the function for its chunks of arguments.

    It is a new interpreter, because a fork would copy locks that other threads hold. It has its
    own session, so that Ctrl-C does not reach it, and it ends when this process ends.
    """

    def __init__(self, function: Callable[[Argument], Result], preload: str = __name__) -> None:
        self._function = function
        self._remaining: Iterator[Sequence[Argument]] = iter(())
        self._in_progress: deque[Sequence[Argument]] = deque()
        path = f"import sys; sys.path[:] = {sys.path!r}"
        code = f"{path}; from {__name__} import serve; serve({preload!r})"
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", code]
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True)
        self._unsent: SimpleQueue[bytes | None] = SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, daemon=True)
        self._sender.start()
        self._send(function)

    def start(self, chunks: Iterable[Sequence[Argument]]) -> None:
        """Start the calls of these chunks."""
        self._remaining = iter(chunks)
        self._send_chunks(CHUNKS_AHEAD)

    def next_results(self) -> list[Result]:
        """Return the results of the next chunk."""
        assert self._process.stdout
        results: list[Result] | None = None
        with suppress(*PROCESS_DIED):
            results = pickle.load(self._process.stdout)
        self._send_chunks(1)
        chunk = self._in_progress.popleft()
        return [self._function(argument) for argument in chunk] if results is None else results

    def kill(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.kill()
        self._process.wait()
        self._unsent.put(None)
        self._sender.join()
        self._process.stdout.close()
        with suppress(OSError):  # unsent data in the buffer
            self._process.stdin.close()

    def _send_chunks(self, count: int) -> None:
        for chunk in itertools.islice(self._remaining, count):
            self._in_progress.append(chunk)
            self._send(chunk)

    def _send(self, value: object) -> None:
        self._unsent.put(pickle.dumps(value, protocol=5))

    def _send_all(self) -> None:
        """Write queued data; a pipe blocks until the other end reads."""
        assert self._process.stdin
        with suppress(OSError):  # a dead process is noticed when its results are read
            for data in iter(self._unsent.get, None):
                self._process.stdin.write(data)
                self._process.stdin.flush()


def serve(preload: str) -> None:
    """Run a worker until the pipe closes or a call raises; the parent repeats that call."""
    requests, responses = sys.stdin.buffer, sys.stdout.buffer
    with suppress(Exception):
        importlib.import_module(preload)
        function: Callable[[Any], Any] = pickle.load(requests)
        while True:
            results = [function(argument) for argument in pickle.load(requests)]
            pickle.dump(results, responses, protocol=5)
            responses.flush()
