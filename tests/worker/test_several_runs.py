"""A job with several runs: the array tasks of a submission."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.worker.fake_job import (
    ARRAY_TASK,
    FINISH,
    HANG,
    JOB,
    KILL_ITSELF,
    FakeScontrol,
    JobStarter,
    record_of,
    wait_for_end,
    wait_for_training,
    write_submission,
)
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import NodeError
from xray_hpc.records import ledger
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Status
from xray_hpc.worker import attempt
from xray_hpc.worker.slurm_job import SlurmJob
from xray_hpc.worker.worker import run_worker


def test_task_trains_all_of_its_runs(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    code, _ = job.run(FINISH, "--submission", write_submission(runs), **ARRAY_TASK)
    assert code == 0
    assert [record_of(run).status for run in runs] == [Status.FINISHED] * 3
    assert {record_of(run).job_id for run in runs} == {"17_1"}


def test_task_shares_its_cpus_among_parallel_runs(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    print_cpus = "print('cpus', os.environ['XRAY_HPC_CPUS'], flush=True)\n"
    folder = write_submission(runs, runs_per_gpu=3)
    _, output = job.run(print_cpus + FINISH, "--submission", folder, **ARRAY_TASK)
    for run in runs:
        assert f"{run.name}: cpus 2\n" in output  # of 8
        assert "cpus 2\n" in run.log.read_text()


def test_task_is_requeued_for_the_runs_that_may_still_finish(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    first_fails_second_is_killed = f"""
if sys.argv[-1].endswith({runs[0].name!r}):
    os._exit(7)
if sys.argv[-1].endswith({runs[1].name!r}):
    {KILL_ITSELF}
"""
    folder = write_submission(runs)
    training = first_fails_second_is_killed + FINISH
    code, _ = job.run(training, "--submission", folder, **ARRAY_TASK)
    assert code == 7
    assert scontrol.requests == ["requeue 17_1"]
    assert [record_of(run).attempts[0].requeued for run in runs] == [False, True, False]

    code, _ = job.run(FINISH, "--submission", folder, **ARRAY_TASK, SLURM_RESTART_COUNT="1")
    assert code == 1
    assert [len(record_of(run).attempts) for run in runs] == [1, 2, 1]
    assert record_of(runs[0]).failure == "bug"


def test_task_that_is_preempted_leaves_unstarted_runs_to_its_next_start(
    job: JobStarter, runs: list[RunPaths], scontrol: FakeScontrol
) -> None:
    process = job(HANG, "--submission", write_submission(runs), **ARRAY_TASK)
    wait_for_training(runs[0])
    scontrol.show_job("COMPLETING", restarts=1)
    process.send_signal(signal.SIGTERM)
    code, output = wait_for_end(process)
    assert code == 128 + signal.SIGTERM
    assert output.count(": preempted; requeue") == 3
    assert [len(record_of(run).attempts) for run in runs] == [1, 0, 0]


def test_task_is_requeued_despite_a_bug_in_handling_one_run(
    runs: list[RunPaths], scontrol: FakeScontrol, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_node(folder: Path, job: SlurmJob | None) -> None:
        if folder == runs[0].folder:
            raise RuntimeError("a bug")
        raise NodeError("an unfit node")

    monkeypatch.setattr(attempt, "check_node", check_node)
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match="a bug"):
        run_worker(runs[:2], ClusterConfig("slurm", runs_per_job=2))
    assert scontrol.requests == ["requeue 17", "update JobId=17 ExcNodeList=node1"]


@pytest.mark.parametrize(
    ("event", "fields"),
    [("submitted", {"job": "16"}), ("refused", {"reason": "the launch was killed before"})],
)
def test_task_of_a_duplicate_job_trains_nothing(
    job: JobStarter, runs: list[RunPaths], event: str, fields: dict[str, str]
) -> None:
    folder = write_submission(runs)
    ledger.append(runs[0].sweep, event, submission=folder.name, **fields)
    code, output = job.run(FINISH, "--submission", folder, **ARRAY_TASK)
    assert (code, record_of(runs[0]).status) == (0, Status.CREATED)
    assert "duplicate" in output


def test_task_number_out_of_range_is_an_error(job: JobStarter, runs: list[RunPaths]) -> None:
    folder = write_submission(runs)
    code, output = job.run(HANG, "--submission", folder, **JOB, SLURM_ARRAY_TASK_ID="2")
    assert code == 2
    assert f"ERROR {folder}/tasks.json has no task 2" in output


def test_task_with_a_run_outside_of_the_sweep_is_an_error(
    job: JobStarter, runs: list[RunPaths]
) -> None:
    folder = write_submission(runs)
    file = folder / "tasks.json"
    file.write_text(file.read_text().replace(runs[0].name, f"../runs/{runs[0].name}"))
    code, output = job.run(HANG, "--submission", folder, **JOB, SLURM_ARRAY_TASK_ID="1")
    assert code == 2, output
    assert f"has the run '../runs/{runs[0].name}', which is not the name of a folder" in output
    assert not runs[0].log.exists() or not runs[0].log.read_text()


def test_task_in_a_container_that_hides_the_environment_is_an_error(
    job: JobStarter, runs: list[RunPaths]
) -> None:
    code, output = job.run(HANG, "--submission", write_submission(runs))
    assert code == 2
    assert "ERROR SLURM_JOB_ID is not set; cluster.container " in output


def test_task_of_a_folder_without_tasks_is_an_error(job: JobStarter, tmp_path: Path) -> None:
    code, output = job.run(HANG, "--submission", tmp_path, **JOB)
    assert code == 2
    assert f"ERROR {tmp_path} is not a submission" in output
