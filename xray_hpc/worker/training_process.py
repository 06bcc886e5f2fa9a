"""The training process of a run and the run's log file."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from io import FileIO
from typing import IO, Any

from xray_hpc.command_line import discard_stdout
from xray_hpc.job_logging import WORKER_PIPE
from xray_hpc.records.paths import RunPaths
from xray_hpc.regular_file import append_regular

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
TAIL_BYTES = 4096


class TrainingProcess:
    """``python -m xray_hpc.training RUN_FOLDER``, started on construction.

    The process holds one end of a pipe, whose number is in ``WORKER_PIPE``, and ends when this
    process does. ``environment`` is added to this process's own. A ``label`` prefixes each line on
    stdout. ``terminate`` may be called from signal handlers and any thread, also after the end.
    """

    def __init__(self, paths: RunPaths, environment: Mapping[str, str], label: str | None) -> None:
        self._label = label
        read_end, self._write_end = os.pipe()
        self._lock = threading.RLock()
        self._kill_at: float | None = None
        self.tail = b""  # the last 4 KiB of its output
        self.usage: dict[str, Any] = {}  # peak_memory and cpu_seconds, once it has ended
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "xray_hpc.training", str(paths.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, WORKER_PIPE: str(read_end)},
                pass_fds=[read_end],
            )
        finally:
            os.close(read_end)

    def terminate(self, grace: float) -> None:
        """Send SIGTERM, once, and SIGKILL after ``grace`` seconds, or now if that is 0 or less."""
        with self._lock:
            kill_at = time.monotonic() + grace
            if grace <= 0:
                self._signal(signal.SIGKILL)
            elif self._kill_at is None:
                self._signal(signal.SIGTERM)
            self._kill_at = min(kill_at, self._kill_at or kill_at)

    def _signal(self, number: int) -> None:
        with self._lock:
            if not self.usage:
                os.kill(self._process.pid, number)

    def wait(self, log: RunLog, check: Callable[[], None]) -> int:
        """Copy the output to ``log`` and stdout until the process ends; return its exit code.

        The code is ``-n`` if signal n killed it. ``check`` is called regularly.
        """
        output = self._process.stdout
        assert output is not None
        code: int | None = None
        with output:
            while code is None:
                block = self._read(output)
                check()  # before anything is written into the log of a run that was taken over
                if block:
                    self._copy(block, log)
                else:
                    code = self._reap()
                if self._kill_at is not None and time.monotonic() > self._kill_at:
                    self._signal(signal.SIGKILL)
            # Do not read to the end of the file: a grandchild may hold the pipe open for ever.
            while block := self._read(output, 0):
                self._copy(block, log)
        os.close(self._write_end)
        return code

    def _read(self, output: IO[bytes], seconds: float = POLL_SECONDS) -> bytes:
        """Return what can be read within ``seconds``; nothing at the end of the file either."""
        ready, _, _ = select.select([output], [], [], seconds)
        block = os.read(output.fileno(), 1 << 16) if ready else b""
        if ready and not block:  # closed: the process is about to end
            time.sleep(POLL_SECONDS / 10)
        return block

    def _reap(self) -> int | None:
        """Return the exit code if the process has ended, and remember its resource usage."""
        with self._lock:
            pid, status, rusage = os.wait4(self._process.pid, os.WNOHANG)
            if pid == 0:
                return None
            self.usage = resource_usage(rusage)
            self._process.returncode = os.waitstatus_to_exitcode(status)
            return self._process.returncode

    def _copy(self, block: bytes, log: RunLog) -> None:
        self.tail = (self.tail + block)[-TAIL_BYTES:]
        lines = log.add(block)
        if self._label is not None:
            block = b"".join(f"{self._label}: ".encode() + line for line in lines)
        try:
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
        except OSError:  # stdout is closed or its disk is full; the run must not fail for it
            discard_stdout()


def resource_usage(rusage: Any) -> dict[str, Any]:
    """Return ``peak_memory`` (MiB) and ``cpu_seconds`` from the ``rusage`` of ``os.wait4``.

    The peak of a cgroup is not used: it includes the page cache, for which no job needs to ask.
    """
    return {
        "peak_memory": round(rusage.ru_maxrss / 1024),
        "cpu_seconds": round(rusage.ru_utime + rusage.ru_stime, 1),
    }


class RunLog:
    """The ``log`` file of a run, opened for appending; a context manager.

    Of a progress bar, which redraws its line, only the last state is written. If the file cannot be
    written, that is logged once: the output of the job has the same lines.
    """

    def __init__(self, paths: RunPaths, heading: str) -> None:
        self._partial = b""
        try:
            self._file: FileIO | None = append_regular(paths.log)
        except OSError as error:
            self._give_up(error)
        self.add(f"--- {heading}\n".encode())

    def add(self, block: bytes) -> list[bytes]:
        """Write the lines that ``block`` completes, and return them."""
        *complete, self._partial = (self._partial + block).split(b"\n")
        lines = [line.rpartition(b"\r")[2].rstrip() + b"\n" for line in complete]
        self._write(b"".join(lines))
        return lines

    def _write(self, text: bytes) -> None:
        try:
            if self._file is not None:
                self._file.write(text)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.warning(f"cannot write the log of the run, continuing without it: {error}")
        self._file = None

    def stop(self) -> None:
        """Write nothing more: the run belongs to another process."""
        if self._file is not None:
            self._file.close()
        self._file, self._partial = None, b""

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._partial:
            self._write(self._partial.rpartition(b"\r")[2] + b"\n")
        if self._file is not None:
            self._file.close()
