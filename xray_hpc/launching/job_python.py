"""Whether the Python of the jobs has this package."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import ConfigError
from xray_hpc.launching import code_snapshot
from xray_hpc.records.code_state import ROOT

PATIENCE_SECONDS = 60.0
NO_CONTAINER = 93
OF_A_JOB = re.compile(r"\$\{?(SLURM\w*|CUDA_VISIBLE_DEVICES)")
# A job's script does not look into the folder that it starts in.
IMPORT = """\
import sys
from importlib.util import find_spec
sys.path = [folder for folder in sys.path if folder]
import xray_hpc
for name in ("tensorflow", "keras", "hydra", "pandas", "matplotlib", "sklearn", "h5py", "cv2"):
    if find_spec(name) is None:
        sys.exit(f"No module named '{name}'")
"""


def check(cluster: ClusterConfig) -> list[str]:
    """Import xray_hpc as a job would, where ``setup``, ``container`` or ``python`` is set.

    A note says where that cannot be tried: ``setup`` wants to be in a job, what it does takes long,
    or the container's program is only on the nodes.

    Raises:
        UserError: it cannot be imported.
    """
    if not (cluster.setup or cluster.container or cluster.python):
        return []
    given = [key for key in ("setup", "container", "python") if getattr(cluster, key)]
    keys = " and ".join(f"cluster.{key}" for key in given)
    if variable := next(filter(None, map(OF_A_JOB.search, cluster.setup)), None):
        return [f"cluster.setup uses ${variable[1]}, which only a job has; could not try python"]
    code, said = _run(_script(cluster), cluster.snapshot)
    if code == NO_CONTAINER:
        program = _program(str(cluster.container))
        return [f"cluster.container: there is no {program} on this machine; could not try it"]
    if code is None:
        return [f"{keys}: python is not there after {PATIENCE_SECONDS:g} s; could not try it"]
    if code != 0:
        last = said.strip().splitlines()[-1:] or [f"it ended with code {code}"]
        raise ConfigError(
            f"{keys}: that python cannot run xray_hpc ({' '.join(last[0].split())}); install "
            "it there (pip install -e .), or name another"
        )
    return []


def call(cluster: ClusterConfig) -> str:
    """How a node calls the Python of the jobs, as shell words."""
    python = cluster.python or ("python" if cluster.container else shlex.quote(sys.executable))
    return f"{cluster.container} {python}" if cluster.container else python


def _script(cluster: ClusterConfig) -> str:
    lines = [*cluster.setup]
    if cluster.container:
        program = shlex.quote(_program(cluster.container))
        lines.append(f"command -v {program} >/dev/null || exit {NO_CONTAINER}")
    return "\n".join([*lines, f"{call(cluster)} -c {shlex.quote(IMPORT)}"])


def _program(container: str) -> str:
    """The program in what stands before python: ``apptainer`` of ``A=1 apptainer exec x.sif``."""
    return next((word for word in container.split() if "=" not in word), container)


def _run(script: str, of_snapshot: bool) -> tuple[int | None, str]:
    """The exit code of a bash script (``None``: it took too long) and what it said."""
    environment = code_snapshot.environment(ROOT) if of_snapshot else {}
    process = subprocess.Popen(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | environment,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, ""
    return process.returncode, said
