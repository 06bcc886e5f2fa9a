"""Launch a planned sweep: create its run folders, then run or submit what is not finished."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.count_text import format_count
from xray_hpc.errors import ConfigError, LockedError, NoClusterError, UserError
from xray_hpc.launching import local_backend, slurm_backend
from xray_hpc.launching.code_snapshot import check_snapshot, take_snapshot
from xray_hpc.launching.launch_summary import print_cached_features, print_decisions
from xray_hpc.launching.plan import Plan
from xray_hpc.launching.preflight.tensorboard_installed import check_tensorboard
from xray_hpc.launching.run_folders import check_folders, create_run_folders, make_results_folder
from xray_hpc.launching.saved_settings import EXECUTED
from xray_hpc.monitoring.run_state import LaunchDecision, decide_launch, read_runs
from xray_hpc.package_folders import resource
from xray_hpc.printable import printable
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import storage_errors
from xray_hpc.records.launch_lock import launch_lock
from xray_hpc.records.paths import SweepPaths, display_path
from xray_hpc.records.run_record import user_name
from xray_hpc.records.saved_report_settings import read_report_settings
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm.client import QueuedJob


def launch(plan: Plan, command: Sequence[str] | None, *, wait_for_lock: bool = False) -> int:
    """Launch a sweep.

    Args:
        command: the user's command line, for ``sweep.yaml``; ``None`` leaves that file as it is.
        wait_for_lock: wait while another launch works on the sweep, instead of failing.

    Returns:
        The exit code: 0, or 1 if a run that was waited for did not finish, or one is unreadable.

    Raises:
        LockedError: another launch works on this sweep.
        SlurmError: Slurm refuses the jobs, or does not answer.
        StorageError: the sweep's folder is not writable.
    """
    sweep, kind = plan.sweep, _checked_kind(plan.settings.cluster)
    if kind == "slurm":
        plan = slurm_backend.inherit_environment(plan)
    with storage_errors(sweep.folder):
        for note in (*plan.notes, *_preflight(plan, kind)):
            print("note:", printable(note))
        if plan.settings.dry_run:
            return _dry_run(plan, kind)
        return _launch(plan, command, kind, wait_for_lock)


def _launch(plan: Plan, command: Sequence[str] | None, kind: str, wait_for_lock: bool) -> int:
    """Create the run folders, then run or submit what is not finished; return the exit code."""
    sweep = plan.sweep
    with _sweep_folder(sweep), launch_lock(sweep, wait=wait_for_lock) as lock:
        queue = slurm_backend.reconciled_queue(sweep) if kind == "slurm" else {}
        decisions = decide_runs(plan, queue)
        todo = [name for name, decision in decisions.items() if decision.run]
        if todo:
            ledger.append(sweep, "launched", user=user_name(), host=socket.gethostname())
        # A command that changes nothing does not replace the one in sweep.yaml.
        command = command if todo or _changes_report(plan) else None
        create_run_folders(plan, command, set(todo))
        print_decisions(plan, decisions)
        print_cached_features(plan, todo)
        blocked = len(plan.unreadable) + sum(one.blocked for one in decisions.values())
        if blocked:
            command_line = f"python -m xray_hpc.status {display_path(sweep.folder)}"
            print(f"note: {format_count(blocked, 'run')} cannot be started; see {command_line}")
        code = _code_folder(plan, todo)
        if kind == "local":
            return local_backend.run_sweep(plan, todo, code, lock.position) or int(blocked > 0)
        if kind == "slurm":
            slurm_backend.submit(plan, todo, queue, lock.descriptor, code)
    if kind == "none":
        print(f"created {sweep.runs}; started nothing (cluster=none)")
    elif plan.settings.wait:
        from xray_hpc.launching.wait import wait_for_sweep  # late: other launches do not need it

        return wait_for_sweep(sweep, [run.name for run in plan.runs]) or int(blocked > 0)
    return int(blocked > 0)


def _changes_report(plan: Plan) -> bool:
    """Return whether ``sweep.yaml`` is missing, or has other settings of the report."""
    if not plan.sweep.sweep_yaml.exists():
        return True
    try:
        return read_report_settings(plan.sweep) != plan.settings.report
    except ConfigError:  # it is damaged
        return True


def _checked_kind(cluster: ClusterConfig) -> str:
    """Resolve ``cluster.kind``; refuse to run a sweep here that was configured for Slurm."""
    kind = resolve_kind(cluster.kind)
    if cluster.kind == "auto" and kind == "local":
        for key in ("partition", "account", "qos", "constraint"):
            if (value := getattr(cluster, key)) is not None:
                missing = slurm.missing_configuration() or "no Slurm cluster was found on this host"
                fix = "load its module, or use cluster=local"
                raise ConfigError(f"cluster.{key}={value} needs Slurm, but {missing}; {fix}")
    return kind


def resolve_kind(kind: str) -> str:
    """Replace ``auto`` by ``slurm`` or ``local``, whichever this host has.

    Raises:
        NoClusterError: the kind is ``slurm``, and there is no cluster.
    """
    if kind == "auto":
        return "slurm" if slurm.is_available() else "local"
    if kind == "slurm" and not slurm.is_available():
        if missing := slurm.missing_configuration():
            raise NoClusterError(f"{missing}; correct it, or use cluster=local")
        raise NoClusterError("No Slurm cluster found on this host; use cluster=local")
    return kind


def _preflight(plan: Plan, kind: str) -> list[str]:
    """Refuse what cannot run; return notes on what may go wrong."""
    check_tensorboard(plan)
    notes = check_folders(plan.settings, kind)
    if kind == "slurm":
        count = sum(decision.run for decision in decide_runs(plan, {}).values())
        return notes + slurm_backend.check_sweep(plan, count)
    cluster = plan.settings.cluster
    if kind == "local" and (unused := [key for key in EXECUTED if getattr(cluster, key)]):
        keys = ", ".join(f"cluster.{key}" for key in unused)
        notes.append(f"no effect with cluster=local, only in Slurm jobs: {keys}")
    if cluster.kind == "auto" and kind == "local" and (missing := slurm.missing_configuration()):
        notes.append(f"{missing}; the runs execute on this machine, without Slurm")
    if kind == "local" and cluster.snapshot:
        notes += check_snapshot()
    return notes


@contextmanager
def _sweep_folder(sweep: SweepPaths) -> Iterator[None]:
    """Create the sweep's folder; remove a new one if the block fails before anything is started.

    Raises:
        StorageError: it cannot be created.
    """
    existed = sweep.folder.exists()
    make_results_folder(sweep.folder)
    try:
        yield
    except (UserError, OSError) as error:
        if not (existed or isinstance(error, LockedError) or _in_use(sweep)):
            shutil.rmtree(sweep.folder, ignore_errors=True)
        raise


def _in_use(sweep: SweepPaths) -> bool:
    """Return whether Slurm has a job of the sweep, or a run has been started."""
    runs = (sweep.run(folder.name) for folder in sweep.runs.glob("*"))
    return slurm_backend.has_open_jobs(sweep) or any(run.lease.exists() for run in runs)


def decide_runs(plan: Plan, queue: Mapping[str, QueuedJob]) -> dict[str, LaunchDecision]:
    """Decide for each run of the plan, by name, whether to run it."""
    names = [run.name for run in plan.runs]
    evidence = read_runs(plan.sweep, names, ledger.read(plan.sweep), queue)
    return {name: decide_launch(item) for name, item in evidence.items()}


def _code_folder(plan: Plan, todo: Sequence[str]) -> Path | None:
    """Return the code snapshot for the jobs, or ``None`` if they use this process's code."""
    if not todo or not plan.settings.cluster.snapshot:
        return None
    current, snapshots = resource("jobs").parent, plan.sweep.code
    return current if current.is_relative_to(snapshots) else take_snapshot(snapshots)


def _dry_run(plan: Plan, kind: str) -> int:
    """Print the table of runs and the batch scripts; write nothing."""
    decisions = decide_runs(plan, slurm.queued_jobs() if kind == "slurm" else {})
    todo = [name for name, decision in decisions.items() if decision.run]
    print_decisions(plan, decisions, all_runs=True)
    print_cached_features(plan, todo)
    if kind == "slurm" and todo:
        slurm_backend.show_scripts(plan, todo)
    print("\ndry_run=true: created and submitted nothing")
    return 0
