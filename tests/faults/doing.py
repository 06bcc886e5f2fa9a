"""What a fault is: something done to runs, their jobs, their nodes or their files.

It is a function that is given a sweep which is not launched yet. When it returns, the sweep is left
to itself until no job of it waits or runs; what is not finished by then is launched again with the
same command.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.sweeps import FaultError, Sweep
from xray_hpc.records.run_record import Failure


@dataclass(frozen=True)
class Fault:
    """A fault and what is expected of it.

    ``how`` says what is done, for the table. ``left`` is what the runs are called before they are
    launched again; None where they come back by themselves. ``failures`` are the classes that the
    tries it ends may have. A fault is done once to a sweep of as many runs as were asked for; one
    with a ``share`` is done to so many sweeps of two runs instead, for each time that was asked
    for, and launches them again itself. The results of a ``mounted`` one have a file system of
    their own. ``options`` are those of :class:`Sweep`.
    """

    do: Callable[[Sweep], None]
    how: str
    left: str | None = None
    failures: tuple[Failure, ...] = ()
    share: int = 0
    mounted: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.do.__name__.replace("_", " ")


def fault(**described: Any) -> Callable[[Callable[[Sweep], None]], Fault]:
    """Make a :class:`Fault` of the function that does it."""
    return lambda do: Fault(do, **described)


def kill(*pids: int) -> None:
    if not pids:
        raise FaultError("found no process to kill")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
