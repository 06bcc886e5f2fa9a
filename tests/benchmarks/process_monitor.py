"""Measure the time, CPU and memory of a command with all its child processes."""

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

INTERVAL_SECONDS = 0.25
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ResourceUse:
    """The resources that a command used.

    Attributes:
        wall: wall-clock seconds.
        cpu: CPU seconds, as accounted by the kernel.
        peak: peak resident bytes of all processes; shared memory counts in each, or once if asked.
        kinds: CPU seconds by kind of process, sampled, so that the end of each is missed.
    """

    wall: float
    cpu: float
    peak: int
    kinds: Mapping[str, float]


@dataclass
class ProcessMonitor:
    """Samples the CPU and memory of a process and its descendants.

    ``kinds`` maps a part of a command line to a kind of process. Other processes have the kind of
    their parent. With ``shared_once``, each process counts with its share of the memory that it
    shares (PSS).
    """

    kinds: Mapping[str, str]
    shared_once: bool = False
    peak: int = 0
    _samples: dict[tuple[int, str], tuple[str, float]] = field(default_factory=dict)
    _kinds: dict[int, str] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, root: int) -> None:
        """Sample until :meth:`stop` is called."""
        while not self._stopped.wait(INTERVAL_SECONDS):
            self._sample(root)

    def stop(self) -> None:
        self._stopped.set()

    def cpu_by_kind(self) -> dict[str, float]:
        """Return the CPU seconds by kind."""
        sums = dict.fromkeys([*self.kinds.values(), "other"], 0.0)
        for kind, seconds in self._samples.values():
            sums[kind] += seconds
        return {kind: seconds for kind, seconds in sums.items() if seconds}

    def _sample(self, root: int) -> None:
        resident = 0
        for process in _family(root):
            # A zombie process has no command line.
            known = self._kinds.get(process.pid) or self._kinds.get(process.parent, "other")
            kind = self._kinds[process.pid] = self._kind_of(process.pid) or known
            self._samples[process.pid, process.started] = kind, process.cpu
            resident += _share(process.pid) if self.shared_once else process.resident
        self.peak = max(self.peak, resident)

    def _kind_of(self, pid: int) -> str | None:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return None
        return next((kind for part, kind in self.kinds.items() if part in command), None)


def _share(pid: int) -> int:
    """Return the proportional set size of a process in bytes, 0 if it has ended; see proc(5)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    started: str
    cpu: float
    resident: int


def _family(root: int) -> Iterator[_Process]:
    """Yield the process and its descendants, parents first."""
    children: dict[int, list[_Process]] = {}
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := _read(int(name))):
            children.setdefault(process.parent, []).append(process)
            found[process.pid] = process
    stack = [found[root]] if root in found else []
    while stack:
        process = stack.pop()
        stack += children.get(process.pid, [])
        yield process


def _read(pid: int) -> _Process | None:
    try:
        # The fields after the name, which may contain any character; see proc(5).
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    cpu = (int(numbers[11]) + int(numbers[12])) / TICKS
    return _Process(pid, int(numbers[1]), numbers[19], cpu, int(numbers[21]) * PAGE)


def measure_process(
    arguments: Sequence[str], kinds: Mapping[str, str], *, shared_once: bool = False
) -> ResourceUse:
    """Run ``python ARGUMENTS`` in the repository's root, and measure its resources.

    Raises:
        RuntimeError: it failed; the message contains its output.
    """
    cpu_before, start = _children_cpu(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    monitor = ProcessMonitor(kinds, shared_once)
    thread = threading.Thread(target=monitor.run, args=(process.pid,), daemon=True)
    thread.start()
    try:
        output, _ = process.communicate()
    finally:
        process.terminate()  # after Ctrl-C
        monitor.stop()
        thread.join()
    if process.returncode != 0:
        raise RuntimeError(f"{arguments} -> {process.returncode}\n{output}")
    wall, cpu = time.perf_counter() - start, _children_cpu() - cpu_before
    return ResourceUse(wall, cpu, monitor.peak, monitor.cpu_by_kind())


def _children_cpu() -> float:
    """Return the CPU seconds of finished child processes and their descendants."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
