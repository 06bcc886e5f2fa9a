"""A fault: something that is done to runs, their jobs, their nodes or their files.

It is a function of a sweep that has not been launched yet. After it returns, the sweep is left
alone until all of its jobs have ended; what is unfinished then is launched again with the same
command.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.fault_sweep import FaultError, FaultSweep
from xray_hpc.records.run_record import Failure


@dataclass(frozen=True)
class Fault:
    """A fault and the expected outcome.

    Attributes:
        inject: Launches the sweep and does the fault.
        method: What is done, for the table.
        status: The status of the runs before they are launched again; ``None`` if they are
            expected to finish unaided.
        failures: The failures that interrupted attempts may have recorded.
        sweeps: 0 to inject the fault once, into one sweep of the requested number of runs. Else
            that many sweeps of two runs are used for each requested run, and the fault launches
            them again itself.
        own_filesystem: Whether the results are on a file system of their own.
        sweep_options: Arguments for ``FaultSweep``.
    """

    inject: Callable[[FaultSweep], None]
    method: str
    status: str | None = None
    failures: tuple[Failure, ...] = ()
    sweeps: int = 0
    own_filesystem: bool = False
    sweep_options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the function, in words."""
        place = " in container" if self.sweep_options.get("container") else ""
        return self.inject.__name__.replace("_", " ") + place


def fault(**description: Any) -> Callable[[Callable[[FaultSweep], None]], Fault]:
    """Turn the decorated function into a ``Fault``."""
    return lambda inject: Fault(inject, **description)


def in_container(fault: Fault) -> Fault:
    """Return the same fault of runs in a container that has nothing of Slurm."""
    return dataclasses.replace(fault, sweep_options=fault.sweep_options | {"container": True})


def kill(*pids: int) -> None:
    """Send SIGKILL to the processes, of which there must be at least one."""
    if not pids:
        raise FaultError("found no process to kill")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
