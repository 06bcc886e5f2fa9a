"""Run a command in a forked process, which takes milliseconds: its imports are done."""

from __future__ import annotations

import functools
import importlib
import os
import resource
import selectors
import signal
import sys
import time
import traceback
import tty
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.report.page.libraries import vega_script

SECONDS = 30.0  # after which a command hangs; it takes a hundredth on an idle machine
MEMORY = 6 << 30  # bytes of address space: a file of 40 GB that is read whole is a MemoryError
MAX_OUTPUT = 4 << 20  # bytes that are kept
NOBODY = 65534  # the uid and gid of another user
BUG = 99  # exit code of a traceback


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        command: Its name and arguments.
        code: Its exit code; minus the number of the signal that killed it; ``None`` if it hung.
        stdout: What it printed.
        stderr: What it printed there, with the traceback of a bug.
    """

    command: tuple[str, ...]
    code: int | None
    stdout: bytes
    stderr: bytes

    @property
    def error(self) -> str:
        """The text of stderr."""
        return self.stderr.decode(errors="surrogateescape")

    @property
    def text(self) -> str:
        """The text of stdout."""
        return self.stdout.decode(errors="surrogateescape")


def run_command(
    name: str,
    *arguments: str,
    folder: Path,
    uid: int | None = None,
    patch: Callable[[], None] | None = None,
    terminal: bool = False,
) -> Outcome:
    """Run ``python -m xray_hpc.NAME`` in ``folder``.

    Args:
        name: The command.
        *arguments: Its arguments.
        folder: The current folder of the command.
        uid: The user and group that run it; the own ones if ``None``.
        patch: Called in the process before the command.
        terminal: Whether its stdout is a terminal.
    """

    def call() -> None:
        sys.argv = [f"xray_hpc/{name}.py", *arguments]
        if patch:
            patch()
        importlib.import_module(f"xray_hpc.{name}").entry()

    return run_function(call, (name, *arguments), folder=folder, uid=uid, terminal=terminal)


def run_function(
    call: Callable[[], None],
    command: Sequence[str],
    *,
    folder: Path,
    uid: int | None = None,
    terminal: bool = False,
    seconds: float = SECONDS,
) -> Outcome:
    """Call a function in a forked process, and return how it ended; it hangs after ``seconds``."""
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = os.openpty() if terminal else os.pipe(), os.pipe()
    if terminal:
        tty.setraw(out[1])  # lines end as they are written
    pid = os.fork()
    if pid == 0:
        ended = BUG
        try:
            _prepare(folder, out[1], err[1], uid)
            ended = _exit_code(call)
        finally:
            os._exit(ended)
    os.close(out[1])
    os.close(err[1])
    code, stdout, stderr = _wait(pid, out[0], err[0], seconds)
    return Outcome(tuple(command), code, stdout, stderr)


def _prepare(folder: Path, out: int, err: int, uid: int | None) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 256)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(folder)
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        os.environ["HOME"] = os.environ["TMPDIR"] = str(folder)


def _exit_code(call: Callable[[], None]) -> int:
    try:
        call()
        code: object = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = BUG
    try:
        sys.stdout.flush()
    except OSError:
        traceback.print_exc()
        code = BUG
    sys.stderr.flush()
    return code if isinstance(code, int) else 1


def _wait(pid: int, out: int, err: int, seconds: float) -> tuple[int | None, bytes, bytes]:
    """Return the exit code, stdout and stderr of a process; kill it and its children at last."""
    parts: dict[int, list[bytes]] = {out: [], err: []}
    deadline, status = time.monotonic() + seconds, None
    with selectors.DefaultSelector() as selector:
        for pipe in parts:
            os.set_blocking(pipe, False)
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < deadline:
            ready = selector.select(0.05)
            for key, _ in ready:
                try:
                    data = os.read(key.fd, 1 << 16)
                except OSError:  # how a terminal ends
                    data = b""
                if not data:
                    selector.unregister(key.fd)
                elif sum(map(len, parts[key.fd])) < MAX_OUTPUT:  # read on, or it could not end
                    parts[key.fd].append(data)
            if status is None:
                ended, code = os.waitpid(pid, os.WNOHANG)
                status = code if ended else None
            elif not ready:
                break  # it has ended, and a child of it holds the pipes
    while status is None and time.monotonic() < deadline:
        ended, code = os.waitpid(pid, os.WNOHANG)
        status = code if ended else None
        time.sleep(0.002)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    hung = status is None
    if hung:
        status = os.waitpid(pid, 0)[1]
    os.close(out)
    os.close(err)
    ended_with = None if hung else os.waitstatus_to_exitcode(status or 0)
    return ended_with, b"".join(parts[out]), b"".join(parts[err])


def preload(commands: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Import the modules that these commands import, so that forked processes have them."""
    vega_script()  # once: forked processes have too few addresses for its engine
    for name, arguments in commands.items():
        call = functools.partial(_name_modules, name, arguments)
        done = run_function(call, [name], folder=folder)
        for module in done.text.split():
            if module.partition(".")[0] not in ("tensorflow", "keras", "__main__"):
                with suppress(ImportError):
                    importlib.import_module(module)


def _name_modules(name: str, arguments: Sequence[str]) -> None:
    """Run a command without its output, and print the modules that are imported then."""
    sys.argv = [f"xray_hpc/{name}.py", *arguments]
    with open(os.devnull, "w") as null, redirect_stdout(null), suppress(SystemExit):
        importlib.import_module(f"xray_hpc.{name}").entry()
    print("\n".join(sys.modules))
