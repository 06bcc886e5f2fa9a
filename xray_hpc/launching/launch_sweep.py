"""Launching a planned sweep: make its run folders, then run or submit what still needs to run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import ConfigError, NoClusterError, StorageError, UserError
from xray_hpc.launching import code_snapshot, local, on_slurm
from xray_hpc.launching.announce import show, show_cached_features
from xray_hpc.launching.plan import Plan, data_sets, shared_extractors
from xray_hpc.launching.run_folders import make_folder, prepare
from xray_hpc.monitoring.run_state import LaunchDecision, decide_launch
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import is_storage_failure
from xray_hpc.records.launch_lock import launch_lock
from xray_hpc.records.paths import SweepPaths
from xray_hpc.resources import resource
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm.client import QueuedJob


def launch(plan: Plan, command: Sequence[str] | None, *, wait_for_lock: bool = False) -> int:
    """Launch the sweep; give the exit code: 0, or 1 where a run that was waited for did not finish.

    ``command`` is what the user typed, for ``sweep.yaml``, which is left alone without one.

    Raises:
        UserError: another launch is at work on this sweep, Slurm refuses the jobs, or the sweep's
            folder cannot be written to.
    """
    sweep, kind = plan.sweep, _kind(plan.settings.cluster)
    for note in (*plan.notes, *_check(plan, kind)):
        print("note:", note)
    if plan.settings.dry_run:
        return _dry_run(plan, kind)
    with _writing(sweep), launch_lock(sweep, wait=wait_for_lock) as lock:
        queue = on_slurm.settled_queue(sweep) if kind == "slurm" else {}
        decisions = decide_all(plan, queue)
        todo = [name for name, decision in decisions.items() if decision.run]
        # With nothing to start, the words that would have started it are not to be remembered.
        prepare(plan, command if todo or not sweep.sweep_yaml.exists() else None, set(todo))
        show(sweep, decisions, plan.overrides)
        show_cached_features(plan, todo)
        code = _code(plan, todo)
        if kind == "local":
            return _run_here(plan, todo, code)
        if kind == "slurm":
            on_slurm.submit(plan, todo, queue, lock, code)
    if kind == "none":
        print(f"made {sweep.runs}; nothing was started (cluster=none)")
    elif plan.settings.wait:
        from xray_hpc.launching.wait import wait_for  # shows runs as status does

        return wait_for(sweep, [run.name for run in plan.runs])
    return 0


def _kind(cluster: ClusterConfig) -> str:
    """Where the runs go.

    Raises:
        UserError: they would go here, although the command speaks of a Slurm cluster.
    """
    kind = resolve_kind(cluster.kind)
    if cluster.kind == "auto" and kind == "local":
        for key in ("partition", "account", "qos", "constraint"):
            if (value := getattr(cluster, key)) is not None:
                raise ConfigError(
                    f"cluster.{key}={value} needs Slurm, but no Slurm cluster was found on this "
                    "host; load its module, or use cluster=local"
                )
    return kind


def resolve_kind(kind: str) -> str:
    """What ``auto`` stands for on this machine."""
    if kind == "auto":
        return "slurm" if slurm.is_available() else "local"
    if kind == "slurm" and not slurm.is_available():
        raise NoClusterError("No Slurm cluster found on this host; use cluster=local")
    return kind


def _check(plan: Plan, kind: str) -> list[str]:
    """Refuse what could not run; give notes."""
    if kind == "slurm":
        left = sum(decision.run for decision in decide_all(plan, {}).values())
        return on_slurm.check(plan, left)
    return code_snapshot.check() if kind == "local" and plan.settings.cluster.snapshot else []


@contextmanager
def _writing(sweep: SweepPaths) -> Iterator[None]:
    """Make the sweep's folder; where the block fails with nothing launched, take it back.

    Raises:
        UserError: it cannot be written to.
    """
    existed = sweep.folder.exists()
    make_folder(sweep.folder)
    try:
        yield
    except UserError:
        if not existed and not on_slurm.anything_open(sweep):
            shutil.rmtree(sweep.folder, ignore_errors=True)
        raise
    except OSError as error:
        if not is_storage_failure(sweep.folder, error):
            raise
        where = error.filename or sweep.folder
        raise StorageError(
            f"cannot write to {where} ({error.strerror}); see to it, and launch again"
        ) from error


def decide_all(plan: Plan, queue: Mapping[str, QueuedJob]) -> dict[str, LaunchDecision]:
    """Whether to run each run of the plan, by name."""
    sweep = plan.sweep
    told = ledger.read(sweep)
    jobs = told.jobs()
    return {
        name: decide_launch(sweep.run(name), jobs.get(name), queue, told.cancelled.get(name))
        for name in (run.name for run in plan.runs)
    }


def _code(plan: Plan, todo: Sequence[str]) -> Path | None:
    """Where the jobs' code is, if not where this process has it from."""
    if not todo or not plan.settings.cluster.snapshot:
        return None
    here, kept = resource("jobs").parent, plan.sweep.code
    return here if here.is_relative_to(kept) else code_snapshot.take(kept)


def _run_here(plan: Plan, todo: Sequence[str], code: Path | None) -> int:
    sweep = plan.sweep
    failed = 0
    if todo:
        if exit_code := local.stage(data_sets(plan, todo), code):
            return exit_code
        if (folders := shared_extractors(plan, todo)) and (
            ended := local.compute_features(folders, code)
        ):
            print(
                f"note: the features job ended with code {ended}; runs compute what they need of it"
            )
        parallel = plan.settings.cluster.parallel or 1
        failed = local.run_all([sweep.run(name) for name in todo], parallel, code)
    collected = local.collect(sweep, code)
    return collected or int(failed > 0)


def _dry_run(plan: Plan, kind: str) -> int:
    """Show the table of runs and the batch scripts; write nothing."""
    decisions = decide_all(plan, slurm.queued_jobs() if kind == "slurm" else {})
    todo = [name for name, decision in decisions.items() if decision.run]
    show(plan.sweep, decisions, plan.overrides, all_runs=True)
    show_cached_features(plan, todo)
    if kind == "slurm" and todo:
        on_slurm.show_scripts(plan, todo)
    print("\ndry_run=true: nothing was made or submitted")
    return 0
