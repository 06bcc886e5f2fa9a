"""The cluster that the other tests of this folder stand on."""

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
from tests.slurm.configuration import Size
from tests.slurm.processes import alive

FOLDER = Path(__file__).parent


@pytest.fixture
def own(slurm: Slurm) -> Slurm:
    if not slurm.own:
        pytest.skip("on a site's cluster the nodes are not ours to count")
    return slurm


def test_three_nodes_with_two_gpus_each_are_idle(own: Slurm) -> None:
    shown = own.run("sinfo", "-h", "-p", "main", "-N", "-o", "%N %T %G").stdout
    assert shown.splitlines() == [f"{node} idle gpu:2" for node in own.nodes]
    assert len(own.nodes) == 3


def test_an_array_runs_each_index_once(slurm: Slurm, shared: Path) -> None:
    text = f"touch {shared}/$SLURM_ARRAY_TASK_ID"
    job = slurm.submit("--array=0-3", "--mem=100M", f"--output={shared}/%a.out", f"--wrap={text}")
    assert slurm.wait(job) == {f"{job}_{index}": "COMPLETED" for index in range(4)}
    assert all((shared / str(index)).exists() for index in range(4))


def test_a_job_sees_the_gpus_it_asked_for(own: Slurm) -> None:
    show = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES"]
    seen = own.run("srun", "--gres=gpu:2", "--mem=100M", *show).stdout.strip()
    assert seen == "0,1"


def test_a_job_without_gpus_sees_none(own: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    show = ["sh", "-c", "echo ${CUDA_VISIBLE_DEVICES-none}"]
    assert own.run("srun", "--mem=100M", *show).stdout.strip() == "none"


def test_a_failing_job_is_failed_with_its_exit_code(slurm: Slurm, shared: Path) -> None:
    job = slurm.submit("--mem=100M", f"--output={shared}/out", "--wrap=exit 3")
    assert slurm.wait(job) == {job: "FAILED"}
    assert slurm.job(job)["ExitCode"] == "3:0"


def test_a_job_of_the_high_partition_takes_the_place_of_a_lower_one(
    own: Slurm, shared: Path
) -> None:
    whole = ["--nodes=3", "--exclusive", f"--output={shared}/out"]
    low = own.submit(*whole, "--wrap=sleep 60")
    own.wait_for(low, "RUNNING")
    high = own.submit("--partition=high", *whole, "--wrap=true")
    assert own.wait(high) == {high: "COMPLETED"}
    assert own.states(low) == {low: "PENDING"}


def test_a_job_with_notice_is_told_before_it_is_preempted(own: Slurm, shared: Path) -> None:
    whole = ["--nodes=3", "--exclusive", f"--output={shared}/out"]
    text = f"trap 'touch {shared}/told' USR2; sleep 60 & wait; wait"
    low = own.submit("--partition=graced", "--signal=B:USR2@1", *whole, f"--wrap={text}")
    own.wait_for(low, "RUNNING")
    own.submit("--partition=high", *whole, "--wrap=true")
    own.wait_for(low, "PENDING")
    assert (shared / "told").exists()


def test_a_job_outlives_its_nodes_daemon(own: Slurm, shared: Path) -> None:
    assert own.cluster is not None
    job = own.submit("--mem=100M", f"--output={shared}/out", "--wrap=sleep 2")
    own.wait_for(job, "RUNNING")
    node = own.job(job)["NodeList"]
    own.cluster.kill_node(node)
    own.cluster.start_node(node)
    assert own.wait(job) == {job: "COMPLETED"}


def test_a_node_that_is_set_down_loses_its_jobs_to_another(own: Slurm, shared: Path) -> None:
    assert own.cluster is not None
    job = own.submit("--mem=100M", f"--output={shared}/out", "--wrap=sleep 60")
    own.wait_for(job, "RUNNING")
    node = own.job(job)["NodeList"]
    own.cluster.down(node)
    own.wait_for(job, "PENDING")
    own.wait_for(job, "RUNNING")
    assert own.job(job)["NodeList"] != node
    own.cluster.resume(node)


def test_a_restarted_controller_knows_its_jobs(own: Slurm, shared: Path) -> None:
    assert own.cluster is not None
    wait = f"--wrap=until [ -e {shared}/go ]; do sleep 0.1; done"
    job = own.submit("--mem=100M", f"--output={shared}/out", wait)
    own.wait_for(job, "RUNNING")
    own.cluster.stop_controller()
    own.cluster.start_controller()
    (shared / "go").touch()
    assert own.wait(job) == {job: "COMPLETED"}


def test_accounting_knows_of_a_job_that_has_ended(accounted: Slurm, shared: Path) -> None:
    job = accounted.submit("--mem=100M", f"--output={shared}/out", "--wrap=exit 3")
    accounted.wait(job)
    ask = ("sacct", "-X", "--noheader", "--parsable2", "-j", job, "-o", "State,ExitCode")
    end = time.monotonic() + 120
    while "FAILED" not in (said := accounted.run(*ask).stdout):
        assert time.monotonic() < end, said
        time.sleep(0.2)
    assert said == "FAILED|3:0\n"


@pytest.mark.parametrize("option", ["--account=few", "--qos=few"])
def test_accounting_limits_how_many_jobs_are_submitted(
    accounted: Slurm, shared: Path, option: str
) -> None:
    job = ["--hold", "--mem=100M", f"--output={shared}/out", option, "--wrap=true"]
    accounted.submit(f"--array=1-{SUBMIT_LIMIT}", *job)
    refused = accounted.run("sbatch", *job, check=False)
    assert refused.returncode != 0
    assert "MaxSubmitJob" in refused.stderr


def test_the_size_of_a_cluster_can_be_chosen() -> None:
    if os.geteuid() != 0 or missing_programs():
        pytest.skip("needs root and Slurm's packages")
    cluster = Cluster.claim(Size(nodes=1, cpus=4, gpus=1, max_array_size=11))
    try:
        cluster.start()
        slurm = Slurm.throwaway(cluster)
        environment = os.environ | slurm.environment
        shown = slurm.run("sinfo", "-h", "-o", "%c %G", "-p", "main", env=environment).stdout
        array = ("sbatch", "--array=0-11", "--wrap=true")
        refused = slurm.run(*array, check=False, env=environment)
    finally:
        cluster.stop()
    assert shown == "4 gpu:1\n"
    assert "Invalid job array specification" in refused.stderr


def test_a_killed_session_leaves_nothing_running() -> None:
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
