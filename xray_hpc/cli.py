"""How every command ends: its exit code, and one line for a mistake of the user's."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from xray_hpc.errors import UserError


def run(main: Callable[[], int | None]) -> NoReturn:
    """Call a command's ``main`` and exit with what it returns (``None`` is 0).

    ``UserError`` prints ``error: <line>`` to stderr and exits with 2. Ctrl-C exits with 130, and
    a reader that closed the pipe (``| head``) with 141, as the shell has it for SIGINT and
    SIGPIPE, both quietly. Any other exception is a bug and keeps its traceback. A letter that
    stdout's encoding lacks is printed as its code.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = main()
        sys.stdout.flush()
    except UserError as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # Python flushes stdout once more at exit; without this it would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)
