"""Logging for jobs: one format for the worker, the training process and the scripts in ``jobs/``::

    2026-11-30 14:05:12Z INFO Received SIGTERM; checkpoint saved at epoch 3, step 40.

Times are in UTC. Use ``info`` for a state, ``warning`` for what the job works around, and ``error``
for what ends a run. Each process calls ``configure`` once. A module that runs as ``__main__``
writes out the name of its logger, below ``xray_hpc``.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from xray_hpc import command_line
from xray_hpc.printable import printable

FORMAT = "%(asctime)s %(levelname)s %(message)s"
# The variables with the number of a pipe that the parent keeps open as long as it runs
LAUNCH_PIPE = "XRAY_HPC_LAUNCH_PIPE"  # of a local launch, for its jobs
WORKER_PIPE = "XRAY_HPC_WORKER_PIPE"  # of a worker, for the training process
TIME_FORMAT = "%Y-%m-%d %H:%M:%SZ"

logger = logging.getLogger(__name__)


class JobLogHandler(logging.Handler):
    """Write log lines to stderr, and drop those that cannot be written.

    A closed terminal, an srun that has ended or a full disk must neither end a run nor prevent its
    job from being requeued.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as a line."""
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except OSError:
            pass
        except Exception:
            self.handleError(record)


class _LineFormatter(logging.Formatter):
    """Formats a log record as one line, whatever its message quotes."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def configure() -> None:
    """Send the package's log lines, ``INFO`` and above, to stderr; not those of libraries."""
    package = logging.getLogger("xray_hpc")
    package.setLevel(logging.INFO)
    handler = JobLogHandler()
    formatter = _LineFormatter(FORMAT, TIME_FORMAT)
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    package.handlers = [handler]


def run_job(main: Callable[[], int | None]) -> NoReturn:
    """Configure logging and call ``main`` as ``command_line.run`` does; log a ``UserError``.

    If a local launch has started this job, it gets SIGTERM when that launch is killed.
    """
    configure()
    if pipe := os.environ.pop(LAUNCH_PIPE, None):
        threading.Thread(target=_terminate_at_eof, args=[int(pipe)], daemon=True).start()
    command_line.run(main, report=logger.error, job=True)


def _terminate_at_eof(pipe: int) -> None:
    # The main thread has to handle the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
