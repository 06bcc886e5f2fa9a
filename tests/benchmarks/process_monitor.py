"""What a command takes with all the processes that it starts: time, CPU, memory, of what kind."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.timing import REPOSITORY

EVERY = 0.25
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock and of CPU; the most bytes resident at once; CPU seconds by kind.

    What processes share counts in each. CPU seconds are the kernel's sum; by kind they are looked
    at four times a second, so that the end of each process is missed.
    """

    wall: float
    cpu: float
    peak: int
    kinds: Mapping[str, float]


@dataclass
class Watcher:
    """Looks at a process and its descendants every now and then, while it is entered.

    ``kinds`` names kinds of processes by a word of their command line; a process of no kind counts
    for the one that started it.
    """

    kinds: Mapping[str, str]
    peak: int = 0
    _seen: dict[tuple[int, str], tuple[str, float]] = field(default_factory=dict)
    _kind: dict[int, str] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def watch(self, root: int) -> None:
        """Look until ``end`` is called."""
        while not self._over.wait(EVERY):
            self._look(root)

    def end(self) -> None:
        self._over.set()

    def spent(self) -> dict[str, float]:
        """CPU seconds by kind."""
        sums = dict.fromkeys([*self.kinds.values(), "other"], 0.0)
        for kind, seconds in self._seen.values():
            sums[kind] += seconds
        return {kind: seconds for kind, seconds in sums.items() if seconds}

    def _look(self, root: int) -> None:
        resident = 0
        for process in _family(root):
            # A process that has ended and is not waited for yet has no command line any more.
            before = self._kind.get(process.pid) or self._kind.get(process.parent, "other")
            kind = self._kind[process.pid] = self._named(process.pid) or before
            self._seen[process.pid, process.started] = kind, process.cpu
            resident += process.resident
        self.peak = max(self.peak, resident)

    def _named(self, pid: int) -> str | None:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return None
        return next((kind for word, kind in self.kinds.items() if word in words), None)


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    started: str
    cpu: float
    resident: int


def _family(root: int) -> Iterator[_Process]:
    """The process and its descendants, parents first."""
    of_parent: dict[int, list[_Process]] = {}
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := _read(int(name))):
            of_parent.setdefault(process.parent, []).append(process)
            found[process.pid] = process
    waiting = [found[root]] if root in found else []
    while waiting:
        process = waiting.pop()
        waiting += of_parent.get(process.pid, [])
        yield process


def _read(pid: int) -> _Process | None:
    try:
        # Behind the name, which may hold anything; see proc(5).
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    cpu = (int(numbers[11]) + int(numbers[12])) / TICKS
    return _Process(pid, int(numbers[1]), numbers[19], cpu, int(numbers[21]) * PAGE)


def measure_process(words: Sequence[str], kinds: Mapping[str, str]) -> Spent:
    """Run ``python WORDS`` in the repository's root, and look at what it takes.

    Raises:
        RuntimeError: it failed; the message holds what it printed.
    """
    before, began = _children(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watcher = Watcher(kinds)
    thread = threading.Thread(target=watcher.watch, args=(process.pid,), daemon=True)
    thread.start()
    try:
        said, _ = process.communicate()
    finally:
        process.terminate()  # where Ctrl-C ends the waiting
        watcher.end()
        thread.join()
    if process.returncode != 0:
        raise RuntimeError(f"{words} -> {process.returncode}\n{said}")
    spent = time.perf_counter() - began, _children() - before
    return Spent(*spent, watcher.peak, watcher.spent())


def _children() -> float:
    """CPU seconds of the processes that were waited for, and of those that they waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
