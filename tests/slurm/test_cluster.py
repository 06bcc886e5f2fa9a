from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.accounting import SUBMIT_LIMIT
from tests.slurm.client import Slurm
from tests.slurm.cluster import Cluster, missing_programs
from tests.slurm.config_files import Size
from tests.slurm.daemons import ClusterError
from tests.slurm.processes import alive

FOLDER = Path(__file__).parent


@pytest.fixture
def throwaway(slurm: Slurm) -> Slurm:
    if not slurm.is_throwaway:
        pytest.skip("needs a throw-away cluster")
    return slurm


def test_cluster_has_three_idle_nodes_with_two_gpus(throwaway: Slurm) -> None:
    shown = throwaway.run("sinfo", "-h", "-p", "main", "-N", "-o", "%N %T %G").stdout
    assert shown.splitlines() == [f"{node} idle gpu:2" for node in throwaway.nodes]
    assert len(throwaway.nodes) == 3


def test_array_runs_each_index_once(slurm: Slurm, shared_folder: Path) -> None:
    text = f"touch {shared_folder}/$SLURM_ARRAY_TASK_ID"
    job = slurm.submit(
        "--array=0-3", "--mem=100M", f"--output={shared_folder}/%a.out", f"--wrap={text}"
    )
    assert slurm.wait(job) == {f"{job}_{index}": "COMPLETED" for index in range(4)}
    assert all((shared_folder / str(index)).exists() for index in range(4))


def test_job_sees_the_gpus_it_requested(throwaway: Slurm) -> None:
    show = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES"]
    seen = throwaway.run("srun", "--gres=gpu:2", "--mem=100M", *show).stdout.strip()
    assert seen == "0,1"


def test_job_without_gpus_sees_none(throwaway: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    show = ["sh", "-c", "echo ${CUDA_VISIBLE_DEVICES-none}"]
    assert throwaway.run("srun", "--mem=100M", *show).stdout.strip() == "none"


def test_failing_job_has_its_exit_code(slurm: Slurm, shared_folder: Path) -> None:
    job = slurm.submit("--mem=100M", f"--output={shared_folder}/out", "--wrap=exit 3")
    assert slurm.wait(job) == {job: "FAILED"}
    assert slurm.job(job)["ExitCode"] == "3:0"


def test_job_of_the_high_partition_preempts_another(throwaway: Slurm, shared_folder: Path) -> None:
    whole = ["--nodes=3", "--exclusive", f"--output={shared_folder}/out"]
    low = throwaway.submit(*whole, "--wrap=sleep 60")
    throwaway.wait_for(low, "RUNNING")
    high = throwaway.submit("--partition=high", *whole, "--wrap=true")
    assert throwaway.wait(high) == {high: "COMPLETED"}
    throwaway.wait_for_restart(low)


def test_job_with_a_grace_time_gets_a_signal_before_preemption(
    throwaway: Slurm, shared_folder: Path
) -> None:
    whole = ["--nodes=3", "--exclusive", f"--output={shared_folder}/out"]
    text = f"trap 'touch {shared_folder}/signalled' USR2; sleep 60 & wait; wait"
    low = throwaway.submit("--partition=graced", "--signal=B:USR2@1", *whole, f"--wrap={text}")
    throwaway.wait_for(low, "RUNNING")
    throwaway.submit("--partition=high", *whole, "--wrap=true")
    throwaway.wait_for_restart(low)
    assert (shared_folder / "signalled").exists()


def test_job_survives_its_nodes_daemon(throwaway: Slurm, shared_folder: Path) -> None:
    assert throwaway.cluster is not None
    wait = f"--wrap=until [ -e {shared_folder}/go ]; do sleep 0.1; done"
    job = throwaway.submit("--mem=100M", f"--output={shared_folder}/out", wait)
    throwaway.wait_for(job, "RUNNING")
    node = throwaway.job(job)["NodeList"]
    throwaway.cluster.kill_node(node)
    throwaway.cluster.start_node(node)
    (shared_folder / "go").touch()
    assert throwaway.wait(job) == {job: "COMPLETED"}


def test_jobs_of_a_node_that_is_set_down_run_on_another(
    throwaway: Slurm, shared_folder: Path
) -> None:
    assert throwaway.cluster is not None
    job = throwaway.submit("--mem=100M", f"--output={shared_folder}/out", "--wrap=sleep 60")
    throwaway.wait_for(job, "RUNNING")
    node = throwaway.job(job)["NodeList"]
    throwaway.cluster.set_down(node)
    throwaway.wait_for_restart(job)
    throwaway.wait_for(job, "RUNNING")
    assert throwaway.job(job)["NodeList"] != node
    throwaway.cluster.resume(node)


def test_restarted_controller_knows_its_jobs(throwaway: Slurm, shared_folder: Path) -> None:
    assert throwaway.cluster is not None
    wait = f"--wrap=until [ -e {shared_folder}/go ]; do sleep 0.1; done"
    job = throwaway.submit("--mem=100M", f"--output={shared_folder}/out", wait)
    throwaway.wait_for(job, "RUNNING")
    throwaway.cluster.stop_controller()
    throwaway.cluster.start_controller()
    (shared_folder / "go").touch()
    assert throwaway.wait(job) == {job: "COMPLETED"}


def test_accounting_lists_an_ended_job(accounted: Slurm, shared_folder: Path) -> None:
    job = accounted.submit("--mem=100M", f"--output={shared_folder}/out", "--wrap=exit 3")
    accounted.wait(job)
    command = ("sacct", "-X", "--noheader", "--parsable2", "-j", job, "-o", "State,ExitCode")
    end = time.monotonic() + 120
    while "FAILED" not in (output := accounted.run(*command).stdout):
        assert time.monotonic() < end, output
        time.sleep(0.2)
    assert output == "FAILED|3:0\n"


@pytest.mark.parametrize("option", ["--account=few", "--qos=few"])
def test_accounting_limits_submitted_jobs(
    accounted: Slurm, shared_folder: Path, option: str
) -> None:
    job = ["--hold", "--mem=100M", f"--output={shared_folder}/out", option, "--wrap=true"]
    accounted.submit(f"--array=1-{SUBMIT_LIMIT}", *job)
    refused = accounted.run("sbatch", *job, check=False)
    assert refused.returncode != 0
    assert "MaxSubmitJob" in refused.stderr


def test_cluster_has_the_chosen_size_and_starts_once() -> None:
    if os.geteuid() != 0 or missing_programs():
        pytest.skip("needs root and Slurm's packages")
    cluster = Cluster.claim(Size(nodes=1, cpus=4, gpus=1, max_array_size=11))
    try:
        cluster.start()
        slurm = Slurm.throwaway(cluster)
        environment = os.environ | slurm.environment
        with pytest.raises(ClusterError, match=rf"runs already.* SLURM_CONF={cluster.conf};"):
            Cluster(cluster.slot).start()
        shown = slurm.run("sinfo", "-h", "-o", "%c %G", "-p", "main", env=environment).stdout
        array = ("sbatch", "--array=0-11", "--wrap=true")
        refused = slurm.run(*array, check=False, env=environment)
    finally:
        cluster.stop()
    assert shown == "4 gpu:1\n"
    assert "Invalid job array specification" in refused.stderr


def test_killed_session_leaves_no_processes() -> None:
    if os.geteuid() != 0 or missing_programs():
        pytest.skip("needs root and Slurm's packages")
    session = (
        "import time; from cluster import Cluster; cluster = Cluster.claim(); cluster.start();"
        "print(cluster.slot, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", session], cwd=FOLDER, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process, process.stdout:
        cluster = Cluster(int(process.stdout.readline()))
        environment = os.environ | {"SLURM_CONF": str(cluster.conf)}
        job = ["srun", "--mem=100M", "sh", "-c", "echo $$; sleep 600"]
        step = subprocess.Popen(job, env=environment, stdout=subprocess.PIPE, text=True)
        assert step.stdout is not None
        with step, step.stdout:
            pids = [int(step.stdout.readline())]
            pids += [int(path.read_text()) for path in cluster.folder.glob("*.pid")]
            process.send_signal(signal.SIGKILL)
            end = time.monotonic() + 60
            while any(map(alive, pids)) and time.monotonic() < end:
                time.sleep(0.05)
            step.kill()
    assert len(pids) == 7  # the job, slurmctld, three slurmds, munged and the reaper
    assert not cluster.folder.exists()
    assert not [pid for pid in pids if alive(pid)]
