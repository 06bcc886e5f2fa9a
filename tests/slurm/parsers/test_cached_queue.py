from __future__ import annotations

from tests.run_folders import Programs
from xray_hpc.slurm.cached_queue import NO_CLUSTER, CachedQueue


def test_without_slurm_the_queue_is_not_known(programs: Programs) -> None:
    queue = CachedQueue()
    queue.refresh()
    assert (queue.jobs, queue.problem) == (None, NO_CLUSTER)


def test_slurms_commands_without_a_cluster_are_no_slurm(programs: Programs) -> None:
    reason = "Could not establish a configuration source"
    programs.say("squeue", before=f"echo 'squeue: fatal: {reason}' >&2", code=1)
    queue = CachedQueue()
    queue.refresh()
    assert queue.problem == NO_CLUSTER


def test_while_slurm_is_silent_the_last_answer_is_kept(programs: Programs) -> None:
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
    assert first.startswith("since ")
    assert first.endswith(
        "Slurm does not answer (Socket timed out): the queue is shown as it was then"
    )
    queue.refresh()
    assert queue.problem == first
    programs.queue()
    queue.refresh()
    assert (dict(queue.jobs), queue.problem) == ({}, None)


def test_a_first_answer_that_does_not_come_leaves_the_queue_unknown(programs: Programs) -> None:
    programs.say("squeue", before="echo 'Socket timed out' >&2", code=1)
    queue = CachedQueue()
    queue.refresh()
    assert queue.jobs is None
    assert str(queue.problem).endswith("(Socket timed out): the queue is not known")
