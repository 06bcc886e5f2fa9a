"""Train one run on this machine: ``python -m xray_hpc.train model=ft train.learning_rate=1e-5``.

For a laptop, a shell on a GPU node (``srun --pty bash``) or a batch script of your own. The run
folder is the same as that of a launched run; a finished run is not trained again.
"""

from __future__ import annotations

import sys

from xray_hpc import command_line, job_logging
from xray_hpc.config import hydra_app
from xray_hpc.errors import ConfigError, StorageError
from xray_hpc.launching.plan import make_plan
from xray_hpc.launching.run_folders import check_folders, create_run_folders, make_results_folder
from xray_hpc.monitoring.run_state import decide_launch, read_evidence
from xray_hpc.records.atomic_files import storage_errors
from xray_hpc.records.launch_lock import launch_lock
from xray_hpc.worker.worker import run_worker


def _train(composed: hydra_app.Composed) -> int:
    plan = make_plan([(composed.overrides, composed.values)], default_name=composed.sweep_name)
    if plan.settings.dry_run:
        raise ConfigError("dry_run applies to a launch; use --cfg job to show the configuration")
    check_folders(plan.settings, "local")
    (run,) = plan.runs
    paths = plan.sweep.run(run.name)
    make_results_folder(plan.sweep.folder)
    with storage_errors(plan.sweep.folder), launch_lock(plan.sweep, wait=True):
        decision = decide_launch(read_evidence(paths))
        if decision.blocked:
            raise StorageError(f"{paths.folder} is {decision.reason}, and run again")
        fresh = {run.name} if decision.run else set[str]()
        # Training a run by hand does not change the command that resumes the sweep.
        create_run_folders(plan, None if plan.sweep.sweep_yaml.exists() else sys.argv[1:], fresh)
    print(f"run folder: {paths.folder}", flush=True)
    job_logging.configure()
    return run_worker([paths], plan.settings.cluster)


def main() -> int:
    """Run the command, which takes one configuration."""
    return hydra_app.compose_and_call(_train, hydra_app.parse_single("train"))


def entry() -> None:
    """Run the installed command ``xray-train``."""
    command_line.run(main)


if __name__ == "__main__":
    entry()
