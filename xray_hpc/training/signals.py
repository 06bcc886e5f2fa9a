"""End the training process at a signal, or when the worker that started it is gone."""

from __future__ import annotations

import os
import signal
import threading
from typing import NoReturn

# Slurm signals every process of a job, and Ctrl-C every process of a terminal, not just the worker.
EXIT_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2}

UNSAVED_WORK = threading.Lock()
"""Hold this lock while the process has work that an exit would lose; signals do not end it then.

The holder polls :func:`received_signal`, saves its work and calls :func:`exit_after_signal`.
"""

_received: list[signal.Signals] = []


def exit_on_signals() -> None:
    """Have signal n end the process with exit code 128 + n. Call it before starting any thread.

    A thread waits for the signals, so that a long training step does not delay them and no Python
    code is interrupted. Signals that are ignored (as by nohup) remain ignored.
    """
    handled = {number for number in EXIT_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    threading.Thread(target=_exit_at_signal, args=[handled], daemon=True).start()


def exit_with_parent(pipe: int) -> None:
    """Have the process exit at once when the other end of ``pipe`` closes.

    The worker is dead then and another one may own the run, so nothing more may be written.
    """
    threading.Thread(target=_exit_at_eof, args=[pipe], daemon=True).start()


def received_signal() -> signal.Signals | None:
    """Return the signal that asked the process to exit, if one has."""
    return _received[0] if _received else None


def exit_after_signal() -> NoReturn:
    """Release ``UNSAVED_WORK``, whose holder the caller is, and wait for the process to exit."""
    UNSAVED_WORK.release()
    while True:
        threading.Event().wait()


def _exit_at_signal(handled: set[signal.Signals]) -> None:
    number = signal.Signals(signal.sigwait(handled))
    _received.append(number)
    with UNSAVED_WORK:
        os._exit(128 + number)


def _exit_at_eof(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os._exit(1)
