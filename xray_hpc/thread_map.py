"""Work done by threads ahead of whoever uses it, a bounded amount at a time."""

from __future__ import annotations

import os
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Raised(NamedTuple):
    error: BaseException


def bounded_thread_map(
    function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int
) -> Generator[R, None, None]:
    """``map(function, items)`` by ``workers`` threads, at most ``ahead`` results ahead.

    Close it when it is left early (``contextlib.closing``): what has not begun is then dropped.
    An exception of ``function`` is raised in its item's place.

    Ctrl-C may come at any moment. The locks of ``concurrent.futures`` and of ``threading.Thread``
    are taken in Python, where an interrupt can leave one locked for ever: its threads then never
    end, nor does the process. Those of ``SimpleQueue`` are not, and no one waits for these threads.
    """
    tasks: SimpleQueue[tuple[T, SimpleQueue[R | _Raised]] | None] = SimpleQueue()

    def work() -> None:
        while (task := tasks.get()) is not None:
            item, answer = task
            try:
                answer.put(function(item))
            except BaseException as error:
                answer.put(_Raised(error))

    rest = iter(items)
    waiting: deque[SimpleQueue[R | _Raised]] = deque()

    def submit(count: int) -> None:
        for item in islice(rest, count):
            waiting.append(SimpleQueue())
            tasks.put((item, waiting[-1]))

    try:
        for _ in range(workers):
            start_new_thread(work, ())
        submit(ahead)
        while waiting:
            result = waiting.popleft().get()
            if isinstance(result, _Raised):
                raise result.error
            yield result
            submit(1)
    finally:
        with suppress(Empty):
            while True:
                tasks.get_nowait()
        for _ in range(workers):
            tasks.put(None)


def available_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
