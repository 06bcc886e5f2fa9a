"""Show the progress of a long operation: a bar on a terminal, occasional lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from xray_hpc.printable import printable, unescaped

BAR = 30
TERMINAL_SECONDS = 0.1
LOG_SECONDS = 10.0


class ProgressBar:
    """Counts to ``total`` and shows the count and the rate on stderr; a context manager.

    ``description`` is the text before the count, such as ``"decoding images"``. The ``initial``
    count does not enter the rate.
    """

    def __init__(
        self, description: str, total: int, stream: TextIO | None = None, *, initial: int = 0
    ) -> None:
        self.description = printable(description)
        self.total = total
        self.stream = unescaped(stream or sys.stderr)
        self.initial = self.done = initial
        self.terminal = self.stream.isatty()
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._print()
        if self.terminal:
            print(file=self.stream, flush=True)

    def advance(self, count: int = 1) -> None:
        """Add to the count, and print it unless it was printed just before."""
        self.done += count
        interval = TERMINAL_SECONDS if self.terminal else LOG_SECONDS
        if time.monotonic() - self._printed >= interval:
            self._print()

    def _print(self) -> None:
        now = self._printed = time.monotonic()
        rate = (self.done - self.initial) / max(now - self._started, 1e-9)
        text = f"{self.description} {self.done:,}/{self.total:,}, {rate:,.0f}/s"
        if self.terminal:
            filled = BAR * self.done // max(self.total, 1)
            bar = "#" * filled + "." * (BAR - filled)
            print(f"\r[{bar}] {text}\x1b[K", end="", file=self.stream, flush=True)
        else:
            print(text, file=self.stream, flush=True)
