"""Measure the wall-clock and CPU time of calls and commands."""

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
    """Wall-clock seconds of one call, and CPU seconds of all its threads and child processes.

    On a shared machine CPU time varies less.
    """

    wall: float
    cpu: float


def time_call(call: Callable[[], object]) -> Sample:
    """Measure one call."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    call()
    return Sample(time.perf_counter() - wall, cpu_seconds() - cpu)


def time_calls(call: Callable[[], object], repeat: int) -> list[Sample]:
    """Measure ``repeat`` calls."""
    return [time_call(call) for _ in range(repeat)]


def median_cpu(samples: Sequence[Sample]) -> float:
    """Return the median of the CPU seconds."""
    return statistics.median(sample.cpu for sample in samples)


def time_python(arguments: Sequence[str], repeat: int, **environment: str) -> list[Sample]:
    """Measure ``python ARGUMENTS`` with additional environment variables ``repeat`` times."""
    return time_calls(lambda: run_python(*arguments, **environment), repeat)


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the repository's root and wait for it.

    Raises:
        RuntimeError: it failed; the message contains its output.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{arguments} -> {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def heavy_imports(command: Sequence[str]) -> list[str]:
    """Return which of ``HEAVY`` the command ``python -m COMMAND`` has imported when it ends."""
    module, *arguments = command
    code = (
        "import atexit, runpy, sys\n"
        f"heavy = {HEAVY!r}\n"
        "loaded = lambda: [name for name in heavy if name in sys.modules]\n"
        "atexit.register(lambda: print('loaded:', *loaded(), file=sys.stderr))\n"
        f"sys.argv = [{module!r}, *{arguments!r}]\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    stderr = run_python("-c", code).stderr
    (line,) = (line for line in stderr.splitlines() if line.startswith("loaded:"))
    return line.split()[1:]


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, all its threads and finished child processes."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def log_progress(step: str) -> None:
    """Print the step that is measured next."""
    print(f"  {step} ...", file=sys.stderr, flush=True)
