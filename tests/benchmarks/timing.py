"""Timing a call or a command several times over: wall clock and CPU."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
HEAVY = ("tensorflow", "keras", "submitit", "pandas", "sklearn", "matplotlib")


@dataclass(frozen=True)
class Sample:
    """Seconds of one call: on the clock, and of CPU over all threads and processes it waited for.

    On a shared machine the second is the steadier one.
    """

    wall: float
    cpu: float


def timed(call: Callable[[], object]) -> Sample:
    """Call it once."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    call()
    return Sample(time.perf_counter() - wall, cpu_seconds() - cpu)


def repeated(call: Callable[[], object], repeat: int) -> list[Sample]:
    """Call it ``repeat`` times."""
    return [timed(call) for _ in range(repeat)]


def median_cpu(samples: Sequence[Sample]) -> float:
    """The middle one of the CPU seconds."""
    return statistics.median(sample.cpu for sample in samples)


def runs_of(words: Sequence[str], repeat: int, **environment: str) -> list[Sample]:
    """Run ``python WORDS`` that often, with these variables added to the environment."""
    return repeated(lambda: python(*words, **environment), repeat)


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the repository's root, as a user of a clone does, and wait for it.

    Raises:
        RuntimeError: it failed; the message holds what it printed.
    """
    done = subprocess.run(
        [sys.executable, *words],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{words} -> {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def heavy_imports(words: Sequence[str]) -> list[str]:
    """Which of ``HEAVY`` the command ``python -m WORDS`` has loaded when it ends."""
    module, *arguments = words
    code = (
        "import atexit, runpy, sys\n"
        f"heavy = {HEAVY!r}\n"
        "loaded = lambda: [name for name in heavy if name in sys.modules]\n"
        "atexit.register(lambda: print('loaded:', *loaded(), file=sys.stderr))\n"
        f"sys.argv = [{module!r}, *{arguments!r}]\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    said = python("-c", code).stderr
    (line,) = (line for line in said.splitlines() if line.startswith("loaded:"))
    return line.split()[1:]


def cpu_seconds() -> float:
    """CPU seconds of this process so far, with all threads and the processes it waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def progress(what: str) -> None:
    """Say what is timed from now on, to whom waits."""
    print(f"  {what} ...", file=sys.stderr, flush=True)
