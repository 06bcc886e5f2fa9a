"""The training process of a run: started, listened to, ended, and its use of the machine told."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from xray_hpc.records.paths import RunPaths

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
KEPT_BYTES = 4096


class Child:
    """``python -m xray_hpc.training RUN_FOLDER``.

    It holds the end of a pipe whose number is ``XRAY_HPC_PARENT``, and ends when this process does.
    With a ``label`` this process's own output gets whole lines of it that begin with the label.
    ``end`` may be called by a signal's handler and by any thread, before and after it has ended.
    """

    def __init__(
        self, paths: RunPaths, environment: Mapping[str, str], *, label: str | None = None
    ) -> None:
        self._label = label
        listening, self._alive = os.pipe()
        self._lock = threading.RLock()
        self._kill_at: float | None = None
        self._last = b""
        self.rusage: Any = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "xray_hpc.training", str(paths.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, "XRAY_HPC_PARENT": str(listening)},
                pass_fds=[listening],
            )
        finally:
            os.close(listening)

    @property
    def last_words(self) -> str:
        """The end of its output."""
        return self._last.decode(errors="replace")

    def end(self, grace: float) -> None:
        """Ask it to end, once; kill it if it has not after ``grace`` seconds."""
        with self._lock:
            kill_at = time.monotonic() + grace
            if self._kill_at is None and grace > 0:
                self._signal(signal.SIGTERM)
            elif grace <= 0:
                self._signal(signal.SIGKILL)
            self._kill_at = min(kill_at, self._kill_at or kill_at)

    def _signal(self, number: int) -> None:
        with self._lock:
            if self.rusage is None:
                os.kill(self._process.pid, number)

    def follow(self, log: Log, check: Callable[[], None]) -> int:
        """Copy its output to ``log`` and to this process's own until it ends; its exit code.

        ``-n`` stands for death by signal n. ``check`` is called every now and then.
        """
        output = self._process.stdout
        assert output is not None
        code: int | None = None
        with output:
            while code is None:
                block = self._read(output)
                if block:
                    self._pass_on(block, log)
                else:
                    code = self._reap()
                check()
                if self._kill_at is not None and time.monotonic() > self._kill_at:
                    self._signal(signal.SIGKILL)
            # Its last words; a process that it left behind may hold the pipe open for ever.
            while block := self._read(output, 0):
                self._pass_on(block, log)
        os.close(self._alive)
        return code

    def _read(self, output: IO[bytes], seconds: float = POLL_SECONDS) -> bytes:
        """What there is to read, after a while at the latest; nothing at its end too."""
        ready, _, _ = select.select([output], [], [], seconds)
        block = os.read(output.fileno(), 1 << 16) if ready else b""
        if ready and not block:  # closed; it is about to end
            time.sleep(POLL_SECONDS / 10)
        return block

    def _reap(self) -> int | None:
        """Its exit code once it has ended, with what it used in ``rusage``."""
        with self._lock:
            pid, status, rusage = os.wait4(self._process.pid, os.WNOHANG)
            if pid == 0:
                return None
            self.rusage = rusage
            self._process.returncode = os.waitstatus_to_exitcode(status)
            return self._process.returncode

    def _pass_on(self, block: bytes, log: Log) -> None:
        self._last = (self._last + block)[-KEPT_BYTES:]
        lines = log.add(block)
        if self._label is not None:
            block = b"".join(f"{self._label}: ".encode() + line for line in lines)
        with contextlib.suppress(OSError):  # nobody may be reading any more
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()


class Log:
    """A run's log, added to; a context manager.

    Of a bar, which is redrawn, it gets the last state only. Where it cannot be written, that is
    said once: the job's own output has the same lines.
    """

    def __init__(self, paths: RunPaths, heading: str) -> None:
        self._file: IO[bytes] | None = None
        self._kept = b""
        try:
            self._file = paths.log.open("ab", buffering=0)
        except OSError as error:
            self._give_up(error)
        self.add(f"--- {heading}\n".encode())

    def add(self, block: bytes) -> list[bytes]:
        """Write the lines that are whole by now, and give them."""
        *ended, self._kept = (self._kept + block).split(b"\n")
        lines = [line.rpartition(b"\r")[2].rstrip() + b"\n" for line in ended]
        self._write(b"".join(lines))
        return lines

    def _write(self, line: bytes) -> None:
        if self._file is not None:
            try:
                self._file.write(line)
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.warning(f"the log is not written any more: {error}")
        self._file = None

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self._kept:
            self._write(self._kept.rpartition(b"\r")[2] + b"\n")
        if self._file is not None:
            self._file.close()
