"""How many jobs a cluster takes, and how arrays are split to fit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import UserError
from xray_hpc.launching.preflight.limits import Limits, Part, limits, split


def room(**keys: Any) -> int | None:
    return limits(ClusterConfig("slurm", **keys)).submit


def test_the_controller_says_how_large_an_array_and_the_queue_may_be(site: Any) -> None:
    site.answer("sacctmgr", "*", "no", code=1)
    assert limits(ClusterConfig("slurm")) == Limits(array_index=1001, submit=None)


def test_what_is_queued_counts_for_the_users_limit_in_the_account(site: Any) -> None:
    assert room(account="lungs") == 40 - 4


def test_jobs_of_everybody_in_an_account_count_for_the_accounts_limit(site: Any) -> None:
    assert room() == 30 - 10
    site.answer("squeue", "*", "somebody|lab|normal|main\n" * 25)
    assert room() == 5


def test_jobs_in_an_account_count_for_the_account_above_it(site: Any) -> None:
    site.answer("squeue", "*", "somebody|lab|normal|main\n" * 280)
    assert room(account="lungs") == 20


def test_jobs_of_a_qos_count_for_its_limit(site: Any) -> None:
    assert room(qos="tiny") == 5


def test_the_qos_of_the_partition_counts_too(site: Any) -> None:
    partitions = site.recorded("partitions.txt").replace("QoS=N/A", "QoS=tiny")
    site.answer("scontrol", "*show partition", partitions)
    site.answer("squeue", "*", f"{site.user}|lungs|normal|main\n" * 3)
    assert room(account="lungs") == 2


def test_a_limit_that_others_have_used_up_leaves_no_room(site: Any) -> None:
    site.answer("squeue", "*", "somebody|lab|normal|main\n" * 99)
    assert room() == 0


def test_limits_that_slurm_does_not_enforce_are_none(site: Any) -> None:
    config = site.recorded("config.txt").replace("associations,limits,qos", "associations")
    site.answer("scontrol", "*show config", config)
    assert room() is None


def test_accounting_that_does_not_answer_in_time_has_no_limits(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_hpc.slurm.sacctmgr.TIMEOUT_SECONDS", 0.2)
    site.act("sacctmgr", "*", "exec sleep 60")
    assert room() is None


def test_a_controller_that_is_away_is_said(site: Any) -> None:
    site.answer("scontrol", "*", "Unable to contact slurm controller", code=1)
    with pytest.raises(UserError, match=r"Slurm does not answer .*; try again later"):
        limits(ClusterConfig("slurm"))


def test_without_a_limit_on_how_many_run_the_parts_go_all_at_once() -> None:
    assert split(2500, array_size=1001, parallel=None) == [
        Part(0, 1001, None, None),
        Part(1001, 2002, None, None),
        Part(2002, 2500, None, None),
    ]


def test_with_one_the_parts_share_it_by_their_sizes() -> None:
    assert split(2500, array_size=1001, parallel=10) == [
        Part(0, 1000, 4, None),
        Part(1000, 1750, 3, None),
        Part(1750, 2500, 3, None),
    ]


def test_parts_that_are_more_than_may_run_wait_for_one_another() -> None:
    assert split(2500, array_size=1001, parallel=1) == [
        Part(0, 1001, 1, None),
        Part(1001, 2002, 1, 0),
        Part(2002, 2500, 1, 1),
    ]


SIZES = {"tasks": st.integers(0, 400), "array_size": st.integers(1, 60)}
PARALLEL = st.integers(1, 80)


@given(**SIZES, parallel=st.none() | PARALLEL)
def test_every_task_is_in_one_part_in_order_and_no_part_is_too_large(
    tasks: int, array_size: int, parallel: int | None
) -> None:
    parts = split(tasks, array_size=array_size, parallel=parallel)
    assert [task for part in parts for task in range(part.start, part.stop)] == list(range(tasks))
    assert all(1 <= part.stop - part.start <= array_size for part in parts)


@given(**SIZES, parallel=PARALLEL)
def test_as_many_run_at_once_as_may_and_never_more(
    tasks: int, array_size: int, parallel: int
) -> None:
    parts = split(tasks, array_size=array_size, parallel=parallel)
    first = [part.throttle or 0 for part in parts if part.after is None]
    assert sum(first) == min(parallel, tasks)
    for position, part in enumerate(parts):
        assert part.throttle is not None
        assert part.throttle >= 1
        if part.after is not None:
            assert part.after == position - 1
            assert parts[part.after].throttle == part.throttle


@given(**SIZES, parallel=PARALLEL)
def test_a_lane_has_tasks_in_proportion_to_its_share(
    tasks: int, array_size: int, parallel: int
) -> None:
    lanes: list[list[Part]] = []
    for part in split(tasks, array_size=array_size, parallel=parallel):
        if part.after is None:
            lanes.append([])
        lanes[-1].append(part)
    for lane in lanes:
        share = (lane[0].throttle or 0) / min(parallel, tasks)
        assert abs(lane[-1].stop - lane[0].start - share * tasks) < 1
