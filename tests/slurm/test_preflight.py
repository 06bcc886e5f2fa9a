"""Preflight checks compared with sbatch on a real cluster; no job is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.accounting import SUBMIT_LIMIT
from tests.slurm.client import Slurm
from tests.slurm.config_files import MEMORY_MB, Size
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
    """Check a sweep on the cluster, and return the notes except those on its folders."""

    def check(**keys: Any) -> list[str]:
        small = {"gpus": 0, "cpus": 1, "mem": "500M", "time": 10}
        cpu_job = CpuJobConfig(time=10, cpus=1, mem="500M")
        cluster = ClusterConfig("slurm", **{**small, "cpu_job": cpu_job, **keys})
        settings = SweepSettings(
            cluster=cluster, name="s", results=tmp_path, cache=tmp_path / ".cache"
        )
        notes = checks.check_plan(Plan(settings, (), {}), 1)
        return [note for note in notes if not note.startswith(("results", "cache"))]

    return check


@pytest.fixture
def throwaway(slurm: Slurm) -> Slurm:
    """The cluster, if it is a throw-away one, whose nodes and partitions are known."""
    if not slurm.is_throwaway:
        pytest.skip("needs a throw-away cluster")
    return slurm


@pytest.fixture
def brief(throwaway: Slurm) -> Iterator[Slurm]:
    """The cluster with a partition ``brief`` that has a limit of one hour."""
    throwaway.run("scontrol", "create", "PartitionName=brief", "Nodes=ALL", "MaxTime=60")
    yield throwaway
    throwaway.run("scontrol", "delete", "PartitionName=brief")


def script(*options: str) -> str:
    directives = "".join(f"#SBATCH {option}\n" for option in options)
    return f"#!/bin/bash\n{directives}true\n"


def test_check_accepts_a_small_job_on_any_cluster(slurm: Slurm, check: Check) -> None:
    assert check(partition=slurm.partition) == []
    checks.check_script(script("--time=10", "--mem=500M", "--nodes=1"))


def test_check_accepts_a_whole_node(throwaway: Slurm, check: Check) -> None:
    assert check(gpus=GPUS, cpus=CPUS, mem=f"{MEMORY_MB}M", constraint="drawn") == []
    whole = (f"--gpus-per-node={GPUS}", f"--cpus-per-task={CPUS}", f"--mem={MEMORY_MB}M")
    checks.check_script(script("--nodes=1", *whole, "--constraint=drawn"))


@pytest.mark.parametrize(
    ("keys", "option", "hint"),
    [
        ({"partition": "mian"}, "--partition=mian", "did you mean 'main'?"),
        ({"gpus": GPUS + 1}, f"--gpus-per-node={GPUS + 1}", f"use {GPUS} or fewer"),
        ({"cpus": CPUS + 1}, f"--cpus-per-task={CPUS + 1}", f"use {CPUS} or less"),
        ({"mem": f"{MEMORY_MB + 1}M"}, f"--mem={MEMORY_MB + 1}M", f"use {MEMORY_MB}M or less"),
        ({"constraint": "dawn"}, "--constraint=dawn", "did you mean 'drawn'?"),
    ],
)
def test_check_refuses_what_sbatch_refuses_and_names_what_is_valid(
    throwaway: Slurm, check: Check, keys: dict[str, Any], option: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        check(**keys)
    assert hint in str(refused.value)
    sbatch = throwaway.run("sbatch", "--test-only", "--nodes=1", option, "--wrap=true", check=False)
    assert sbatch.returncode != 0


def test_check_refuses_a_time_limit_that_sbatch_accepts_but_never_starts(
    brief: Slurm, check: Check
) -> None:
    assert check(partition="brief", time=60) == []
    checks.check_script(script("--partition=brief", "--time=61"))
    with pytest.raises(ConfigError, match=r"cluster\.time is 61 .*'brief'.* 60"):
        check(partition="brief", time=61)


def test_check_refuses_a_drained_partition(brief: Slurm, check: Check) -> None:
    brief.run("scontrol", "update", "PartitionName=brief", "State=DRAIN")
    with pytest.raises(ConfigError, match=r"'brief'.*DRAIN"):
        check(partition="brief")


def test_check_notes_that_all_nodes_are_drained(throwaway: Slurm, check: Check) -> None:
    nodes = f"nodename={','.join(throwaway.nodes)}"
    throwaway.run(
        "scontrol", "update", nodes, "state=drain", "reason=State=IDLE Gres=gpu:9, honestly"
    )
    (note,) = check(gpus=1)
    assert "partition 'main'" in note
    checks.check_script(script("--gpus-per-node=1"))


def test_check_raises_while_slurm_does_not_answer(
    throwaway: Slurm, check: Check, tmp_path: Path
) -> None:
    conf = Path(throwaway.environment["SLURM_CONF"]).read_text()
    lines = [
        "SlurmctldPort=1" if line.startswith("SlurmctldPort=") else line
        for line in [*conf.splitlines(), "MessageTimeout=2"]
    ]
    (tmp_path / "slurm.conf").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
        for run_check in (check, lambda: checks.check_script(script())):
            with pytest.raises(SlurmUnavailableError):
                run_check()


def test_query_submit_limits_reads_the_array_size(throwaway: Slurm) -> None:
    found = query_submit_limits(ClusterConfig("slurm"))
    assert (found.array_size, found.jobs_left) == (1001, None)


def test_check_accepts_only_the_users_accounts_and_qos(accounted: Slurm, check: Check) -> None:
    assert check() == []
    assert check(account="few", qos="few") == []
    with pytest.raises(ConfigError, match=r"'lob' .* 'lab'"):
        check(account="lob")
    with pytest.raises(ConfigError, match=r"'fiew' .* 'few'"):
        check(qos="fiew")


@pytest.mark.parametrize("keys", [{"account": "few"}, {"qos": "few"}])
def test_query_submit_limits_subtracts_queued_jobs(accounted: Slurm, keys: dict[str, str]) -> None:
    cluster = ClusterConfig("slurm", **keys)  # type: ignore[arg-type]
    assert query_submit_limits(ClusterConfig("slurm")).jobs_left is None
    assert query_submit_limits(cluster).jobs_left == SUBMIT_LIMIT
    options = [f"--{name}={value}" for name, value in keys.items()]
    accounted.submit("--hold", "--array=0-6", *options, "--wrap=true")
    left = query_submit_limits(cluster).jobs_left
    assert left == SUBMIT_LIMIT - 7
    checks.check_script(script(f"--array=0-{left - 1}", *options))
    with pytest.raises(SubmitLimitError, match="SubmitJob"):
        checks.check_script(script(f"--array=0-{left}", *options))
