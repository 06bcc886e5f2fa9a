from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.thread_map import bounded_thread_map


@given(st.lists(st.integers()), st.integers(1, 5), st.integers(1, 9))
def test_bounded_thread_map_equals_map(items: list[int], workers: int, ahead: int) -> None:
    assert list(bounded_thread_map(str, items, workers, ahead)) == [str(item) for item in items]


def test_bounded_thread_map_keeps_the_order() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.05 if item == 0 else 0)
        return item

    assert list(bounded_thread_map(slow_first, range(8), workers=4, ahead=8)) == list(range(8))


@given(st.integers(1, 5), st.integers(1, 9))
def test_bounded_thread_map_is_bounded(workers: int, ahead: int) -> None:
    begun = []
    results = bounded_thread_map(begun.append, range(40), workers, ahead)
    for used, _ in enumerate(results, start=1):
        assert len(begun) <= used + ahead - 1


def test_bounded_thread_map_raises_in_place_of_the_result() -> None:
    results = bounded_thread_map(lambda item: 1 // item, [1, 0, 1], workers=2, ahead=3)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_bounded_thread_map_close_drops_pending_items() -> None:
    begun: list[int] = []
    held = threading.Event()

    def wait(item: int) -> None:
        begun.append(item)
        assert item == 0 or held.wait(10)

    with closing(bounded_thread_map(wait, range(100), workers=1, ahead=50)) as results:
        next(results)
    held.set()
    time.sleep(0.05)
    assert len(begun) <= 2


INTERRUPTED = """
import faulthandler, itertools, random, signal, zlib
from xray_hpc.thread_map import bounded_thread_map

def work(item):
    return zlib.compress(bytes(1000))

faulthandler.dump_traceback_later(300, exit=True)
signal.signal(signal.SIGALRM, signal.default_int_handler)
for i in range(500):
    signal.setitimer(signal.ITIMER_REAL, random.Random(i).uniform(1e-3, 8e-3))
    try:
        for _ in bounded_thread_map(work, itertools.count(), workers=2, ahead=64):
            pass
    except KeyboardInterrupt:
        pass
print("never hung")
"""


def test_bounded_thread_map_survives_interrupts() -> None:
    command = [sys.executable, "-c", INTERRUPTED]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("never hung\n", "")
