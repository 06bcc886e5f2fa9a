"""Launch as ``python -m xray_hpc.launch``, and measure each step.

python -m tests.benchmarks.launch_steps START FILE ARGUMENT...

``START`` is the value of ``time.monotonic()`` before this process was started.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.timing import cpu_seconds

START = "start Python, import, parse the command line"
REST = "rest"
# The functions of each step by module. A function called by another counts for its own step.
STEPS: dict[str, dict[str, tuple[str, ...]]] = {
    "compose the configs": {"xray_hpc.launch": ("compose_all",)},
    "validate and name the runs": {"xray_hpc.launch": ("make_plan",)},
    "query the cluster": {
        "xray_hpc.launching.preflight.checks": ("check_plan", "check_script"),
        "xray_hpc.slurm.client": ("is_available", "queued_jobs"),
        "xray_hpc.launching.slurm_backend": ("query_submit_limits",),
    },
    "read the run folders": {"xray_hpc.launching.launch_sweep": ("decide_runs",)},
    "record the code and the packages": {
        "xray_hpc.launching.run_folders": ("current_code_state",),
        "xray_hpc.records.code_state": ("write_code_state",),
    },
    "write the run folders": {"xray_hpc.launching.launch_sweep": ("create_run_folders",)},
    "submit": {"xray_hpc.launching.slurm_backend": ("submit_plan",)},
    REST: {"xray_hpc.launch": ("launch_sweep",)},
}


class Clock:
    """Measures wall-clock and CPU seconds of each step, without those of nested steps."""

    def __init__(self, start: float) -> None:
        self.seconds = {START: [0.0, 0.0]} | {step: [0.0, 0.0] for step in STEPS}
        self._now, self._mark = START, (start, 0.0)

    def switch(self, step: str) -> str:
        """Start ``step``, and return the previous one."""
        mark, previous = (time.monotonic(), cpu_seconds()), self._now
        for i in range(2):
            self.seconds[previous][i] += mark[i] - self._mark[i]
        self._now, self._mark = step, mark
        return previous

    def wrap(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its time counts for ``step``; generators are exhausted."""

        @functools.wraps(function)
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            previous = self.switch(step)
            try:
                result = function(*arguments, **keywords)
                return list(result) if isinstance(result, Iterator) else result
            finally:
                self.switch(previous)

        return wrapper


def main() -> None:
    """Run the command."""
    start, file, *arguments = sys.argv[1:]
    clock = Clock(float(start))
    from xray_hpc import launch

    for step, functions in STEPS.items():
        for module_name, names in functions.items():
            module = importlib.import_module(module_name)
            for name in names:
                setattr(module, name, clock.wrap(step, getattr(module, name)))
    sys.argv[1:] = arguments
    launch.main()
    clock.switch(REST)
    Path(file).write_text(json.dumps(clock.seconds))


if __name__ == "__main__":
    main()
