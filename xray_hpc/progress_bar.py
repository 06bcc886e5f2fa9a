"""How far a long job is: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

BAR = 30
TERMINAL_SECONDS = 0.1
LOG_SECONDS = 10.0


class ProgressBar:
    """Counts up to ``total`` and shows it on standard error.

    A context manager; ``what`` is the line's beginning, such as ``"decoding images"``. An earlier
    process has done ``begun`` of it, in a time of its own.
    """

    def __init__(
        self, what: str, total: int, stream: TextIO | None = None, *, begun: int = 0
    ) -> None:
        self.what = what
        self.total = total
        self.stream = stream or sys.stderr
        self.begun = self.done = begun
        self.terminal = self.stream.isatty()
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._show()
        if self.terminal:
            print(file=self.stream, flush=True)

    def advance(self, count: int = 1) -> None:
        """Count ``count`` more, and show it if the last showing was long enough ago."""
        self.done += count
        pause = TERMINAL_SECONDS if self.terminal else LOG_SECONDS
        if time.monotonic() - self._shown >= pause:
            self._show()

    def _show(self) -> None:
        now = self._shown = time.monotonic()
        rate = (self.done - self.begun) / max(now - self._started, 1e-9)
        text = f"{self.what} {self.done:,}/{self.total:,}, {rate:,.0f} a second"
        if self.terminal:
            filled = BAR * self.done // max(self.total, 1)
            bar = "#" * filled + "." * (BAR - filled)
            print(f"\r[{bar}] {text}\x1b[K", end="", file=self.stream, flush=True)
        else:
            print(text, file=self.stream, flush=True)
