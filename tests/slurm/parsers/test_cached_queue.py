from __future__ import annotations

from tests.run_folders import Programs
from xray_hpc.slurm.cached_queue import NO_CLUSTER, Queue


def test_without_slurm_the_queue_is_not_known(programs: Programs) -> None:
    queue = Queue()
    queue.ask()
    assert (queue.jobs, queue.silent) == (None, NO_CLUSTER)


def test_slurms_commands_without_a_cluster_are_no_slurm(programs: Programs) -> None:
    reason = "Could not establish a configuration source"
    programs.say("squeue", before=f"echo 'squeue: fatal: {reason}' >&2", code=1)
    queue = Queue()
    queue.ask()
    assert queue.silent == NO_CLUSTER


def test_while_slurm_is_silent_the_last_answer_is_kept(programs: Programs) -> None:
    queue = Queue()
    programs.queue(j7="PENDING|Priority||1:00")
    queue.ask()
    assert queue.silent is None
    programs.say("squeue", before="echo 'Socket timed out' >&2", code=1)
    queue.ask()
    assert queue.jobs is not None
    assert queue.jobs["7"].reason == "Priority"
    first = queue.silent
    assert first is not None
    assert first.startswith("since ")
    assert first.endswith(
        "Slurm does not answer (Socket timed out): the queue is shown as it was then"
    )
    queue.ask()
    assert queue.silent == first
    programs.queue()
    queue.ask()
    assert (dict(queue.jobs), queue.silent) == ({}, None)


def test_a_first_answer_that_does_not_come_leaves_the_queue_unknown(programs: Programs) -> None:
    programs.say("squeue", before="echo 'Socket timed out' >&2", code=1)
    queue = Queue()
    queue.ask()
    assert queue.jobs is None
    assert str(queue.silent).endswith("(Socket timed out): the queue is not known")
