from __future__ import annotations

from tests.run_folders import Programs
from xray_hpc.slurm.cached_queue import NO_CLUSTER, CachedQueue


def test_refresh_without_slurm_reports_no_cluster(programs: Programs) -> None:
    queue = CachedQueue()
    queue.refresh()
    assert (queue.jobs, queue.problem) == (None, NO_CLUSTER)


def test_refresh_without_configuration_reports_no_cluster(programs: Programs) -> None:
    reason = "Could not establish a configuration source"
    programs.say("squeue", before=f"echo 'squeue: fatal: {reason}' >&2", code=1)
    queue = CachedQueue()
    queue.refresh()
    assert queue.problem == NO_CLUSTER


def test_refresh_without_answer_keeps_the_last_jobs(programs: Programs) -> None:
    queue = CachedQueue()
    programs.queue(j7="PENDING|Priority||1:00")
    queue.refresh()
    assert queue.problem is None
    programs.say("squeue", before="echo 'Socket timed out' >&2", code=1)
    queue.refresh()
    assert queue.jobs is not None
    assert queue.jobs["7"].reason == "Priority"
    first = queue.problem
    assert first is not None
    assert first.endswith("(Socket timed out); the queue shown is of that time")
    queue.refresh()
    assert queue.problem == first
    programs.queue()
    queue.refresh()
    assert (dict(queue.jobs), queue.problem) == ({}, None)


def test_failed_first_refresh_leaves_the_queue_unknown(programs: Programs) -> None:
    programs.say("squeue", before="echo 'Socket timed out' >&2", code=1)
    queue = CachedQueue()
    queue.refresh()
    assert queue.jobs is None
    assert str(queue.problem).endswith("(Socket timed out); the queue is unknown")
