"""Work done by threads ahead of whoever uses it, a bounded amount at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Answer: TypeAlias = "SimpleQueue[tuple[R, None] | tuple[None, BaseException]]"


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int
) -> Generator[R, None, None]:
    """``map(function, items)`` by ``workers`` threads, at most ``ahead`` results ahead.

    Close it when it is left early (``contextlib.closing``): what has not begun is then dropped.
    An exception of ``function`` is raised in its item's place.

    Ctrl-C may come at any moment. The locks of ``concurrent.futures`` are taken in Python, and an
    interrupt between two of its lines can leave one locked for ever: its threads then never end,
    nor does the process. Those of ``SimpleQueue`` are not, and no one waits for these threads.
    """
    tasks: SimpleQueue[tuple[T, Answer[R]] | None] = SimpleQueue()

    def work() -> None:
        while (task := tasks.get()) is not None:
            item, answer = task
            try:
                answer.put((function(item), None))
            except BaseException as error:
                answer.put((None, error))

    rest = iter(items)
    waiting: deque[Answer[R]] = deque()

    def submit(count: int) -> None:
        for item in islice(rest, count):
            waiting.append(SimpleQueue())
            tasks.put((item, waiting[-1]))

    for _ in range(workers):
        Thread(target=work, daemon=True).start()
    try:
        submit(ahead)
        while waiting:
            result, error = waiting.popleft().get()
            if error is not None:
                raise error
            yield result
            submit(1)
    finally:
        with suppress(Empty):
            while True:
                tasks.get_nowait()
        for _ in range(workers):
            tasks.put(None)


def cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
