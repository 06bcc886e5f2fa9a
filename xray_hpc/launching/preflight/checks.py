"""Whether the jobs of a sweep can run on the cluster, found out before anything is made.

What Slurm would leave in the queue for ever (a time limit above the partition's) is refused here;
what only Slurm can judge, ``sbatch --test-only`` is asked.
"""

from __future__ import annotations

from xray_hpc.errors import (
    NodeUnavailableError,
    SlurmError,
    SlurmUnavailableError,
)
from xray_hpc.launching import code_snapshot, job_python
from xray_hpc.launching.plan import Plan
from xray_hpc.launching.preflight import disk_space, node_fit, permissions
from xray_hpc.launching.preflight.resource_request import cpu_demand, runs_demand
from xray_hpc.slurm.client import run_command, submission_environment
from xray_hpc.slurm.sacctmgr import read_accounting
from xray_hpc.slurm.scontrol import nodes, partitions, settings


def check(plan: Plan, tasks: int) -> list[str]:
    """Check what ``tasks`` jobs of this plan need; give notes on what may go wrong.

    Raises:
        UserError: something is not there, not allowed or not enough; or Slurm does not answer.
    """
    cluster = plan.settings.cluster
    notes: list[str] = []
    said, there, machines = settings(), partitions(), nodes()
    allowed = read_accounting(said)
    for demand in (runs_demand(cluster), cpu_demand(cluster)):
        usable = permissions.partitions(demand, there, said, allowed)
        notes += node_fit.check(demand, usable, machines)
    runs = min(len(plan.runs), tasks * cluster.runs_per_job)
    notes += disk_space.check(plan.settings, [run.config for run in plan.runs[:runs]])
    if not plan.settings.dry_run:
        notes += job_python.check(cluster)
    if cluster.snapshot:
        notes += code_snapshot.check()
    return list(dict.fromkeys(notes))


def test_only(script: str) -> None:
    """Ask Slurm whether it would take a batch script; nothing is submitted.

    Raises:
        UserError: it would not, or does not answer.
    """
    try:
        with submission_environment():
            run_command(["sbatch", "--test-only"], stdin=script)
    except NodeUnavailableError:
        # Nodes that fit exist, as checked before, but are drained now: sbatch accepts the job.
        return
    except SlurmUnavailableError:
        raise
    except SlurmError as error:
        raise type(error)(f"sbatch refuses the job: {error}") from error
