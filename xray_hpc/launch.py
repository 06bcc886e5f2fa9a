"""Launch a sweep, here or on Slurm: ``python -m xray_hpc.launch -m model=cnn,tl,ft``.

Hydra's command line: choices, ranges and globs after ``-m`` span the sweep; without ``-m`` one
run is launched. The same command again goes on where the sweep stands, and so does
``python -m xray_hpc.launch --resume results/NAME``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, open_dict, read_write

from xray_hpc import cli
from xray_hpc.config import hydra_app
from xray_hpc.config.compose import compose_all
from xray_hpc.errors import ConfigError, UserError
from xray_hpc.launching.launch_sweep import launch, resolve_kind
from xray_hpc.launching.plan import Plan, make_plan
from xray_hpc.monitoring.discovery import find_sweep
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.paths import SweepPaths

OWN_SWEEPER = "hydra_plugins.xray_hpc_launching.XraySweeper"


def launch_sweep(
    loader: ConfigLoaderImpl, master: DictConfig, jobs: Sequence[Sequence[str]]
) -> list[JobReturn]:
    """Launch the runs that the overrides in ``jobs`` describe.

    For Hydra's own sweeper it gives nothing, and exits with 1 where a run that was waited for did
    not finish. A sweeper that optimises is given what each run reached (:func:`results`).
    """
    if len({word for words in jobs for word in words if word.startswith("sweep=")}) > 1:
        raise ConfigError("sweep= takes one sweep at a time; launch once for each")
    name = hydra_app.default_sweep_name(master.hydra)
    plan = make_plan(compose_all(loader, master, jobs), default_name=name)
    sweeper = str(master.hydra.sweeper._target_)
    optimises = sweeper != OWN_SWEEPER
    if optimises and not plan.settings.wait and resolve_kind(plan.settings.cluster.kind) != "local":
        short = sweeper.rpartition(".")[2]
        raise ConfigError(
            f"{short} chooses its next runs by the results of these; add wait=true, so that the "
            "launch stays until they have ended"
        )
    if optimises:
        with read_write(master.hydra), open_dict(master.hydra):
            master.hydra.sweep.dir = str(plan.settings.sweep.folder)  # where it saves what it found
    code = launch(plan, sys.argv[1:])
    if optimises:
        return results(plan, jobs)
    if code:
        sys.exit(code)
    return []


def results(plan: Plan, jobs: Sequence[Sequence[str]]) -> list[JobReturn]:
    """What a sweeper that optimises is told of each of its ``jobs``.

    It is the validation loss, accuracy or AUC of the weights that were kept, whichever
    ``train.keep`` names (the loss where that is ``last``); of a run without one, its failure.
    """
    configs = {run.name: run.config for run in plan.runs}
    told = []
    for words, name in zip(jobs, plan.combinations, strict=True):
        paths = plan.settings.sweep.run(name)
        keep = configs[name].train.keep
        measure = "loss" if keep == "last" else keep.removeprefix("val_")
        returned = JobReturn(overrides=list(words), status=JobStatus.COMPLETED)
        try:
            returned.return_value = float(read_json(paths.metrics)["validation"][measure])
        except (OSError, UserError, KeyError, TypeError) as error:
            returned.status = JobStatus.FAILED
            returned.return_value = RuntimeError(f"{name} gave no {measure}: {error}")
        told.append(returned)
    return told


def _launch_one(composed: hydra_app.Composed) -> int:
    plan = make_plan([(composed.words, composed.values)], default_name=composed.sweep_name)
    return launch(plan, sys.argv[1:])


def main() -> int:
    """The command: one run, the sweep that Hydra hands to :func:`launch_sweep`, or one again."""
    words = [part for word in sys.argv[1:] for part in _split_resume(word)]
    match [word for word in words if word not in ("-m", "--multirun") or "--resume" not in words]:
        case ["--resume", sweep, *words]:
            from xray_hpc.launching.resume import resume

            return resume(SweepPaths(find_sweep(sweep, Path("results")).folder.resolve()), words)
        case [*_, "--resume", _] | [*_, "--resume"]:
            raise ConfigError("--resume takes a sweep's folder: --resume results/NAME")
    return hydra_app.compose_and_call(_launch_one)


def _split_resume(word: str) -> list[str]:
    """``--resume=SWEEP`` as two words."""
    return ["--resume", word.partition("=")[2]] if word.startswith("--resume=") else [word]


def entry() -> None:
    """The installed command ``xray-launch``."""
    cli.run(main)


if __name__ == "__main__":
    entry()
