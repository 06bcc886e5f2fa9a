"""What jobs/run.py does with a run folder, with a stand-in for the training process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.schema import as_dict
from xray_hpc.launching.run_folders import prepare
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import write_json
from xray_hpc.records.lease import Lease
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import TrainingProgress, checkpoint_name, write_progress
from xray_hpc.records.run_record import Attempt, RunRecord, Status, read_record, update_record
from xray_hpc.resources import resource
from xray_hpc.worker import attempt
from xray_hpc.worker.worker import work

JOB = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "node1"}
TASK = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "1", **JOB}
SAY_FAILED = """
from pathlib import Path
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import TrainingProgress, write_progress
from xray_hpc.records.run_record import Status, update_record
what = {"type": "E", "message": "said"}
update_record(RunPaths(Path(sys.argv[-1])), status=Status.FAILED, failure=FAILURE, error=what)
os._exit(1)
"""
FINISH = """
from pathlib import Path
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import TrainingProgress, write_progress
from xray_hpc.records.run_record import Status, update_record
print("epoch 1/1")
update_record(RunPaths(Path(sys.argv[-1])), status=Status.FINISHED)
"""
HANG = "import time; print('training', flush=True); time.sleep(600)"


@pytest.fixture
def runs(composer: Any) -> list[RunPaths]:
    """Three runs of a sweep."""
    plan = composer.plan(*[[f"seed={seed}"] for seed in range(3)])
    prepare(plan, ["model=ft"], {run.name for run in plan.runs})
    return [plan.sweep.run(run.name) for run in plan.runs]


@pytest.fixture
def paths(runs: list[RunPaths]) -> RunPaths:
    return runs[0]


@pytest.fixture
def start(tmp_path: Path, paths: RunPaths) -> Any:
    """Start jobs/run.py where ``python -m xray_hpc.training`` runs ``code`` instead."""
    started = []

    def start(code: str, *words: str | Path, **environment: str) -> subprocess.Popen[str]:
        folder = tmp_path / "site"
        folder.mkdir(exist_ok=True)
        hook = f"import os, sys\nif 'xray_hpc.training' in sys.orig_argv:\n    exec({code!r})\n"
        (folder / "sitecustomize.py").write_text(hook + "    sys.stdout.flush()\n    os._exit(0)\n")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
        process = subprocess.Popen(
            [sys.executable, str(resource("jobs") / "run.py"), *(words or (paths.folder,))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean | {"PYTHONPATH": str(folder)} | environment,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Queue:
    """The job of these tests, as a cluster shows it, and what is asked of the cluster."""

    def __init__(self, site: Any, folder: Path) -> None:
        self.site, self.said = site, folder / "said"
        self.shows()
        site.answer("scontrol", "*show config", "KillWait = 30 sec\n")
        for word in ("requeue", "update"):
            site.act("scontrol", f"{word} *", f'echo "$*" >> {self.said}')

    def shows(self, state: str = "RUNNING", restarts: int = 0) -> None:
        self.site.answer(
            "scontrol",
            "*show job*",
            f"JobId=17 JobState={state} Restarts={restarts} BatchFlag={1 + (restarts > 0)} "
            "RunTime=00:01:00 "
            "TimeLimit=10:00:00 SubmitTime=2026-01-01T00:00:00 NumCPUs=8 TRES=cpu=8,mem=2G",
        )

    @property
    def asked(self) -> list[str]:
        """What was asked of it."""
        return self.said.read_text().splitlines() if self.said.exists() else []


@pytest.fixture
def queue(site: Any, tmp_path: Path) -> Queue:
    return Queue(site, tmp_path)


def submission(runs: Sequence[RunPaths], **cluster: Any) -> Path:
    """A submission of two tasks; the second is these runs."""
    folder = runs[0].sweep.slurm / "20260101-000000-abcd"
    values = as_dict(ClusterConfig("slurm", runs_per_job=len(runs))) | cluster
    tasks = [[], [run.name for run in runs]]
    write_json(folder / "tasks.json", {"kind": "runs", "cluster": values, "tasks": tasks})
    return folder


def record_of(paths: RunPaths) -> RunRecord:
    record = read_record(paths)
    assert record is not None
    return record


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def test_a_finished_training_ends_with_0_and_its_output_is_in_the_log(
    start: Any, paths: RunPaths
) -> None:
    code, output = ended(start(FINISH))
    assert code == 0
    assert "epoch 1/1\n" in output
    assert "epoch 1/1\n" in paths.log.read_text()
    assert record_of(paths).status is Status.FINISHED


def test_a_finished_run_is_left_alone(start: Any, paths: RunPaths) -> None:
    before = update_record(paths, status=Status.FINISHED)
    code, output = ended(start(HANG))
    assert code == 0
    assert "finished already" in output
    assert record_of(paths) == before


def test_a_training_killed_after_its_last_word_is_finished(start: Any, paths: RunPaths) -> None:
    code, _ = ended(start(FINISH + "os.kill(os.getpid(), 15)"))
    assert code == 0
    assert record_of(paths).status is Status.FINISHED


@pytest.mark.parametrize("status", [Status.CREATED, Status.FINISHED])
def test_checkpoints_that_a_finished_training_left_are_removed(
    start: Any, paths: RunPaths, status: Status
) -> None:
    paths.checkpoint_folder.mkdir()
    (paths.checkpoint_folder / f"{checkpoint_name(1, 0)}.npz").touch()
    update_record(paths, status=status)
    code, _ = ended(start(FINISH + "os.kill(os.getpid(), 9)"))
    assert code == 0
    assert not paths.checkpoint_folder.exists()


def test_a_training_killed_by_the_kernel_is_a_failure(start: Any, paths: RunPaths) -> None:
    code, _ = ended(start("os.kill(os.getpid(), 9)"))
    assert code == 128 + signal.SIGKILL
    record = record_of(paths)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert "SIGKILL" in record.error["message"]


def test_a_training_that_exits_without_a_word_is_a_failure(start: Any, paths: RunPaths) -> None:
    code, _ = ended(start("os._exit(7)"))
    assert code == 7
    assert record_of(paths).status is Status.FAILED


def test_a_training_that_exits_with_0_but_did_not_finish_is_a_failure(
    start: Any, paths: RunPaths
) -> None:
    code, _ = ended(start("os._exit(0)"))
    assert code == 1
    assert record_of(paths).status is Status.FAILED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP])
def test_a_job_told_to_end_is_interrupted(start: Any, paths: RunPaths, number: int) -> None:
    process = start(HANG)
    until(lambda: paths.log.exists() and "training" in paths.log.read_text())
    process.send_signal(number)
    code, _ = ended(process)
    assert code == 128 + number
    record = record_of(paths)
    assert record.status is Status.INTERRUPTED
    assert record.error is not None
    assert record.error["type"] == "Interrupted"
    assert record.error["message"].endswith(signal.Signals(number).name)


def test_a_training_told_to_end_before_its_job_is_interrupted(start: Any, paths: RunPaths) -> None:
    code, _ = ended(start("os.kill(os.getpid(), 15)"))
    assert code == 128 + signal.SIGTERM
    assert record_of(paths).status is Status.INTERRUPTED


def test_two_jobs_do_not_train_one_run_at_once(start: Any, paths: RunPaths) -> None:
    with Lease.acquire(paths.lease):
        code, output = ended(start(HANG))
    assert code == 69
    assert f"ERROR {paths.name} is being trained by process {os.getpid()} of " in output


def test_starts_are_counted_and_job_ids_kept(start: Any, paths: RunPaths) -> None:
    ended(start("os._exit(7)", SLURM_JOB_ID="12"))
    ended(start(FINISH, SLURM_JOB_ID="14", SLURM_ARRAY_JOB_ID="13", SLURM_ARRAY_TASK_ID="2"))
    record = record_of(paths)
    assert (record.restarts, record.job_id, record.job_ids) == (1, "13_2", ["12", "13_2"])


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(resource("jobs") / "run.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"ERROR {tmp_path} is not a run folder: it holds no config.yaml" in done.stderr


def test_a_try_tells_how_it_ended_and_what_it_used(
    start: Any, paths: RunPaths, queue: Queue
) -> None:
    write_progress(paths, TrainingProgress(3, 8, 0, 1.0, 0, 0.5, 0.5, None))
    ended(start("os._exit(7)", **JOB))
    (item,) = record_of(paths).attempts
    assert (item.node, item.job_id, item.failure, item.epochs) == ("node1", "17", "bug", 3)
    assert (item.cpus, item.memory, item.time_limit, item.gpus) == (8, 2048, 600, 0)
    assert item.queued is not None
    assert item.ended is not None
    assert item.peak_memory is not None
    assert item.cpu_seconds is not None
    assert not item.requeued


def test_a_try_whose_worker_was_killed_too_is_ended_by_the_next(
    start: Any, paths: RunPaths, queue: Queue
) -> None:
    process = start(HANG, **JOB)
    until(lambda: paths.log.exists() and "training" in paths.log.read_text())
    killed(process)
    ended(start(FINISH, **JOB))
    first, second = record_of(paths).attempts
    assert (first.failure, first.requeued) == ("node_failure", True)
    assert (second.failure, second.requeued) == (None, False)


def test_a_training_ends_with_its_worker(start: Any, paths: RunPaths, tmp_path: Path) -> None:
    wait = "os.read(int(os.environ['XRAY_HPC_PARENT']), 1); open(NAME, 'w')"
    process = start("print('training', flush=True); " + wait.replace("NAME", repr(f"{tmp_path}/x")))
    until(lambda: paths.log.exists() and "training" in paths.log.read_text())
    assert not (tmp_path / "x").exists()
    killed(process)
    until((tmp_path / "x").exists)


# What is asked of Slurm.


def test_a_killed_run_is_put_back(start: Any, paths: RunPaths, queue: Queue) -> None:
    code, output = ended(start("os.kill(os.getpid(), 9)", **JOB))
    assert code == 137
    assert "(killed); requeue: cluster.on_failure.killed is requeue" in output
    assert queue.asked == ["requeue 17"]
    record = record_of(paths)
    assert (record.status, record.failure) == (Status.FAILED, "killed")
    assert record.attempts[0].requeued
    ended(start(FINISH, **JOB, SLURM_RESTART_COUNT="1"))
    assert record_of(paths).restarts == 1


def test_a_run_out_of_memory_gets_more(start: Any, paths: RunPaths, queue: Queue) -> None:
    ended(start(SAY_FAILED.replace("FAILURE", "'out_of_memory'"), **JOB))
    assert queue.asked == ["requeue 17", "update JobId=17 MinMemoryNode=3072"]
    record = record_of(paths)
    assert (record.failure, record.error) == ("out_of_memory", {"type": "E", "message": "said"})


def test_a_run_that_needs_more_than_any_node_has_is_stopped(
    start: Any, paths: RunPaths, queue: Queue
) -> None:
    node = "NodeName=node1 CPUTot=8 RealMemory=2048 State=IDLE Partitions=main"
    queue.site.answer("scontrol", "*show node", node)
    _, output = ended(start(SAY_FAILED.replace("FAILURE", "'out_of_memory'"), **JOB))
    assert "stop: no node has more than its 2048 MiB of memory" in output
    assert queue.asked == []


def test_a_bad_node_is_left_for_another(start: Any, paths: RunPaths, queue: Queue) -> None:
    code, _ = ended(start("os._exit(75)", **JOB))
    assert code == 75
    assert queue.asked == ["requeue 17", "update JobId=17 ExcNodeList=node1"]
    record = record_of(paths)
    assert (record.status, record.failure) == (Status.INTERRUPTED, "node_failure")
    assert record.bad_nodes == ["node1"]


def test_nothing_is_trained_on_a_node_without_its_gpus(
    start: Any, paths: RunPaths, queue: Queue
) -> None:
    queue.site.answer("nvidia-smi", "-L", "")
    code, output = ended(start(FINISH, **JOB, SLURM_JOB_GPUS="0"))
    assert code == 75
    assert "ERROR 0 of 1 GPUs are to be seen\n" in output
    assert queue.asked == ["requeue 17", "update JobId=17 ExcNodeList=node1"]


def test_a_bad_node_outside_of_slurm_stops_the_run(
    start: Any, paths: RunPaths, tmp_path: Path
) -> None:
    code, output = ended(start(FINISH, TMPDIR=str(tmp_path / "missing")))
    assert code == 75
    assert f"ERROR {tmp_path}/missing cannot be written to" in output
    record = record_of(paths)
    assert (record.failure, record.attempts[0].requeued) == ("node_failure", False)


def test_a_node_is_not_looked_at_where_that_is_not_wanted(
    start: Any, runs: list[RunPaths], queue: Queue
) -> None:
    queue.site.answer("nvidia-smi", "-L", "")
    folder = submission(runs, check_node=False)
    code, _ = ended(start(FINISH, "--submission", folder, **TASK, SLURM_JOB_GPUS="0"))
    assert code == 0


def test_a_local_launch_within_a_job_leaves_the_job_alone(
    start: Any, paths: RunPaths, queue: Queue
) -> None:
    code, _ = ended(start("os.kill(os.getpid(), 9)", "--local", paths.folder, **JOB))
    assert code == 137
    assert queue.asked == []
    assert record_of(paths).job_id is None


def test_a_run_that_is_not_put_back_says_so(start: Any, paths: RunPaths, queue: Queue) -> None:
    queue.site.answer("scontrol", "requeue *", "Requested operation is disabled", code=1)
    code, output = ended(start("os.kill(os.getpid(), 9)", **JOB))
    assert code == 137
    why = "Requested operation is disabled"
    assert f"ERROR job 17 was not put back ({why}); launch again\n" in output
    assert not record_of(paths).attempts[0].requeued


@pytest.mark.parametrize(("word", "times"), [("requeue", 1), ("*show job*", 2)])
def test_a_controller_that_is_away_as_a_run_ends_does_not_lose_the_run(
    start: Any, paths: RunPaths, queue: Queue, tmp_path: Path, word: str, times: int
) -> None:
    process = start(HANG, **JOB)
    until(lambda: paths.log.exists() and "training" in paths.log.read_text())
    away = f"echo >> {tmp_path}/away; [ $(wc -l < {tmp_path}/away) -gt {times} ] || " + (
        "{ echo Unable to contact slurm controller >&2; exit 1; }"
    )
    if word == "requeue":
        queue.site.act("scontrol", "requeue *", f'{away}; echo "$*" >> {queue.said}')
        queue.shows("COMPLETING", restarts=1)
    else:
        queue.site.act("scontrol", "*show job*", f"{away}; echo JobState=COMPLETING Restarts=1")
    process.send_signal(signal.SIGTERM)
    ended(process)
    assert record_of(paths).failure == "preempted"
    assert queue.asked == ["requeue 17"]


@pytest.mark.parametrize("seen", [True, False])
def test_a_run_is_left_where_slurm_alone_puts_the_job_back(
    start: Any, runs: list[RunPaths], queue: Queue, seen: bool
) -> None:
    failure = "preempted" if seen else "node_failure"
    policy = as_dict(ClusterConfig("slurm"))["on_failure"] | {failure: "stop"}
    folder = submission(runs[:1], on_failure=policy)
    process = start(HANG, "--submission", folder, **TASK)
    until(lambda: runs[0].log.exists() and "training" in runs[0].log.read_text())
    queue.shows("COMPLETING", restarts=1)
    if seen:
        process.send_signal(signal.SIGTERM)
        ended(process)
    else:
        killed(process)
    queue.shows(restarts=1)
    again = start(FINISH, "--submission", folder, **TASK, SLURM_RESTART_COUNT="1")
    code, output = ended(again)
    why = f"cluster.on_failure.{failure} is stop"
    assert code == 1
    assert f"{runs[0].name} is left as it is: {why}" in output
    record = record_of(runs[0])
    assert (record.status, record.failure, len(record.attempts)) == ("interrupted", failure, 1)
    assert (record.attempts[0].ended is not None) is seen
    assert queue.asked == []


def test_a_signal_before_the_time_limit_is_none_to_cancel_though_slurm_is_away(
    start: Any, paths: RunPaths, queue: Queue
) -> None:
    process = start(HANG, "--submission", submission([paths], signal_time=4), **TASK)
    until(lambda: paths.log.exists() and "training" in paths.log.read_text())
    queue.site.answer("scontrol", "*show*", "Unable to contact slurm controller", code=1)
    process.send_signal(signal.SIGUSR2)
    ended(process)
    assert record_of(paths).failure == "time_limit"
    assert queue.asked == ["requeue 17_1"]


def test_a_signal_that_was_ignored_from_the_start_is_ignored(start: Any, paths: RunPaths) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = start(HANG)
    finally:
        signal.signal(signal.SIGHUP, before)
    until(lambda: paths.log.exists() and "training" in paths.log.read_text())
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    code, _ = ended(process)
    assert code == 128 + signal.SIGTERM


def test_a_run_without_a_turn_goes_on_whatever_its_tries_before(
    start: Any, runs: list[RunPaths], queue: Queue
) -> None:
    idle = Attempt("", "node1", failure="time_limit", checkpoint=[0, 0], requeued=True)
    update_record(runs[1], attempts=[idle, idle])
    process = start(HANG, "--submission", submission(runs[:2]), **TASK)
    until(lambda: runs[0].log.exists() and "training" in runs[0].log.read_text())
    process.send_signal(signal.SIGUSR2)
    queue.site.answer("scontrol", "*show job*", "JobId=17 JobState=TIMEOUT BatchFlag=1")
    _, output = ended(process)
    assert f"{runs[1].name} ended (time_limit); requeue" in output


@pytest.mark.parametrize(
    ("state", "restarts", "failure", "asked"),
    [
        ("COMPLETING", 0, "cancelled", []),
        ("COMPLETING", 1, "preempted", ["requeue 17"]),
        ("PENDING", 1, "preempted", ["requeue 17"]),
    ],
)
def test_why_a_job_ends_is_heard_from_slurm(
    start: Any,
    paths: RunPaths,
    queue: Queue,
    state: str,
    restarts: int,
    failure: str,
    asked: list[str],
) -> None:
    process = start(HANG, **JOB)
    until(lambda: paths.log.exists() and "training" in paths.log.read_text())
    queue.shows(state, restarts)
    process.send_signal(signal.SIGTERM)
    code, _ = ended(process)
    assert code == 128 + signal.SIGTERM
    assert (record_of(paths).status, record_of(paths).failure) == (Status.INTERRUPTED, failure)
    assert queue.asked == asked


def test_a_job_whose_node_is_given_up_goes_on_elsewhere(
    start: Any, paths: RunPaths, queue: Queue
) -> None:
    process = start(HANG, **JOB)
    until(lambda: paths.log.exists() and "training" in paths.log.read_text())
    queue.shows("PENDING", 1)
    queue.site.answer("sinfo", "--noheader --nodes=node1 --format=%T", "down*")
    process.send_signal(signal.SIGTERM)
    ended(process)
    assert record_of(paths).failure == "node_failure"
    assert queue.asked == ["requeue 17", "update JobId=17 ExcNodeList=node1"]


def test_a_batch_job_waits_for_the_owner_of_a_run(
    start: Any, paths: RunPaths, queue: Queue
) -> None:
    with Lease.acquire(paths.lease):
        process = start(FINISH, **JOB)
        assert f"{paths.name} is held by process {os.getpid()} " in process.stdout.readline()
    code, _ = ended(process)
    assert code == 0


def test_a_later_start_of_a_job_gets_the_run_of_one_that_lives_on(
    start: Any, runs: list[RunPaths], queue: Queue
) -> None:
    folder = submission(runs)
    earlier = start(HANG, "--submission", folder, **TASK)
    until(lambda: runs[0].log.exists() and "training" in runs[0].log.read_text())
    queue.shows(restarts=1)
    later = start(FINISH, "--submission", folder, **TASK, SLURM_RESTART_COUNT="1")
    code, output = ended(earlier)
    assert code == 69
    assert f"{runs[0].name} is left: a later start of job 17_1 asks for it" in output
    code, _ = ended(later)
    assert code == 0
    assert [record_of(run).status for run in runs] == [Status.FINISHED] * 3
    assert [item.restarts for item in record_of(runs[0]).attempts] == [0, 1]
    code, _ = ended(start(HANG, "--submission", folder, "--after", "69", **TASK))
    assert (code, queue.asked) == (69, [])


def test_a_job_whose_run_stays_held_comes_back_a_few_times(
    paths: RunPaths, queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(attempt, "PATIENCE_SECONDS", 0)
    caplog.set_level("INFO")
    with Lease.acquire(paths.lease, job="12"):
        for restarts in range(4):
            monkeypatch.setenv("SLURM_JOB_ID", "17")
            monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
            assert work([paths], ClusterConfig("slurm")) == 69
    assert "has another owner; stop: 4 of 4 starts have waited for it" in caplog.text
    assert queue.asked == ["requeue 17"] * 3
    assert record_of(paths).attempts == []


def test_a_run_that_somebody_took_is_not_written_to_any_more(
    start: Any, paths: RunPaths, queue: Queue
) -> None:
    process = start(HANG, **JOB)
    until(lambda: paths.log.exists() and "training" in paths.log.read_text())
    (paths.lease / "2").touch()
    before = paths.record.read_text()
    code, output = ended(process)
    assert code == 69
    assert f"ERROR the lease of {paths.name} was lost; nothing more is written to it" in output
    assert paths.record.read_text() == before
    assert queue.asked == []


@pytest.mark.parametrize("whose", ["os.getpid()", "os.getppid()"])
def test_a_full_disk_is_said_in_one_line(start: Any, paths: RunPaths, whose: str) -> None:
    fill = f"import resource; resource.prlimit({whose}, resource.RLIMIT_FSIZE, (0, -1)); "
    write = f"print('goes on', flush=True); open({str(paths.folder / 'x')!r}, 'w').write('x')"
    code, output = ended(start(fill + write))
    assert "goes on" in output
    if whose == "os.getpid()":  # the worker can still write
        assert record_of(paths).failure == "bug"
        return
    assert code == 74
    assert f"ERROR {paths.folder} cannot be written to (File too large)\n" in output
    assert "Traceback" not in output.split("goes on")[1]


# Several runs in one job.


@pytest.mark.parametrize(
    ("event", "fields"),
    [("submitted", {"job": "16"}), ("refused", {"why": "the launch was killed before"})],
)
def test_a_job_that_was_submitted_twice_leaves_the_runs_to_the_other(
    start: Any, runs: list[RunPaths], event: str, fields: dict[str, str]
) -> None:
    folder = submission(runs)
    ledger.append(runs[0].sweep, event, submission=folder.name, **fields)
    code, output = ended(start(FINISH, "--submission", folder, **TASK))
    assert (code, record_of(runs[0]).status) == (0, Status.CREATED)
    assert "this job was submitted a second time; the first one sees to its runs" in output


def test_a_task_of_a_submission_works_through_its_runs(
    start: Any, runs: list[RunPaths], queue: Queue
) -> None:
    code, _ = ended(start(FINISH, "--submission", submission(runs), **TASK))
    assert code == 0
    assert [record_of(run).status for run in runs] == [Status.FINISHED] * 3
    assert {record_of(run).job_id for run in runs} == {"17_1"}


def test_runs_side_by_side_share_the_cpus(start: Any, runs: list[RunPaths], queue: Queue) -> None:
    count = "print('cpus', os.environ['XRAY_HPC_CPUS'], flush=True)\n"
    folder = submission(runs, runs_per_gpu=3)
    _, output = ended(start(count + FINISH, "--submission", folder, **TASK))
    for run in runs:
        assert f"{run.name}: cpus 2\n" in output  # of 8
        assert "cpus 2\n" in run.log.read_text()


def test_a_job_without_gpus_trains_on_none(start: Any, paths: RunPaths, queue: Queue) -> None:
    count = "print('gpus', os.environ.get('XRAY_HPC_GPUS'), flush=True)\n"
    _, output = ended(start(count + FINISH, **JOB))
    assert "gpus 0\n" in output


def test_of_a_job_that_slurm_does_not_tell_of_no_gpus_are_counted(
    start: Any, paths: RunPaths, queue: Queue
) -> None:
    queue.site.answer("scontrol", "*show job*", "Invalid job id specified", code=1)
    count = "print('gpus', os.environ.get('XRAY_HPC_GPUS'), flush=True)\n"
    _, output = ended(start(count + FINISH, **JOB))
    assert "gpus None\n" in output


def test_a_job_goes_on_for_the_runs_that_may_yet_finish(
    start: Any, runs: list[RunPaths], queue: Queue
) -> None:
    by_run = f"""
if sys.argv[-1].endswith({runs[0].name!r}):
    os._exit(7)
if sys.argv[-1].endswith({runs[1].name!r}):
    os.kill(os.getpid(), 9)
"""
    folder = submission(runs)
    code, _ = ended(start(by_run + FINISH, "--submission", folder, **TASK))
    assert code == 7
    assert queue.asked == ["requeue 17_1"]
    assert [record_of(run).attempts[0].requeued for run in runs] == [False, True, False]
    code, _ = ended(start(FINISH, "--submission", folder, **TASK, SLURM_RESTART_COUNT="1"))
    assert code == 1
    assert [len(record_of(run).attempts) for run in runs] == [1, 2, 1]
    assert record_of(runs[0]).failure == "bug"


def test_runs_whose_turn_had_not_come_are_left_for_the_next_start(
    start: Any, runs: list[RunPaths], queue: Queue
) -> None:
    process = start(HANG, "--submission", submission(runs), **TASK)
    until(lambda: runs[0].log.exists() and "training" in runs[0].log.read_text())
    queue.shows("COMPLETING", restarts=1)
    process.send_signal(signal.SIGTERM)
    code, output = ended(process)
    assert code == 128 + signal.SIGTERM
    assert output.count("(preempted); requeue") == 3
    assert [len(record_of(run).attempts) for run in runs] == [1, 0, 0]


def test_what_a_killed_worker_could_not_do_is_done_after_it(
    start: Any, runs: list[RunPaths], queue: Queue
) -> None:
    folder = submission(runs[:1])
    process = start(HANG, "--submission", folder, **TASK)
    until(lambda: runs[0].log.exists() and "training" in runs[0].log.read_text())
    killed(process)
    code, _ = ended(start(HANG, "--submission", folder, "--after", "137", **TASK))
    assert code == 137
    assert queue.asked == ["requeue 17_1"]
    record = record_of(runs[0])
    assert (record.status, record.failure, record.attempts[0].requeued) == (
        Status.FAILED,
        "killed",
        True,
    )


@pytest.mark.parametrize(
    ("code", "failure", "said", "asked"),
    [
        (265, "killed", "its job's task was killed by SIGKILL; out", ["requeue 17_1"]),
        (74, "storage", "its job's task ended with exit code 74", []),
        (1, "bug", "its job's task ended with exit code 1", []),
    ],
)
def test_the_code_of_a_task_tells_why_it_died(
    start: Any, runs: list[RunPaths], queue: Queue, code: int, failure: str, said: str, asked: Any
) -> None:
    folder = submission(runs)
    ended(start(HANG, "--submission", folder, "--after", str(code), **TASK))
    assert queue.asked == asked
    first, *others = (record_of(run) for run in runs)
    assert first.failure == failure
    assert first.error is not None
    assert first.error["message"].startswith(said)
    assert [other.status for other in others] == [Status.CREATED] * 2


def test_a_worker_killed_again_and_again_before_it_begins_is_not_put_back_for_ever(
    start: Any, runs: list[RunPaths], queue: Queue
) -> None:
    folder = submission(runs)
    for restarts in range(4):
        queue.shows(restarts=restarts)
        count = {"SLURM_RESTART_COUNT": str(restarts)}
        ended(start(HANG, "--submission", folder, "--after", "137", **TASK, **count))
    assert len(record_of(runs[0]).attempts) == 2  # which got no further than those before
    assert len(queue.asked) == 4  # for the others, whose turn has not come


def test_what_a_training_could_say_before_its_worker_was_killed_stands(
    start: Any, runs: list[RunPaths], queue: Queue
) -> None:
    say = SAY_FAILED.replace("FAILURE", "'nan_loss'").replace("os._exit(1)", "")
    folder = submission(runs[:1])
    process = start(say + "print('said', flush=True)\n" + HANG, "--submission", folder, **TASK)
    until(lambda: record_of(runs[0]).status is Status.FAILED)
    killed(process)
    ended(start(HANG, "--submission", folder, "--after", "137", **TASK))
    record = record_of(runs[0])
    assert (record.failure, record.error) == ("nan_loss", {"type": "E", "message": "said"})
    assert record.attempts[0].ended is not None
    assert queue.asked == []


def test_a_bug_in_watching_one_run_does_not_keep_others_from_being_put_back(
    start: Any, runs: list[RunPaths], queue: Queue
) -> None:
    update_record(runs[0], job_ids=None)  # which no launch writes
    folder = submission(runs[:2])
    code, output = ended(start("os.kill(os.getpid(), 9)", "--submission", folder, **TASK))
    assert code == 1
    assert "Traceback" in output
    assert queue.asked == ["requeue 17_1"]


def test_after_a_worker_that_did_it_nothing_is_left_to_do(
    start: Any, runs: list[RunPaths], queue: Queue
) -> None:
    folder = submission(runs[:1])
    ended(start("os._exit(7)", "--submission", folder, **TASK))
    before = record_of(runs[0])
    code, output = ended(start(HANG, "--submission", folder, "--after", "7", **TASK))
    assert (code, output) == (7, "")
    assert record_of(runs[0]) == before


def test_a_task_that_is_not_there_is_refused(start: Any, runs: list[RunPaths]) -> None:
    folder = submission(runs)
    code, output = ended(start(HANG, "--submission", folder, SLURM_ARRAY_TASK_ID="2"))
    assert code == 2
    assert f"{folder}/tasks.json has no task 2; it has 2" in output


def test_a_folder_that_is_no_submission_is_refused(start: Any, tmp_path: Path) -> None:
    code, output = ended(start(HANG, "--submission", tmp_path))
    assert code == 2
    assert f"{tmp_path} is not a submission: it holds no tasks.json" in output
