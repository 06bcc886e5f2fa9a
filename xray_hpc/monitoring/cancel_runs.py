"""Cancelling the runs of a sweep: their jobs by one ``scancel``, and those that run right here.

A launch that is at work on the sweep would go on: one that submits is waited for, and then nothing
is left to it; one that trains here finds in the ledger which runs it is not to begin any more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from xray_hpc.errors import ConfigError, SlurmError, UserError, nearest
from xray_hpc.monitoring.discovery import run_names
from xray_hpc.monitoring.run_state import COMPLETING, RunEvidence, State, read_evidence, state_of
from xray_hpc.records import ledger
from xray_hpc.records.launch_lock import launch_lock, launch_running_since
from xray_hpc.records.lease_file import LeaseOwner, current_owner, is_local
from xray_hpc.records.ledger import Ledger
from xray_hpc.records.paths import SweepPaths
from xray_hpc.slurm import client as slurm
from xray_hpc.slurm.client import QueuedJob

SHOWN = 5
GOING = (State.RUNNING, State.PENDING)
PATIENCE_SECONDS = 30.0  # for a launch that submits
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class CancelPlan:
    """What is to be cancelled of a sweep.

    ``runs`` are the runs that go, wait or would be begun by a launch that is at work, ``over``
    those that were meant and had ended, ``pattern`` what they were meant by; ``jobs``
    are the ids of the runs' jobs, array tasks one by one, and ``beside`` those of the jobs that
    stage and collect. ``processes`` are the runs that go on this machine without a job;
    ``elsewhere`` are those of other machines, which are not cancelled: nobody can from here.
    """

    sweep: SweepPaths
    pattern: str | None
    runs: Mapping[str, State]
    over: Mapping[str, State]
    jobs: list[str]
    beside: list[str]
    processes: Mapping[str, LeaseOwner]
    elsewhere: Mapping[str, LeaseOwner]

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to cancel."""
        return not (self.runs or self.beside)

    def execute(self) -> CancelPlan:
        """Cancel all that there is to cancel by now; give what that was.

        Raises:
            UserError: Slurm refuses it, or as :func:`plan_cancel`.
        """
        # Who trains here has the sweep's lock for hours.
        with _without_launches(self.sweep, 0.0 if self.processes else PATIENCE_SECONDS) as alone:
            found = plan_cancel(self.sweep, self.pattern, alone=alone)
            if not found.nothing:
                found._cancel()
        return found

    def _cancel(self) -> None:
        jobs = [*self.jobs, *self.beside]
        # First, for a launch that trains here looks into it as soon as a run has ended.
        ledger.append(self.sweep, "cancelled", jobs=jobs, runs=list(self.runs))
        if jobs:
            _scancel(jobs)
        for name, owner in self.processes.items():
            if (
                current_owner(self.sweep.run(name).lease) == owner
            ):  # it may have ended while one asked
                with contextlib.suppress(ProcessLookupError):
                    os.kill(owner.pid, signal.SIGTERM)


def plan_cancel(
    sweep: SweepPaths, pattern: str | None = None, *, alone: bool = False
) -> CancelPlan:
    """See what there is to cancel of the whole sweep, or of the runs that match ``pattern``.

    ``pattern`` is a glob for a run's name or for one of its overrides. ``alone``: this process has
    the sweep's lock, so that no launch is at work.

    Raises:
        UserError: nothing matches, Slurm does not answer, or a job that would be cancelled works
            on other runs as well.
    """
    told = ledger.read(sweep)
    seen, queue = _see(sweep, told)
    meant = {name: seen[name] for name in _matching(sweep, told, seen, pattern)}
    states = {name: state_of(one) for name, one in seen.items()}
    states |= dict.fromkeys(told.waiting, State.PENDING)
    to_come = set() if alone else _to_come(sweep, told, seen)
    going = {n: states[n] for n in meant if states[n] in GOING or n in to_come}
    jobs = {job for name in going if (job := seen[name].job)}
    for name, one in seen.items():
        if one.job in jobs and states[name] in GOING and name not in meant:
            raise _shared(one.job, pattern, [n for n, o in seen.items() if o.job == one.job], meant)
    beside = set()
    if pattern is None:
        ending = {job for job, at in queue.items() if at.state == COMPLETING}
        beside = set(slurm.jobs_of_submissions(told.submissions, queue)) - jobs - ending
    owners = {name: owner for name in going if (owner := _jobless(seen[name])) is not None}
    elsewhere = {name: owner for name, owner in owners.items() if not is_local(owner)}
    return CancelPlan(
        sweep,
        pattern,
        {name: state for name, state in going.items() if name not in elsewhere},
        {name: states[name] for name in meant if name not in going},
        sorted(jobs, key=_number),
        sorted(beside, key=_number),
        {name: owner for name, owner in owners.items() if is_local(owner)},
        elsewhere,
    )


@contextlib.contextmanager
def _without_launches(sweep: SweepPaths, patience: float) -> Iterator[bool]:
    """Keep launches of the sweep off; give whether that is so, after so many seconds at most."""
    end = time.monotonic() + patience
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(launch_lock(sweep))
            except UserError:
                if time.monotonic() >= end:
                    yield False
                    return
                time.sleep(POLL_SECONDS)
            else:
                yield True
                return


def _to_come(sweep: SweepPaths, told: Ledger, seen: Mapping[str, RunEvidence]) -> set[str]:
    """The runs that a launch at work on the sweep has still to begin, as far as one can see."""
    since = launch_running_since(sweep)
    if since is None:
        return set()
    before = {
        n for n, one in seen.items() if not (one.record and (one.record.started or "") >= since)
    }
    cancelled = {name for name, when in told.cancelled.items() if when >= since}
    return {n for n in before - cancelled if state_of(seen[n]) is not State.FINISHED}


def compact_job_ids(jobs: Iterable[str]) -> list[str]:
    """Ids as ``scancel`` takes them: ``17_[0-5,7]`` for the tasks of an array."""
    tasks: dict[str, list[int]] = defaultdict(list)
    alone = []
    for job in sorted(set(jobs), key=_number):
        array, _, task = job.partition("_")
        if task:
            tasks[array].append(int(task))
        else:
            alone.append(job)
    several = {array: ",".join(_ranges(numbers)) for array, numbers in tasks.items()}
    return [f"{array}_{r if r.isdigit() else f'[{r}]'}" for array, r in several.items()] + alone


def _ranges(numbers: list[int]) -> Iterator[str]:
    """``0-5`` and ``7`` of sorted numbers."""
    start = 0
    for end, number in enumerate(numbers):
        if end + 1 == len(numbers) or numbers[end + 1] != number + 1:
            first = numbers[start]
            yield str(first) if first == number else f"{first}-{number}"
            start = end + 1


def _number(job: str) -> tuple[int, int]:
    array, _, task = job.partition("_")
    return int(array), int(task or 0)


def _see(sweep: SweepPaths, told: Ledger) -> tuple[dict[str, RunEvidence], Mapping[str, QueuedJob]]:
    """All runs of the sweep, and the queue if one of them may be in it."""
    jobs, names = told.jobs(), run_names(sweep, told)
    seen = {name: read_evidence(sweep.run(name), told.cancelled.get(name)) for name in names}
    of_template = any(one.record and one.record.job_id for one in seen.values())
    queue = slurm.queued_jobs(told.users()) if of_template or told.submissions else {}
    return {name: one.with_queue(jobs.get(name), queue) for name, one in seen.items()}, queue


def _matching(
    sweep: SweepPaths, told: Ledger, seen: Mapping[str, RunEvidence], pattern: str | None
) -> list[str]:
    if pattern is None:
        return list(seen)
    found, words = list[str](), set[str]()
    for name, one in seen.items():
        own = told.planned.get(name) or (one.record.overrides if one.record else [])
        words.update(own)
        if any(fnmatchcase(word, pattern) for word in (name, *own)):
            found.append(name)
    if not found:
        hint = nearest(pattern, [*seen, *words]) or "; it is a glob on names or overrides"
        raise ConfigError(f"no run of {sweep.name} matches '{pattern}'{hint}")
    return found


def _shared(
    job: str | None, pattern: str | None, runs: Iterable[str], meant: Mapping[str, RunEvidence]
) -> ConfigError:
    others = [name for name in runs if name not in meant]
    some = ", ".join(others[:SHOWN]) + (", ..." if len(others) > SHOWN else "")
    return ConfigError(
        f"job {job} works on {some} as well, which '{pattern}' does not match; nothing was "
        "cancelled, choose --runs so that it takes in all runs of a job"
    )


def _jobless(seen: RunEvidence) -> LeaseOwner | None:
    return seen.owner if seen.queued is None else None


def _scancel(jobs: list[str]) -> None:
    """Cancel jobs by one call; some of them may have ended since they were seen."""
    try:
        slurm.run_command(["scancel", *compact_job_ids(jobs)])
    except SlurmError as error:
        queue = slurm.queued_jobs()
        if left := [job for job in jobs if job in queue and queue[job].state != COMPLETING]:
            ids = " ".join(compact_job_ids(left))
            raise SlurmError(f"scancel failed ({error}); still there: {ids}") from error
