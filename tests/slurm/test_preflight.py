"""What preflight says of a real cluster, beside what sbatch says. No job is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.accounting import SUBMIT_LIMIT
from tests.slurm.client import Slurm
from tests.slurm.configuration import MEMORY_MB, Size
from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig
from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.errors import ConfigError, SlurmUnavailableError, SubmitLimitError
from xray_hpc.launching.plan import Plan
from xray_hpc.launching.preflight import checks
from xray_hpc.launching.preflight.submit_limits import query_submit_limits

GPUS, CPUS = Size().gpus, Size().cpus
Check = Callable[..., list[str]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Check a sweep on the cluster; notes on where its files are, are left out."""

    def check(**keys: Any) -> list[str]:
        small = {"gpus": 0, "cpus": 1, "mem": "500M", "time": 10}
        cpu_job = CpuJobConfig(time=10, cpus=1, mem="500M")
        cluster = ClusterConfig("slurm", **{**small, "cpu_job": cpu_job, **keys})
        settings = SweepSettings(
            cluster=cluster, name="s", results=tmp_path, cache=tmp_path / ".cache"
        )
        notes = checks.check(Plan(settings, (), {}), 1)
        return [note for note in notes if not note.startswith(("results", "cache"))]

    return check


@pytest.fixture
def own(slurm: Slurm) -> Slurm:
    """The cluster, if it is one of ours, whose nodes and partitions are known."""
    if not slurm.own:
        pytest.skip("knows only the nodes of its own cluster")
    return slurm


@pytest.fixture
def brief(own: Slurm) -> Iterator[Slurm]:
    """The cluster with a partition ``brief`` of an hour."""
    own.run("scontrol", "create", "PartitionName=brief", "Nodes=ALL", "MaxTime=60")
    yield own
    own.run("scontrol", "delete", "PartitionName=brief")


def script(*options: str) -> str:
    directives = "".join(f"#SBATCH {option}\n" for option in options)
    return f"#!/bin/bash\n{directives}true\n"


def test_what_fits_any_cluster_is_taken(slurm: Slurm, check: Check) -> None:
    assert check(partition=slurm.partition) == []
    checks.check_script(script("--time=10", "--mem=500M", "--nodes=1"))


def test_a_whole_node_is_taken(own: Slurm, check: Check) -> None:
    assert check(gpus=GPUS, cpus=CPUS, mem=f"{MEMORY_MB}M", constraint="drawn") == []
    whole = (f"--gpus-per-node={GPUS}", f"--cpus-per-task={CPUS}", f"--mem={MEMORY_MB}M")
    checks.check_script(script("--nodes=1", *whole, "--constraint=drawn"))


@pytest.mark.parametrize(
    ("keys", "option", "words"),
    [
        ({"partition": "mian"}, "--partition=mian", "did you mean 'main'?"),
        ({"gpus": GPUS + 1}, f"--gpus-per-node={GPUS + 1}", f"use {GPUS} or fewer"),
        ({"cpus": CPUS + 1}, f"--cpus-per-task={CPUS + 1}", f"use {CPUS} or less"),
        ({"mem": f"{MEMORY_MB + 1}M"}, f"--mem={MEMORY_MB + 1}M", f"use {MEMORY_MB}M or less"),
        ({"constraint": "dawn"}, "--constraint=dawn", "did you mean 'drawn'?"),
    ],
)
def test_what_sbatch_refuses_is_refused_with_what_would_do(
    own: Slurm, check: Check, keys: dict[str, Any], option: str, words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        check(**keys)
    assert words in str(refused.value)
    tried = own.run("sbatch", "--test-only", "--nodes=1", option, "--wrap=true", check=False)
    assert tried.returncode != 0


def test_a_time_with_which_a_job_would_wait_for_ever_is_refused(brief: Slurm, check: Check) -> None:
    assert check(partition="brief", time=60) == []
    checks.check_script(script("--partition=brief", "--time=61"))
    with pytest.raises(ConfigError, match=r"cluster\.time is 61 .*'brief'.* 60"):
        check(partition="brief", time=61)


def test_a_partition_that_takes_no_jobs_is_refused(brief: Slurm, check: Check) -> None:
    brief.run("scontrol", "update", "PartitionName=brief", "State=DRAIN")
    with pytest.raises(ConfigError, match=r"'brief'.*DRAIN"):
        check(partition="brief")


def test_nodes_that_are_all_drained_are_a_note(own: Slurm, check: Check) -> None:
    nodes = f"nodename={','.join(own.nodes)}"
    own.run("scontrol", "update", nodes, "state=drain", "reason=State=IDLE Gres=gpu:9, honestly")
    (note,) = check(gpus=1)
    assert "partition 'main'" in note
    checks.check_script(script("--gpus-per-node=1"))  # which by itself would not tell the two apart


def test_a_controller_that_does_not_answer_is_said(
    own: Slurm, check: Check, tmp_path: Path
) -> None:
    conf = Path(own.environment["SLURM_CONF"]).read_text()
    elsewhere = [
        "SlurmctldPort=1" if line.startswith("SlurmctldPort=") else line
        for line in [*conf.splitlines(), "MessageTimeout=2"]
    ]
    (tmp_path / "slurm.conf").write_text("\n".join(elsewhere) + "\n")
    with pytest.MonkeyPatch.context() as away:
        away.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
        for ask in (check, lambda: checks.check_script(script())):
            with pytest.raises(SlurmUnavailableError):
                ask()


def test_the_controller_says_its_limits(own: Slurm) -> None:
    found = query_submit_limits(ClusterConfig("slurm"))
    assert (found.array_size, found.jobs_left) == (1001, None)


def test_accounts_and_qos_are_those_of_the_user(accounted: Slurm, check: Check) -> None:
    assert check() == []
    assert check(account="few", qos="few") == []
    with pytest.raises(
        ConfigError, match=r"cluster.account 'lob' is unknown; did you mean 'lab'\?"
    ):
        check(account="lob")
    with pytest.raises(ConfigError, match=r"cluster.qos 'fiew' is unknown; did you mean 'few'\?"):
        check(qos="fiew")


@pytest.mark.parametrize("keys", [{"account": "few"}, {"qos": "few"}])
def test_what_is_queued_leaves_less_room(accounted: Slurm, keys: dict[str, str]) -> None:
    cluster = ClusterConfig("slurm", **keys)  # type: ignore[arg-type]
    assert query_submit_limits(ClusterConfig("slurm")).jobs_left is None
    assert query_submit_limits(cluster).jobs_left == SUBMIT_LIMIT
    options = [f"--{name}={value}" for name, value in keys.items()]
    accounted.submit("--hold", "--array=0-6", *options, "--wrap=true")
    room = query_submit_limits(cluster).jobs_left
    assert room == SUBMIT_LIMIT - 7
    checks.check_script(script(f"--array=0-{room - 1}", *options))
    with pytest.raises(SubmitLimitError, match="SubmitJob"):
        checks.check_script(script(f"--array=0-{room}", *options))
