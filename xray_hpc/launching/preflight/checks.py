"""Check that a sweep's jobs can run on the cluster, before anything is created.

Requests that Slurm would leave in the queue for ever (a time limit above the partition's) are
refused here; ``sbatch --test-only`` checks the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xray_hpc.errors import NodeUnavailableError, SlurmError, SlurmUnavailableError
from xray_hpc.launching.code_snapshot import check_snapshot
from xray_hpc.launching.plan import Plan
from xray_hpc.launching.preflight.disk_space import check_disk_space
from xray_hpc.launching.preflight.job_python import check_job_python
from xray_hpc.launching.preflight.node_fit import check_node_fit
from xray_hpc.launching.preflight.partition_access import usable_partitions
from xray_hpc.launching.preflight.resource_request import cpu_request, gpu_request
from xray_hpc.slurm.client import run_command
from xray_hpc.slurm.environment import submission_environment
from xray_hpc.slurm.sacctmgr import read_accounting
from xray_hpc.slurm.scontrol import nodes, partitions, settings


def check_plan(plan: Plan, tasks: int) -> list[str]:
    """Check what ``tasks`` jobs of this plan need; return notes on what may go wrong.

    Raises:
        ConfigError: a requested resource does not exist, is not allowed or is too small.
        StorageError: the disk lacks space.
        SlurmUnavailableError: Slurm does not answer.
    """
    cluster = plan.settings.cluster
    notes: list[str] = []
    config, known, machines = settings(), partitions(), nodes()
    accounting = read_accounting(config)
    for request in (gpu_request(cluster), cpu_request(cluster)):
        usable = usable_partitions(request, known, config, accounting)
        notes += check_node_fit(request, usable, machines)
    runs = min(len(plan.runs), tasks * cluster.runs_per_job)
    notes += check_disk_space(plan.settings, [run.config for run in plan.runs[:runs]])
    if not plan.settings.dry_run:
        notes += check_job_python(cluster)
    if cluster.snapshot:
        notes += check_snapshot()
    return list(dict.fromkeys(notes))


def check_script(script: str, extra: Mapping[str, Any] | None = None) -> None:
    """Ask Slurm whether it would accept a batch script, without submitting it.

    Slurm's message names no option, so the error lists those of ``cluster.extra`` in the script.

    Raises:
        SlurmError: Slurm would refuse it.
        SlurmUnavailableError: Slurm does not answer.
    """
    try:
        environment = submission_environment(script)
        run_command(["sbatch", "--test-only"], stdin=script, environment=environment)
    except NodeUnavailableError:
        # Nodes that fit exist, as checked before, but are drained now: sbatch accepts the job.
        return
    except SlurmUnavailableError:
        raise
    except SlurmError as error:
        given = ", ".join(f"{name}: {value}" for name, value in (extra or {}).items())
        options = f"; check cluster.extra={{{given}}}" if given else ""
        raise type(error)(f"sbatch refuses the job: {error}{options}") from error
