"""Launch a sweep with Hydra's official Slurm plugin, in a separate environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks import sweep_commands
from tests.benchmarks.paused_cluster import PausedCluster, SkippedError
from tests.benchmarks.timing import REPOSITORY

PLUGIN = "hydra-submitit-launcher"
APP = Path(__file__).parent / "official_plugin_app.py"
INSTALL_SECONDS = 300.0
LAUNCH_SECONDS = 1800.0


def install() -> Path:
    """Install the plugin in an environment below build/ if necessary; return its Python.

    Raises:
        SkippedError: it cannot be installed here.
    """
    folder = REPOSITORY / "build" / PLUGIN
    python, installed = folder / "bin" / "python", folder / "installed"
    wanted = [PLUGIN, *(f"{name}=={version(name)}" for name in ("hydra-core", "submitit"))]
    if installed.exists() and installed.read_text().split() == wanted:
        return python
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *wanted]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], pip):
        try:
            subprocess.run(command, stdout=sys.stderr, check=True, timeout=INSTALL_SECONDS)
        except subprocess.SubprocessError as error:
            raise SkippedError(f"{PLUGIN} cannot be installed here") from error
    installed.write_text("\n".join(wanted))
    return python


def launch(python: Path, cluster: PausedCluster, results: Path, size: int) -> str | None:
    """Launch until all runs are queued; return the error of ``sbatch`` if it submitted nothing.

    The plugin would wait for all runs to end, so it is killed when they are queued.

    Raises:
        RuntimeError: the plugin fails without asking Slurm.
    """
    results.mkdir(parents=True)
    words = [*sweep_commands.axes(size), "cluster=slurm", f"hydra.sweep.dir={results}"]
    chosen = ["hydra/launcher=submitit_slurm", "hydra/sweeper=basic"]
    log_file = results.with_suffix(".log")
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [python, APP, "-m", *words, *chosen],
            cwd=results.parent,
            env=os.environ | cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        submitted = _wait(process, cluster)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return None if submitted else _sbatch_error(log_file.read_text(errors="replace"))


def _wait(process: subprocess.Popen[bytes], cluster: PausedCluster) -> bool:
    """Wait until jobs are queued or the process ends; return whether jobs are queued."""
    end = time.monotonic() + LAUNCH_SECONDS
    while time.monotonic() < end:
        ended = process.poll() is not None
        # The queue is read only after sbatch, so that its CPU time does not distort the result.
        if cluster.calls()["sbatch"] and cluster.ask("squeue", "--noheader"):
            return True
        if ended:
            return False
        time.sleep(0.1)
    raise RuntimeError(f"{PLUGIN} submitted nothing within {LAUNCH_SECONDS:g} s")


def _sbatch_error(output: str) -> str:
    errors: list[str] = re.findall(r"sbatch: error: (.+)", output)
    if not errors:
        raise RuntimeError(f"{PLUGIN} fails without asking Slurm:\n{output}")
    return errors[-1].strip()
