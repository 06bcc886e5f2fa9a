"""Run Slurm's commands from inside a container: ``jobs/slurm_proxy.sh`` runs them on the node."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from xray_hpc.errors import SlurmUnavailableError

FOLDER_VARIABLE = "XRAY_HPC_SLURM_PROXY"
POLL_SECONDS = 0.02
_INITIAL_ENVIRONMENT = dict(os.environ)


def in_container() -> bool:
    """Return whether this process runs in a container, with the proxy outside."""
    return FOLDER_VARIABLE in os.environ


def is_installed(program: str) -> bool:
    """Return whether a command of Slurm can be run, here or by the proxy."""
    return in_container() or shutil.which(program) is not None


def run_outside(
    command: Sequence[str], stdin: str, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command outside of the container, and return its result.

    Of ``environment``, what this process has changed applies; the rest is as outside.

    Raises:
        SlurmUnavailableError: the proxy has ended.
        subprocess.TimeoutExpired: the command takes longer than ``timeout`` seconds.
    """
    folder = Path(os.environ[FOLDER_VARIABLE])
    request = folder / secrets.token_hex(8)
    try:
        request.write_text(_script(command, environment), encoding="utf-8")
        request.with_suffix(".in").write_text(stdin, encoding="utf-8")
        pipe = os.open(folder / "requests", os.O_WRONLY | os.O_NONBLOCK)
        with open(pipe, "wb", buffering=0) as requests:
            requests.write(f"{request.name}\n".encode())
        _wait_for(request.with_suffix(".code"), command, timeout)
        out, err, code = (
            request.with_suffix(suffix).read_text(encoding="utf-8", errors="replace")
            for suffix in (".out", ".err", ".code")
        )
    except OSError as error:
        reason = f"{command[0]}: slurm_proxy.sh outside of the container: {error.strerror}"
        raise SlurmUnavailableError(reason) from error
    return subprocess.CompletedProcess(list(command), int(code), out, err)


def _script(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return a bash script that runs the command with this process's changes of the environment."""
    removed = [name for name in _INITIAL_ENVIRONMENT if name not in environment]
    changed = {k: v for k, v in environment.items() if _INITIAL_ENVIRONMENT.get(k) != v}
    lines = [f"unset -v {shlex.quote(name)}" for name in removed]
    lines += [f"export {shlex.quote(f'{name}={value}')}" for name, value in changed.items()]
    return "\n".join([*lines, f"exec {shlex.join(command)}", ""])


def _wait_for(file: Path, command: Sequence[str], timeout: float) -> None:
    end = time.monotonic() + timeout
    while not file.exists():
        if time.monotonic() > end:
            raise subprocess.TimeoutExpired(list(command), timeout)
        time.sleep(POLL_SECONDS)
