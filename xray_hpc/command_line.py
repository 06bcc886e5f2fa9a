"""The command-line conventions that all verbs share: help, exit codes, one-line errors."""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from xray_hpc.absolute_path import absolute_path
from xray_hpc.errors import ConfigError, StorageError, UserError, nearest
from xray_hpc.printable import escape_output, printable
from xray_hpc.records import exit_codes
from xray_hpc.standard_streams import protect_standard_streams, write_error
from xray_hpc.system_errors import advice, describe_system_error

HELP_WIDTH = 80  # columns
END_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Parser(argparse.ArgumentParser):
    """Reports a usage error as every other mistake is reported: in one line, exit code 2.

    Use ``parse_intermixed_args``, which takes options between the other arguments.
    """

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"^unrecognized arguments:.*?(--[^\s=]+)", message)
        options = [name for name in self._option_string_actions if name.startswith("--")]
        hint = nearest(unknown[1], options) if unknown else ""
        raise ConfigError(f"{message}{hint} (see {self.prog} --help)")


def make_parser(verb: str, description: str, *, examples: str = "", notes: str = "") -> Parser:
    """Return an argument parser for ``python -m xray_hpc.<verb>``.

    ``examples`` (command lines with a remark each) are shown as they are, the other texts wrapped.
    """
    epilog = []
    if examples:
        epilog.append(f"examples:\n{textwrap.indent(textwrap.dedent(examples).strip(), '  ')}")
    if notes:
        epilog.append(textwrap.fill(notes, HELP_WIDTH))
    return Parser(
        prog=f"python -m xray_hpc.{verb}",
        description=textwrap.fill(description, HELP_WIDTH),
        epilog="\n\n".join(epilog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


SWEEP_HELP = "a sweep's name or folder"
RUN_HELP = "a run's folder, or the start of its name, or SWEEP/RUN"


def expand_home(text: str) -> Path:
    """Return a path, with the ``~`` that a shell leaves in ``--option=~/x`` expanded."""
    return absolute_path(text) if text.startswith("~") else Path(text)


def add_results_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--results``, the folder that holds the sweeps."""
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        type=expand_home,
        default=Path("results"),
        help="folder that holds the sweeps (default: %(default)s)",
    )


def _print_error(line: str) -> None:
    print("error:", printable(line), file=sys.stderr)
    if write_error(sys.stderr):  # on a full disk; stdout may be elsewhere
        print("error:", printable(line))


class _LevelFormatter(logging.Formatter):
    """Formats a log record as ``warning: MESSAGE``."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {printable(super().format(record))}"


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise ``KeyboardInterrupt(number)`` on SIGTERM and SIGHUP, as on Ctrl-C."""
    # nohup ignores SIGHUP; keep that.
    numbers = [number for number in END_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: object) -> NoReturn:
    raise KeyboardInterrupt(number)


def discard_stdout() -> None:
    """Discard what stdout holds and will get: Python flushes it at exit, which could fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(
    main: Callable[[], int | None],
    report: Callable[[str], None] = _print_error,
    *,
    job: bool = False,
) -> NoReturn:
    """Call a command's ``main`` and exit with its return value (``None`` is 0).

    A ``UserError`` is reported in one line and exits with 2, and so is an error of the machine (see
    ``system_errors``) and output that stdout cannot take, as on a full disk. A ``job`` exits with
    74 where storage fails, and ignores errors on stdout: its log is not its result.
    Ctrl-C, a signal (if :func:`interruptible`) and a closed pipe (``| head``) exit silently with
    128 + the signal's number, as in a shell.
    Any other exception is a bug and keeps its traceback. Characters that a terminal would
    interpret, or that stdout's encoding lacks, are printed as escapes. Warnings go to stderr,
    unless logging is configured already.
    """
    # A notebook's value names a module that this Python may lack; Matplotlib would not even load.
    os.environ.pop("MPLBACKEND", None)
    os.environ["MATPLOTLIBRC"] = os.devnull  # nor with a file of the user's that is not UTF-8
    protect_standard_streams()
    package = logging.getLogger("xray_hpc")
    if not package.handlers:
        package.addHandler(logging.StreamHandler())
        package.handlers[0].setFormatter(_LevelFormatter())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    escape_output()
    try:
        code = _exit_code(main)
        if not job and (lost := write_error(sys.stdout)):
            report(f"cannot write to stdout: {lost.strerror}; {advice(lost)}")
            code = code or 2
    except UserError as error:
        report(" ".join(str(error).splitlines()))
        code = exit_codes.STORAGE_ERROR if job and isinstance(error, StorageError) else 2
    except KeyboardInterrupt as interrupt:
        code = 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    except BrokenPipeError:
        discard_stdout()
        code = 141
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        problem = describe_system_error(error)
        if problem is None:
            raise
        report(" ".join(problem.splitlines()))
        code = exit_codes.STORAGE_ERROR if job and isinstance(error, OSError) else 2
    sys.exit(code)


def _exit_code(main: Callable[[], int | None]) -> int | str | None:
    """Call ``main``, which may exit by itself, and flush stdout."""
    try:
        code: int | str | None = main()
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    return code
