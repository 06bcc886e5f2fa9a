"""Launch a sweep, locally or on Slurm: ``python -m xray_hpc.launch -m model=cnn,tl,ft``.

The command line is Hydra's: choices, ranges and globs after ``-m`` span the sweep; without ``-m``
one run is launched. Re-running the command resumes the sweep, and so does
``python -m xray_hpc.launch --resume results/NAME``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from xray_hpc import command_line
from xray_hpc.absolute_path import absolute_path
from xray_hpc.config import hydra_app
from xray_hpc.config.compose import HydraSweep, compose_all
from xray_hpc.errors import ConfigError, UserError
from xray_hpc.launching.launch_sweep import launch, resolve_kind
from xray_hpc.launching.plan import Plan, make_plan
from xray_hpc.monitoring.discovery import find_sweep
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_metrics import read_metrics

OWN_SWEEPER = "hydra_plugins.xray_hpc_launching.XraySweeper"


def launch_sweep(sweep: HydraSweep) -> list[JobReturn]:
    """Launch the runs of a sweep that Hydra's command line describes.

    Returns:
        The result of each job (:func:`job_results`) if an optimizing sweeper asked for the runs;
        else nothing, and the process exits with 1 if a run that it waited for did not finish.
    """
    if len({one for overrides in sweep.jobs for one in overrides if one.startswith("sweep=")}) > 1:
        raise ConfigError("sweep= takes one sweep at a time; launch once for each")
    composed = compose_all(sweep.loader, sweep.master, sweep.jobs)
    plan = make_plan(composed, default_name=sweep.default_name)
    if sweep.sweeper == OWN_SWEEPER:
        if code := launch(plan, sys.argv[1:]):
            sys.exit(code)
        return []
    if not plan.settings.wait and resolve_kind(plan.settings.cluster.kind) != "local":
        sweeper = sweep.sweeper.rpartition(".")[2]
        raise ConfigError(
            f"{sweeper} chooses its next runs by the results of these; add wait=true, so that the "
            "launch waits for them"
        )
    sweep.set_folder(plan.sweep.folder)
    launch(plan, sys.argv[1:])
    return job_results(plan, sweep.jobs)


def job_results(plan: Plan, jobs: Sequence[Sequence[str]]) -> list[JobReturn]:
    """Return the result of each job for an optimizing sweeper.

    The result is the validation metric by which ``train.keep`` selects the weights (the loss if
    that is ``last``). A run without one is a failed job.
    """
    configs = {run.name: run.config for run in plan.runs}
    results = []
    for overrides, name in zip(jobs, plan.combinations, strict=True):
        keep = configs[name].train.keep
        metric = "loss" if keep == "last" else keep.removeprefix("val_")
        result = JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)
        try:
            validation = read_metrics(plan.sweep.run(name)).validation
            result.return_value = float(getattr(validation, metric))
        except (OSError, UserError, TypeError) as error:
            result.status = JobStatus.FAILED
            result.return_value = RuntimeError(f"{name} has no validation {metric}: {error}")
        results.append(result)
    return results


def _launch_one(composed: hydra_app.Composed) -> int:
    plan = make_plan([(composed.overrides, composed.values)], default_name=composed.sweep_name)
    return launch(plan, sys.argv[1:])


def main() -> int:
    """Launch one run or resume a sweep; Hydra's launcher calls :func:`launch_sweep` for ``-m``."""
    parser = hydra_app.make_parser("launch")
    parser.add_argument("--resume", metavar="SWEEP")
    parser.add_argument("--trust", action="store_true")
    arguments = parser.parse_intermixed_args()
    if arguments.trust and arguments.resume is None:
        raise ConfigError("--trust has no effect without --resume; leave it out")
    if arguments.resume is None or arguments.help:
        return hydra_app.compose_and_call(_launch_one, arguments)
    for name, value in vars(arguments).items():
        if value and name not in ("resume", "trust", "overrides", "multirun", "run"):
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option} has no effect with --resume; leave it out")
    from xray_hpc.launching.relaunch import resume

    sweep = find_sweep(arguments.resume, Path("results"))
    folder = absolute_path(sweep.folder)
    if folder.is_symlink():  # its name is not that of the sweep
        folder = folder.resolve()
    return resume(SweepPaths(folder), arguments.overrides, trust=arguments.trust)


def entry() -> None:
    """Run the installed command ``xray-launch``."""
    command_line.run(main)


if __name__ == "__main__":
    entry()
