"""Standard streams that do not end a command when they cannot be written."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


class LossyFile(io.FileIO):
    """A file that drops what cannot be written, and remembers the first error.

    A full disk under a log or a closed terminal must not end a sweep, and Python must not meet the
    error again when it flushes at exit. A pipe whose reader has ended still raises: ``| head`` ends
    the command.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write bytes; return how many were written or dropped."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            raise
        except OSError as error:
            self.error = self.error or error
            return memoryview(data).nbytes


def protect_standard_streams() -> None:
    """Let stdout and stderr drop what cannot be written; see :func:`stdout_error`.

    Closed ones become ``/dev/null``: the next file opened would take the number of stdout, and then
    get the output of other programs.
    """
    while (unused := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(unused)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115
        elif number and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _lossy(stream, number))


def _lossy(stream: TextIO, number: int) -> TextIO:
    stream.flush()
    raw = LossyFile(number, "w", closefd=False)
    unbuffered = isinstance(stream.buffer, io.RawIOBase)  # python -u
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=bool(stream.line_buffering),
        write_through=unbuffered,
    )


def write_error(stream: TextIO) -> OSError | None:
    """Return the first error of a protected stream, after flushing it."""
    stream.flush()
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw.error if isinstance(raw, LossyFile) else None
