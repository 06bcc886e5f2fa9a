"""Check that the Python of the jobs can import this package."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Sequence

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.secret_values import mask_text
from xray_hpc.errors import ConfigError
from xray_hpc.launching.batch_job import python_command
from xray_hpc.launching.code_snapshot import snapshot_environment
from xray_hpc.records.code_state import ROOT
from xray_hpc.slurm import proxy

TIMEOUT_SECONDS = 60.0
NO_CONTAINER = 93
LINE_FAILED = "failed line of cluster.setup: "
JOB_VARIABLES = re.compile(r"\$\{?(SLURM\w*|CUDA_VISIBLE_DEVICES)")
IMPORTED = "xray_hpc was imported"
# A job's script does not import from its working folder.
IMPORT = """\
import sys
from importlib.util import find_spec
sys.path = [folder for folder in sys.path if folder]
import xray_hpc
for name in ("tensorflow", "keras", "hydra", "pandas", "matplotlib", "sklearn", "h5py", "cv2"):
    if find_spec(name) is None:
        sys.exit(f"No module named '{name}'")
print("IMPORTED")
""".replace("IMPORTED", IMPORTED)


def check_job_python(cluster: ClusterConfig) -> list[str]:
    """Import xray_hpc as a job would, if ``setup``, ``container`` or ``python`` is set.

    Returns:
        Notes: on lines of ``setup`` that fail here; or that the import cannot be tested here,
        because ``setup`` needs a job's variables or takes too long, or the container's program
        exists only on the nodes.

    Raises:
        ConfigError: the import fails or is not executed, or ``setup`` has a syntax error.
    """
    names = [key for key in ("setup", "container", "python") if getattr(cluster, key)]
    if not names or proxy.in_container():  # a collect job has that python
        return []
    _check_syntax(cluster.setup)
    keys = " and ".join(f"cluster.{name}" for name in names)
    if variable := next(filter(None, map(JOB_VARIABLES.search, cluster.setup)), None):
        return [f"cluster.setup uses ${variable[1]}, which only jobs have; python was not tested"]
    code, output = _run(_script(cluster), cluster.snapshot)
    if code == NO_CONTAINER:
        program = _program(str(cluster.container))
        return [f"cluster.container: no {program} on this host; python was not tested"]
    if code is None:
        return [f"{keys}: python did not start within {TIMEOUT_SECONDS:g} s; it was not tested"]
    failed = _failed_lines(output, cluster.setup)
    if code != 0:
        last = output.strip().splitlines()[-1:] or [f"exit code {code}"]
        problem = f"{keys}: that python cannot import xray_hpc ({' '.join(last[0].split())})"
        problem = "; ".join([*failed[:1], problem])
        raise ConfigError(f"{problem}; install it there (pip install -e .), or choose another")
    if IMPORTED not in output.splitlines():
        problem = f"{keys}: python does not receive its arguments, such as the script to run"
        raise ConfigError(f"{problem}; it must run the words that follow it as a command")
    return failed


def _check_syntax(setup: Sequence[str]) -> None:
    for line in setup:
        done = subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True)
        if done.returncode != 0:
            error = " ".join(done.stderr.split()).removeprefix("bash: -c: ")
            problem = (
                f"cluster.setup has {mask_text(line)!r}, which is not a complete command ({error})"
            )
            raise ConfigError(f"{problem}; write a command of several lines as one item")


def _failed_lines(output: str, setup: Sequence[str]) -> list[str]:
    """Return a note on each line of ``setup`` that failed, with what it printed last."""
    notes, before = dict[int, str](), ""
    for text in output.splitlines():
        if text.startswith(LINE_FAILED):
            reason = f" ({before})" if before else ""
            index, code = map(int, text.removeprefix(LINE_FAILED).split())
            ended = f"{mask_text(setup[index])!r} ended with exit code {code} on this host{reason}"
            notes.setdefault(index, f"cluster.setup: {ended}; on a node that ends the attempt")
        before = " ".join(text.split()) or before
    return list(notes.values())


def _script(cluster: ClusterConfig) -> str:
    """Return a bash script that imports the package as a job would."""
    failed = f'[ ${{#BASH_SOURCE[@]}} -gt 0 ] || printf "\\n{LINE_FAILED}$index $code\\n"'
    lines = [f"trap 'code=$?; {failed}' ERR # not in a sourced file"]
    lines += [f"index={n}; eval {shlex.quote(line)}" for n, line in enumerate(cluster.setup)]
    lines.append("trap - ERR")
    if cluster.container:
        program = shlex.quote(_program(cluster.container))
        lines.append(f"command -v {program} >/dev/null || exit {NO_CONTAINER}")
    return "\n".join([*lines, f"{python_command(cluster)} -c {shlex.quote(IMPORT)}"])


def _program(container: str) -> str:
    """Return the container's program: ``apptainer`` for ``A=1 apptainer exec x.sif``."""
    return next((word for word in container.split() if "=" not in word), container)


def _run(script: str, with_snapshot: bool) -> tuple[int | None, str]:
    """Run a bash script; return its exit code (``None`` after a timeout) and its output."""
    process = subprocess.Popen(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | (snapshot_environment(ROOT) if with_snapshot else {}),
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, ""
    return process.returncode, output
