"""Launching a planned sweep: make its run folders, then run or submit what still needs to run."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from xray_hpc.cluster.code import snapshot
from xray_hpc.cluster.launching import local
from xray_hpc.cluster.launching.announce import short, show
from xray_hpc.cluster.launching.plan import Plan
from xray_hpc.cluster.launching.prepare import make_folder, prepare
from xray_hpc.cluster.launching.submission import array_id, settle
from xray_hpc.cluster.launching.waves import Wave, make_wave, send
from xray_hpc.cluster.preflight import preflight
from xray_hpc.cluster.preflight.limits import limits
from xray_hpc.cluster.slurm import commands as slurm
from xray_hpc.cluster.slurm.commands import QueuedJob
from xray_hpc.cluster.states import Decision, cancellations, decide
from xray_hpc.errors import UserError
from xray_hpc.resources import resource
from xray_hpc.runs import ledger
from xray_hpc.runs.files import LockedError, locked
from xray_hpc.runs.paths import SweepPaths
from xray_hpc.runs.record import now, user_name


def launch(plan: Plan, command: Sequence[str]) -> int:
    """Launch the sweep; give the exit code: 0, or 1 where a run that was waited for did not finish.

    ``command`` is what the user typed, for ``sweep.yaml``.

    Raises:
        UserError: another launch is at work on this sweep, or Slurm refuses the jobs.
    """
    sweep, kind = plan.place.sweep, resolve_kind(plan.place.cluster.kind)
    notes = [*plan.notes, *_check(plan, kind)]
    for note in notes:
        print("note:", note)
    if plan.place.dry_run:
        return _dry_run(plan, kind)
    existed = sweep.folder.exists()
    make_folder(sweep.folder)
    with launch_lock(sweep) as lock:
        queue = _queue(sweep) if kind == "slurm" else {}
        decisions = decide_all(plan, queue)
        todo = [name for name, decision in decisions.items() if decision.run]
        prepare(plan, command, set(todo))
        show(sweep, decisions, plan.overrides)
        code = _code(plan, todo)
        if kind == "local":
            return _run_here(plan, todo, code)
        if kind == "slurm":
            try:
                _submit(plan, todo, queue, lock, code)
            except UserError:
                if not existed:
                    shutil.rmtree(sweep.folder)
                raise
    if kind == "none":
        print(f"made {sweep.runs}; nothing was started (cluster=none)")
    elif plan.place.wait:
        from xray_hpc.cluster.launching.waiting import wait_for  # shows runs as status does

        return wait_for(sweep, [run.name for run in plan.runs])
    return 0


def resolve_kind(kind: str) -> str:
    """What ``auto`` stands for on this machine."""
    if kind == "auto":
        return "slurm" if slurm.available() else "local"
    if kind == "slurm" and not slurm.available():
        raise UserError("cluster is slurm, but this machine is of no Slurm cluster")
    return kind


def _check(plan: Plan, kind: str) -> list[str]:
    """Refuse what Slurm would refuse, or what would fail after hours in its queue."""
    cluster = plan.place.cluster
    if kind != "slurm":
        return snapshot.check() if kind == "local" and cluster.snapshot else []
    slurm.check_folder(plan.place.sweep.folder)
    gpus = max(cluster.gpus, 1)
    for run in plan.runs:
        if (batch := run.config.train.batch_size) % gpus:
            raise UserError(
                f"train.batch_size is {batch}, which does not divide among cluster.gpus={gpus}; "
                f"use a multiple of {gpus}"
            )
    left = sum(decision.run for decision in decide_all(plan, {}).values())
    return preflight.check(plan, -(-left // cluster.runs_per_job)) if left else []


@contextmanager
def launch_lock(sweep: SweepPaths, *, wait: bool = False) -> Iterator[int]:
    """Hold the sweep's lock, with this process's name in it; give its file descriptor.

    Raises:
        UserError: another launch holds it, and ``wait`` is false; the message names its user, host
            and process.
    """
    waiting = f"waiting for a launch that is at work on {sweep.folder}"
    try:
        with locked(sweep.lock, wait=wait, message=waiting) as lock:
            me = f"{user_name()} on {socket.gethostname()}, process {os.getpid()}"
            os.truncate(lock, 0)
            os.pwrite(lock, f"{me}, since {now()}".encode(), 0)
            yield lock
    except LockedError:
        owner = sweep.lock.read_text(errors="replace") or "somebody"
        raise UserError(
            f"another launch is at work on {sweep.folder} ({owner}); wait for it"
        ) from None


def _queue(sweep: SweepPaths) -> dict[str, QueuedJob]:
    """The queue, when it is settled what a launch that was killed has submitted."""
    for name, job in settle(sweep).items():
        print(f"note: a launch was killed here; its job {job} is taken over ({name})")
    return slurm.queued_jobs()


def decide_all(plan: Plan, queue: Mapping[str, QueuedJob]) -> dict[str, Decision]:
    """Whether to run each run of the plan, by name."""
    sweep = plan.place.sweep
    jobs, cancelled = ledger.jobs(sweep), cancellations(sweep)
    return {
        name: decide(sweep.run(name), jobs.get(name), queue, cancelled.get(name))
        for name in (run.name for run in plan.runs)
    }


def _code(plan: Plan, todo: Sequence[str]) -> Path | None:
    """Where the jobs' code is, if not where this process has it from."""
    if not todo or not plan.place.cluster.snapshot:
        return None
    here, kept = resource("jobs").parent, plan.place.sweep.code
    return here if here.is_relative_to(kept) else snapshot.take(kept)


def _data_sets(plan: Plan, todo: Sequence[str]) -> list[str]:
    """One run folder for each distinct data set among ``todo``."""
    first: dict[object, str] = {}
    for run in plan.runs:
        if run.name in todo:
            packed = dataclasses.replace(run.config.data, crop=1.0)  # is cut from what is packed
            folder = str(plan.place.sweep.run(run.name).folder)
            first.setdefault((packed, run.inputs.data), folder)
    return list(first.values())


def _run_here(plan: Plan, todo: Sequence[str], code: Path | None) -> int:
    sweep = plan.place.sweep
    failed = 0
    if todo:
        if exit_code := local.stage(_data_sets(plan, todo), code):
            return exit_code
        parallel = plan.place.cluster.parallel or 1
        failed = local.run_all([sweep.run(name) for name in todo], parallel, code)
    collected = local.collect(sweep, code)
    return collected or int(failed > 0)


def _wave(plan: Plan, todo: Sequence[str], code: Path | None) -> Wave:
    place = plan.place
    allowed = limits(place.cluster)
    return make_wave(place.sweep, place.cluster, code, _data_sets(plan, todo), todo, allowed)


def _submit(
    plan: Plan, todo: Sequence[str], queue: Mapping[str, QueuedJob], lock: int, code: Path | None
) -> None:
    """Submit what is to run, and the collect job behind all that will run then."""
    sweep = plan.place.sweep
    mine = slurm.of_sweep(sweep, queue)
    kinds = {name: found.kind for name, found in ledger.submissions(sweep).items()}
    live = {array_id(job) for job, at in mine.items() if kinds.get(at.submission or "") == "runs"}
    collected = any(kinds.get(at.submission or "") == "collect" for at in mine.values())
    if not todo and (collected or not live):
        print("nothing to submit")
        return
    wave = _wave(plan, todo, code)
    sent = send(wave, sorted(live, key=int), lock)
    runs = len(todo) - len(wave.later)
    print(sent.line(runs, sum(len(job.tasks) for _, job in wave.arrays)))
    if wave.later:
        print(f"{len(wave.later)} runs wait until Slurm has room; job {sent.collect} submits them")
    if plan.place.wait:
        return
    print("watch:")
    print(f"  python -m xray_hpc.status {shlex.quote(short(sweep.folder))} --watch")
    print(f"  tail -f {shlex.quote(short(sweep.runs))}/*/log")
    print(f"when all have ended: {short(sweep.report / 'report.md')}")


def _dry_run(plan: Plan, kind: str) -> int:
    """Show the table of runs and the batch scripts; write nothing."""
    decisions = decide_all(plan, slurm.queued_jobs() if kind == "slurm" else {})
    todo = [name for name, decision in decisions.items() if decision.run]
    show(plan.place.sweep, decisions, plan.overrides)
    if kind == "slurm" and todo:
        for job in _wave(plan, todo, None).jobs():
            folder = plan.place.sweep.slurm / f"TIME-{job.kind}"
            print(f"\n--- {job.title}\n{job.script(folder)}", end="")
    print("\ndry_run=true: nothing was made or submitted")
    return 0
