"""How the training process ends when it is told to, or when the worker that started it is gone."""

from __future__ import annotations

import os
import signal
import threading
from typing import NoReturn

# Slurm signals each process of a job, and Ctrl-C each of a terminal: not the worker alone.
ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2}

UNSAVED = threading.Lock()
"""Held while the process has something that would be lost: it does not end at a signal then.

Its holder asks :func:`told` now and then, brings what it has to safety and calls :func:`end`.
"""

_told = threading.Event()


def end_when_told() -> None:
    """Have signal n end the process with 128 + n; to be called before any thread starts.

    A thread waits for the signal, so that it is heard within a long step too, and no Python code
    is interrupted. A signal that is ignored, as nohup has it, stays so.
    """
    heard = {number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    threading.Thread(target=_end_at_signal, args=[heard], daemon=True).start()


def end_with_parent(pipe: int) -> None:
    """Have the process end at once when nobody holds the other end of ``pipe``.

    The worker that started it is dead then, and another may own the run: nothing more is written.
    """
    threading.Thread(target=_end_at_eof, args=[pipe], daemon=True).start()


def told() -> bool:
    """Whether a signal has told the process to end."""
    return _told.is_set()


def end() -> NoReturn:
    """End the process as it was told to; to be called by the holder of ``UNSAVED``."""
    UNSAVED.release()
    while True:
        threading.Event().wait()


def _end_at_signal(heard: set[signal.Signals]) -> None:
    number = signal.sigwait(heard)
    _told.set()
    with UNSAVED:
        os._exit(128 + number)


def _end_at_eof(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os._exit(1)
