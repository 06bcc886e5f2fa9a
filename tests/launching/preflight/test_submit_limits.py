from __future__ import annotations

from typing import Any

import pytest

from tests.fake_slurm import FakeSlurm
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import SlurmUnavailableError
from xray_hpc.launching.preflight.submit_limits import SubmitLimits, query_submit_limits


def jobs_left(**keys: Any) -> int | None:
    return query_submit_limits(ClusterConfig("slurm", **keys)).jobs_left


def test_without_accounting_only_the_array_size_is_limited(site: FakeSlurm) -> None:
    site.answer("sacctmgr", "*", "no", code=1)
    assert query_submit_limits(ClusterConfig("slurm")) == SubmitLimits(
        array_size=1001, jobs_left=None
    )


def test_own_queued_jobs_count_against_the_users_limit_in_the_account(site: FakeSlurm) -> None:
    assert jobs_left(account="lungs") == 40 - 4


def test_all_jobs_of_an_account_count_against_its_limit(site: FakeSlurm) -> None:
    assert jobs_left() == 30 - 10
    site.answer("squeue", "*", "somebody|lab|normal|main\n" * 25)
    assert jobs_left() == 5


def test_jobs_of_an_account_count_against_its_parents_limit(site: FakeSlurm) -> None:
    site.answer("squeue", "*", "somebody|lab|normal|main\n" * 280)
    assert jobs_left(account="lungs") == 20


def test_jobs_of_a_qos_count_against_its_limit(site: FakeSlurm) -> None:
    assert jobs_left(qos="tiny") == 5


def test_the_partitions_qos_limits_jobs_too(site: FakeSlurm) -> None:
    partitions = site.recorded("partitions.txt").replace("QoS=N/A", "QoS=tiny")
    site.answer("scontrol", "*show partition", partitions)
    site.answer("squeue", "*", f"{site.user}|lungs|normal|main\n" * 3)
    assert jobs_left(account="lungs") == 2


def test_a_limit_used_up_by_others_leaves_no_jobs(site: FakeSlurm) -> None:
    site.answer("squeue", "*", "somebody|lab|normal|main\n" * 99)
    assert jobs_left() == 0


def test_limits_that_slurm_does_not_enforce_are_ignored(site: FakeSlurm) -> None:
    config = site.recorded("config.txt").replace("associations,limits,qos", "associations")
    site.answer("scontrol", "*show config", config)
    assert jobs_left() is None


def test_limits_of_slow_accounting_are_ignored(
    site: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_hpc.slurm.sacctmgr.TIMEOUT_SECONDS", 0.2)
    site.act("sacctmgr", "*", "exec sleep 60")
    assert jobs_left() is None


def test_query_submit_limits_raises_while_slurm_does_not_answer(site: FakeSlurm) -> None:
    site.answer("scontrol", "*", "Unable to contact slurm controller", code=1)
    with pytest.raises(SlurmUnavailableError):
        query_submit_limits(ClusterConfig("slurm"))
