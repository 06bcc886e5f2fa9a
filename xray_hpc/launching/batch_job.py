"""A batch job of a sweep: its Slurm options and the text of its batch script."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_hpc.absolute_path import shell_path, working_folder
from xray_hpc.config.cluster_config import ClusterConfig, minutes
from xray_hpc.launching.batch_shell import checked_setup, conclude_features, conclude_run
from xray_hpc.package_folders import resource
from xray_hpc.records.paths import SweepPaths

SLURM_PROXY = "slurm_proxy.sh"
FEATURES_SIGNAL_SECONDS = 30  # before its time limit; each block of features is saved at once


@dataclass(frozen=True)
class BatchJob:
    """A job, or an array of jobs, to submit.

    Attributes:
        kind: ``stage``, ``features``, ``runs`` or ``collect``.
        arguments: the command-line arguments of the kind's script in ``jobs/``.
        tasks: for ``runs``, the names of the runs of each array task.
        after: ids of the jobs that must end first, in whatever state.
        throttle: how many array tasks may run at once; ``None`` for all.
        code: the code snapshot to execute; ``None`` for this installation.
        begin: the earliest start, as ``sbatch --begin`` takes it.
    """

    sweep: SweepPaths
    kind: str
    cluster: ClusterConfig
    arguments: tuple[str, ...] = ()
    tasks: tuple[tuple[str, ...], ...] = ((),)
    after: tuple[str, ...] = ()
    throttle: int | None = None
    code: Path | None = None
    begin: str | None = None

    @property
    def title(self) -> str:
        """A short description for messages."""
        if self.kind != "runs":
            return f"{self.kind} job"
        return f"array of {len(self.tasks)} jobs" if len(self.tasks) > 1 else "job of the run"

    @property
    def on_gpu(self) -> bool:
        """Whether it has the resources and options of the runs, not those of ``cpu_job``."""
        return self.kind in ("runs", "features")

    def script(self, folder: Path) -> str:
        """Return the text of the batch script; its logs go to ``folder``."""
        # Late, because local launches do not need it; not SlurmExecutor, which needs srun here.
        from submitit.slurm.slurm import _make_sbatch_string

        options = self.parameters(folder)
        if len(self.tasks) > 1:
            options["map_count"] = len(self.tasks)
        return str(_make_sbatch_string(self._command(folder), folder, **options))

    def parameters(self, folder: Path) -> dict[str, Any]:
        """Return the parameters of submitit's ``SlurmExecutor``."""
        cluster, is_runs = self.cluster, self.kind == "runs"
        on_gpu = self.on_gpu
        resources = cluster if on_gpu else cluster.cpu_job
        here = working_folder()
        extra: dict[str, Any] = {
            "mem": resources.mem,
            "dependency": f"afterany:{':'.join(self.after)}" if self.after else None,
            "begin": self.begin,
            # sbatch passes the real path, which a node may not have.
            "chdir": None if str(here) == os.getcwd() else str(here),
            "requeue": on_gpu,  # whatever the site's default: both kinds resume
        }
        if on_gpu:
            extra |= {"gpus-per-node": cluster.gpus or None} | (cluster.extra or {})
        options = {k: v for k, v in extra.items() if v is not None and v is not False}
        return {
            "job_name": f"{'xray' if is_runs else self.kind}-{self.sweep.name}",
            "partition": (None if on_gpu else cluster.cpu_job.partition) or cluster.partition,
            "account": cluster.account,
            "qos": cluster.qos,
            "constraint": cluster.constraint if on_gpu else None,
            "time": minutes(resources.time, f"cluster{'' if on_gpu else '.cpu_job'}.time"),
            "nodes": 1,
            "ntasks_per_node": 1,
            "cpus_per_task": resources.cpus,
            # From Slurm 22.05 srun does not inherit --cpus-per-task from sbatch; and with
            # sbatch --export=NONE it would start the task with an empty environment.
            "srun_args": [f"--cpus-per-task={resources.cpus}", "--export=ALL"],
            "setup": self._setup(folder) or None,
            "teardown": ["conclude $?"] if on_gpu else None,
            "signal_delay_s": cluster.signal_time if is_runs else FEATURES_SIGNAL_SECONDS,
            "stderr_to_stdout": True,
            "wckey": None,
            "array_parallelism": self.throttle or len(self.tasks),
            "additional_parameters": options,
        }

    def _setup(self, folder: Path) -> list[str]:
        """Return the shell lines before the command."""
        lines = checked_setup(self.cluster.setup, folder)
        if self.kind == "runs":
            moves = self.cluster.on_failure.node_failure != "stop"
            lines = [*conclude_run(self._command(folder), folder, try_another_node=moves), *lines]
        elif self.kind == "features":
            lines = [*conclude_features(folder), *lines]
        elif lines:
            lines = ['conclude() { exit "$1"; }', *lines]
        if self.code is None:
            return lines
        # As code_snapshot.snapshot_environment, but on top of the node's own PYTHONPATH.
        inherited = "${PYTHONPATH:+:$PYTHONPATH}"
        path = f"export PYTHONPATH={shlex.quote(str(self.code))}{inherited}"
        return [path, "export PYTHONSAFEPATH=1", *lines]

    def _command(self, folder: Path) -> str:
        """Return the shell command that executes the kind's script."""
        jobs = resource("jobs") if self.code is None else self.code / "jobs"
        script = jobs / ("run.py" if self.kind == "runs" else f"{self.kind}.py")
        words = ["--submission", str(folder)] if self.kind == "runs" else self.arguments
        command = (
            f"{python_command(self.cluster)} -u {shlex.quote(str(script))} {shlex.join(words)}"
        )
        if self.cluster.container:
            command = f"{shlex.join(['bash', str(folder / SLURM_PROXY), str(folder)])} {command}"
        return command


def python_command(cluster: ClusterConfig) -> str:
    """Return how a node calls the jobs' Python, as shell words."""
    python = cluster.python or (
        "python" if cluster.container else shlex.quote(str(shell_path(sys.executable)))
    )
    return f"{cluster.container} {python}" if cluster.container else python
