"""Launching a planned sweep: make its run folders, then run or submit what still needs to run."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from xray_hpc.cluster import slurm
from xray_hpc.cluster.local import run_all, run_job
from xray_hpc.cluster.plan import Plan
from xray_hpc.cluster.prepare import make_folder, prepare
from xray_hpc.cluster.states import Decision, decide
from xray_hpc.errors import UserError
from xray_hpc.runs import ledger
from xray_hpc.runs.files import LockedError, locked
from xray_hpc.runs.paths import SweepPaths

SHOWN_RUNS = 20


def launch(plan: Plan, command: Sequence[str]) -> int:
    """Launch the sweep; give the exit code: 0, or 1 where a local run did not finish.

    ``command`` is what the user typed, for ``sweep.yaml``.

    Raises:
        UserError: another launch is at work on this sweep, or Slurm refuses the jobs.
    """
    sweep, kind = plan.place.sweep, resolve_kind(plan.place.cluster.kind)
    if kind == "slurm":
        slurm.check_folder(sweep.folder)
    for note in plan.notes:
        print("note:", note)
    if kind == "slurm":
        _check_batches(plan)
    existed = sweep.folder.exists()
    make_folder(sweep.folder)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(sweep.lock, wait=False))
        except LockedError:
            raise UserError(f"another launch is at work on {sweep.folder}; wait for it") from None
        queue = slurm.queued_jobs() if kind == "slurm" else {}
        jobs = ledger.jobs(sweep)
        decisions = {
            run.name: decide(sweep.run(run.name), jobs.get(run.name), queue) for run in plan.runs
        }
        prepare(plan, command, {name for name, decision in decisions.items() if decision.run})
        _show(sweep, decisions, plan.overrides)
        todo = [name for name, decision in decisions.items() if decision.run]
        if kind == "slurm" and todo:
            try:
                _submit(plan, todo)
            except UserError:
                if not existed:
                    shutil.rmtree(sweep.folder)
                raise
        # A local launch goes on for long: the runs' own locks guard them from here on.
    if kind == "local":
        return _run_here(plan, todo)
    if kind == "none":
        print(f"made {sweep.runs}; nothing was started (cluster=none)")
    elif not todo:
        print("nothing to submit")
    return 0


def _check_batches(plan: Plan) -> None:
    """Refuse a batch that does not divide among a run's GPUs, before it waits for them."""
    gpus = max(plan.place.cluster.gpus, 1)
    for run in plan.runs:
        if (batch := run.config.train.batch_size) % gpus:
            raise UserError(
                f"train.batch_size is {batch}, which does not divide among cluster.gpus={gpus}; "
                f"use a multiple of {gpus}"
            )


def resolve_kind(kind: str) -> str:
    """What ``auto`` stands for on this machine."""
    if kind == "auto":
        return "slurm" if slurm.available() else "local"
    if kind == "slurm" and not slurm.available():
        raise UserError("cluster is slurm, but this machine is of no Slurm cluster")
    return kind


def _differences(overrides: Mapping[str, list[str]], name: str) -> str:
    """The overrides of a run that others of the sweep do not share, in brackets."""
    common = set.intersection(*(set(words) for words in overrides.values()))
    words = [word for word in overrides[name] if word not in common]
    return f"  ({' '.join(words)})" if words else ""


def _show(
    sweep: SweepPaths, decisions: Mapping[str, Decision], overrides: Mapping[str, list[str]]
) -> None:
    todo = sum(decision.run for decision in decisions.values())
    many = f"{len(decisions)} run{'s' if len(decisions) > 1 else ''}"
    print(f"sweep {sweep.name}: {many}, {todo} to run, in {_short(sweep.folder)}")
    if len(decisions) <= SHOWN_RUNS:
        for name, decision in decisions.items():
            what = "run" if decision.run else "leave"
            print(f"  {name}  {what}: {decision.why}{_differences(overrides, name)}")
        return
    counts = Counter((d.run, d.why.split(" as job ")[0][:60]) for d in decisions.values())
    for (run, why), count in counts.most_common():
        print(f"  {count} {'to run' if run else 'left'}: {why}")


def _data_sets(plan: Plan, todo: Sequence[str]) -> list[str]:
    """One run for each distinct data set among ``todo`` (and one at least, for its figures)."""
    first: dict[object, str] = {}
    for run in plan.runs:
        if run.name in todo:
            packed = dataclasses.replace(run.config.data, crop=1.0)  # is cut from what is packed
            first.setdefault((packed, run.inputs.data), run.name)
    return list(first.values())


def _run_here(plan: Plan, todo: Sequence[str]) -> int:
    sweep = plan.place.sweep
    failed = 0
    if todo:
        folders = [str(sweep.run(name).folder) for name in _data_sets(plan, todo)]
        if code := run_job("stage", *folders):
            return code
        parallel = plan.place.cluster.parallel or 1
        failed = run_all([sweep.run(name) for name in todo], parallel)
    collected = run_job("collect", str(sweep.folder))
    return collected or int(failed > 0)


def _submit(plan: Plan, todo: Sequence[str]) -> None:
    from xray_hpc.cluster import submission  # with submitit, which only Slurm needs

    sweep, cluster = plan.place.sweep, plan.place.cluster
    with _all_or_nothing(sweep) as submitted:
        stage = submission.submit_stage(sweep, _data_sets(plan, todo), cluster)
        submitted.append(stage)
        jobs = submission.submit_runs(sweep, todo, cluster, after=stage)
        array = sorted({job.split("_")[0] for job in jobs.values()})
        submitted += array
        collect = submission.submit_collect(sweep, cluster, after=array)
    many = f"array of {len(jobs)} runs" if len(jobs) > 1 else "run"
    print(f"submitted job {array[0]}: {many} (stage job {stage} first, collect job {collect} last)")
    print("watch:")
    print(f"  squeue --me --jobs {','.join([stage, *array, collect])}")
    print(f"  tail -f {shlex.quote(_short(sweep.runs))}/*/log")
    print(f"when all have ended: {_short(sweep.report / 'report.md')}")


@contextmanager
def _all_or_nothing(sweep: SweepPaths) -> Iterator[list[str]]:
    """Collect the ids of submitted jobs; if the block raises, cancel those."""
    submitted: list[str] = []
    try:
        yield submitted
    except BaseException as error:
        if not submitted:
            raise
        if not slurm.cancel(submitted):
            jobs = " ".join(submitted)
            raise UserError(f"{error} (do this yourself: scancel {jobs})") from error
        ledger.append(sweep, "cancelled", jobs=submitted)
        raise


def _short(path: Path) -> str:
    """The path from here where it lies below, else the whole of it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
