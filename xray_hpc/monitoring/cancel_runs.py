"""Cancel the runs of a sweep: their jobs with one ``scancel``, and local runs with SIGTERM.

A running launch must not start further runs. Cancelling waits for a launch that is submitting; a
launch that trains locally reads in the ledger which runs it must not start any more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from xray_hpc.errors import ConfigError, LockedError, SlurmError, nearest
from xray_hpc.monitoring.discovery import join_names, run_names
from xray_hpc.monitoring.run_state import COMPLETING, RunEvidence, State, read_runs, state_of
from xray_hpc.records import ledger
from xray_hpc.records.launch_lock import launch_lock, running_launch_position
from xray_hpc.records.lease_file import LeaseOwner, current_owner, is_local
from xray_hpc.records.ledger import Ledger
from xray_hpc.records.paths import SweepPaths
from xray_hpc.run_filter import parse_filter
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm.client import QueuedJob
from xray_hpc.slurm.units import compact_job_ids, job_number

LIVE = (State.RUNNING, State.PENDING)
WAIT_SECONDS = 30.0  # for a launch that is submitting
POLL_SECONDS = 0.2
EXPRESSION = re.compile(r"\sand\s|!=|[<>]")  # of run_filter; other patterns are globs
_Runs = Mapping[str, RunEvidence]


@dataclass(frozen=True)
class CancelPlan:
    """What to cancel of a sweep."""

    sweep: SweepPaths
    pattern: str | None  # selects the runs; None for all
    runs: Mapping[str, State]  # selected and live, or to be started by a running launch
    ended: Mapping[str, State]  # selected, but ended
    jobs: list[str]  # ids of the jobs of runs, array tasks one by one
    other_jobs: list[str]  # ids of the jobs that stage, compute features and collect
    processes: Mapping[str, LeaseOwner]  # owners of the runs on this host that have no job
    remote: Mapping[str, LeaseOwner]  # those on other hosts, which cannot be cancelled here

    @property
    def empty(self) -> bool:
        """Whether there is nothing to cancel."""
        return not (self.runs or self.other_jobs)

    def execute(self) -> CancelPlan:
        """Plan again, cancel everything, and return that plan; raise as :func:`plan_cancel`."""
        # A launch that trains locally holds the sweep's lock for hours.
        with _launch_excluded(self.sweep, 0.0 if self.processes else WAIT_SECONDS) as excluded:
            plan = plan_cancel(self.sweep, self.pattern, excluded=excluded)
            if not plan.empty:
                plan._cancel()
        return plan

    def _cancel(self) -> None:
        jobs = [*self.jobs, *self.other_jobs]
        # First the ledger, which a launch that trains locally reads as soon as a run has ended.
        ledger.append(self.sweep, "cancelled", jobs=jobs, runs=list(self.runs))
        if jobs:
            _scancel(jobs)
        for name, owner in self.processes.items():
            if current_owner(self.sweep.run(name).lease) == owner:  # it may have ended by now
                with contextlib.suppress(ProcessLookupError):
                    os.kill(owner.pid, signal.SIGTERM)


def plan_cancel(
    sweep: SweepPaths, pattern: str | None = None, *, excluded: bool = False
) -> CancelPlan:
    """Return what there is to cancel of a sweep.

    Args:
        sweep: the sweep.
        pattern: glob that selects runs by their name or one of their overrides, or an expression
            over their overrides (:mod:`xray_hpc.run_filter`); ``None`` for all.
        excluded: whether this process holds the sweep's lock, so that no launch is running.

    Raises:
        ConfigError: the pattern is malformed or matches no run, or a job to cancel has other runs
            too.
        SlurmError: Slurm does not answer.
    """
    entries = ledger.read(sweep)
    evidence, queue = _read_runs(sweep, entries)
    selected = _select(sweep, entries, evidence, pattern)
    states = {name: state_of(item) for name, item in evidence.items()}
    states |= dict.fromkeys(entries.waiting, State.PENDING)
    upcoming = set() if excluded else _upcoming(sweep, entries, evidence)
    live = {n: states[n] for n in selected if states[n] in LIVE or n in upcoming}
    jobs = {job for name in live if (job := evidence[name].job)}
    for name, item in evidence.items():
        if item.job in jobs and states[name] in LIVE and name not in selected:
            raise _shared_job(item.job, pattern, evidence, selected)
    other_jobs = set()
    if pattern is None:
        completing = {job for job, queued in queue.items() if queued.state == COMPLETING}
        other_jobs = set(slurm.jobs_of_submissions(entries.submissions, queue)) - jobs - completing
    owners = {n: owner for n in live if (owner := evidence[n].owner) and evidence[n].queued is None}
    remote = {name: owner for name, owner in owners.items() if not is_local(owner)}
    return CancelPlan(
        sweep,
        pattern,
        {name: state for name, state in live.items() if name not in remote},
        {name: states[name] for name in selected if name not in live},
        sorted(jobs, key=job_number),
        sorted(other_jobs, key=job_number),
        {name: owner for name, owner in owners.items() if name not in remote},
        remote,
    )


@contextlib.contextmanager
def _launch_excluded(sweep: SweepPaths, timeout: float) -> Iterator[bool]:
    """Hold the sweep's lock, and yield whether it was free within ``timeout`` seconds."""
    end = time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(launch_lock(sweep))
            except LockedError:
                if time.monotonic() < end:
                    time.sleep(POLL_SECONDS)
                    continue
                yield False
            else:
                yield True
            return


def _upcoming(sweep: SweepPaths, entries: Ledger, evidence: _Runs) -> set[str]:
    """Return the runs that a running launch may still start."""
    position = running_launch_position(sweep)
    if position is None:
        return set()
    return {
        name
        for name, item in evidence.items()
        if item.started_at <= position  # where the launch wrote its first event
        and entries.cancelled.get(name, -1) < position
        and state_of(item) is not State.FINISHED
    }


def _read_runs(sweep: SweepPaths, entries: Ledger) -> tuple[_Runs, Mapping[str, QueuedJob]]:
    """Return all runs of the sweep, and the queue if any of them may be in it."""
    jobs, evidence = entries.jobs(), read_runs(sweep, run_names(sweep, entries), entries)
    evidence = {name: _without_foreign_job(sweep, name, item) for name, item in evidence.items()}
    by_template = any(item.record and item.record.job_id for item in evidence.values())
    queue = slurm.queued_jobs(entries.users()) if by_template or entries.submissions else {}
    return {name: item.with_queue(jobs.get(name), queue) for name, item in evidence.items()}, queue


def _without_foreign_job(sweep: SweepPaths, name: str, evidence: RunEvidence) -> RunEvidence:
    """Leave out a job that only another user's run.json names: it may be any of one's own."""
    record = evidence.record
    if record is None or os.stat(sweep.run(name).record).st_uid == os.geteuid():
        return evidence
    return dataclasses.replace(evidence, record=dataclasses.replace(record, job_id=None))


def _select(sweep: SweepPaths, entries: Ledger, evidence: _Runs, pattern: str | None) -> list[str]:
    if pattern is None:
        return list(evidence)
    overrides = {
        name: entries.planned.get(name) or (item.record.overrides if item.record else [])
        for name, item in evidence.items()
    }
    known = {text for texts in overrides.values() for text in texts}
    if EXPRESSION.search(pattern):
        selected = _fulfilling(overrides, pattern)
    else:
        selected = [
            name
            for name, texts in overrides.items()
            if any(fnmatchcase(text, pattern) for text in (name, *texts))
        ]
    if not selected:
        hint = nearest(pattern, [*evidence, *known]) or "; use a glob for names or overrides"
        raise ConfigError(f"no run of {sweep.name} matches '{pattern}'{hint}")
    return selected


def _fulfilling(overrides: Mapping[str, Sequence[str]], expression: str) -> list[str]:
    """Return the runs whose overrides fulfill an expression; a run also has a key ``run``."""
    wanted = parse_filter(expression)
    values = {
        name: {"run": name} | dict(text.lstrip("+").split("=", 1) for text in texts if "=" in text)
        for name, texts in overrides.items()
    }
    wanted.check_keys({key for found in values.values() for key in found})
    return [name for name, found in values.items() if wanted.matches(found)]


def _shared_job(
    job: str | None, pattern: str | None, evidence: _Runs, selected: Collection[str]
) -> ConfigError:
    others = [name for name, item in evidence.items() if item.job == job and name not in selected]
    return ConfigError(
        f"job {job} also has the runs {join_names(others)}, which '{pattern}' does not match; "
        "nothing was cancelled: choose a --runs pattern that matches all runs of the job"
    )


def _scancel(jobs: list[str]) -> None:
    """Cancel jobs with one call; some of them may have ended by now."""
    try:
        slurm.run_command(["scancel", *compact_job_ids(jobs)])
    except SlurmError as error:
        queue = slurm.queued_jobs()
        if left := [job for job in jobs if job in queue and queue[job].state != COMPLETING]:
            ids = " ".join(compact_job_ids(left))
            raise SlurmError(f"scancel failed ({error}); still in the queue: {ids}") from error
