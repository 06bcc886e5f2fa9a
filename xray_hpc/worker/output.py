"""What a job says of itself, where somebody may have stopped listening.

A closed terminal, an ended srun or a full disk under the job's log must not end a run, nor keep its
job from being put back.
"""

from __future__ import annotations

import contextlib
import sys


def say(line: str) -> None:
    """Print a line."""
    with contextlib.suppress(OSError):
        print(line, flush=True)


def complain(line: str) -> None:
    """Print a line to stderr."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def pass_on(block: bytes) -> None:
    """Print what another process printed."""
    with contextlib.suppress(OSError):
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
