"""How the training process ends when it is told to, or when the worker that started it is gone."""

from __future__ import annotations

import os
import signal
import threading

# Slurm signals each process of a job, and Ctrl-C each of a terminal: not the worker alone.
ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2}

WRITING = threading.Lock()
"""Held while a checkpoint is written: a training that is told to end finishes it first."""


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


def _end_at_signal(heard: set[signal.Signals]) -> None:
    number = signal.sigwait(heard)
    with WRITING:
        os._exit(128 + number)


def _end_at_eof(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os._exit(1)
