from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import SubmitLimitError
from xray_hpc.launching.preflight.submit_limits import SubmitLimits
from xray_hpc.launching.submission_plan import (
    ArrayPart,
    SubmissionPlan,
    plan_submission,
    split_array,
)
from xray_hpc.records.paths import SweepPaths

SWEEP = SweepPaths(Path("/results/lr"))
RUNS = [f"ft-{number:04}" for number in range(2500)]
DEFAULTS = SubmitLimits(array_size=1001, jobs_left=None)
SIZES = {"tasks": st.integers(0, 400), "array_size": st.integers(1, 60)}
PARALLEL = st.integers(1, 80)


def plan_runs(
    runs: list[str], limits: SubmitLimits = DEFAULTS, live: tuple[str, ...] = (), **cluster: int
) -> SubmissionPlan:
    config = ClusterConfig("slurm", **cluster)  # type: ignore[arg-type]
    return plan_submission(SWEEP, config, None, ["/results/lr/runs/a"], [], runs, limits, live)


def sizes(plan: SubmissionPlan) -> list[int]:
    return [len(job.tasks) for job in plan.arrays]


def test_plan_submission_splits_a_sweep_above_the_array_size() -> None:
    plan = plan_runs(RUNS)
    assert sizes(plan) == [1001, 1001, 498]
    assert [run for job in plan.arrays for task in job.tasks for run in task] == RUNS
    assert [job.throttle for job in plan.arrays] == [None, None, None]


def test_plan_submission_divides_the_parallelism_among_arrays() -> None:
    assert [job.throttle for job in plan_runs(RUNS, parallel=8).arrays] == [3, 3, 2]


def test_plan_submission_chains_arrays_beyond_the_parallelism() -> None:
    plan = plan_runs(RUNS, parallel=1)
    assert [job.after for job in plan.jobs.values()] == [
        (),
        ("STAGE",),
        ("RUNS1",),
        ("RUNS2",),
        ("RUNS1", "RUNS2", "RUNS3"),
    ]


def test_plan_submission_puts_the_features_job_between_stage_and_runs() -> None:
    shared = ["/results/lr/runs/a"]
    plan = plan_submission(SWEEP, ClusterConfig("slurm"), None, shared, shared, RUNS[:2], DEFAULTS)
    jobs = list(plan.jobs.values())
    assert [job.kind for job in jobs] == ["stage", "features", "runs", "collect"]
    assert [job.after for job in jobs] == [(), ("STAGE",), ("FEATURES",), ("RUNS",)]


def test_features_job_requests_the_resources_of_the_runs() -> None:
    config = ClusterConfig("slurm", gpus=2, mem="64G", partition="gpu", constraint="a100")
    plan = plan_submission(SWEEP, config, None, ["/a"], ["/a"], RUNS[:2], DEFAULTS)
    scripts = {job.kind: job.script(Path("/logs")) for job in plan.jobs.values()}
    requested = [
        line for line in scripts["runs"].splitlines() if re.search("gpus|mem|parti|constr", line)
    ]
    assert len(requested) == 4
    assert set(requested) <= set(scripts["features"].splitlines())


def test_features_job_checks_its_gpus_if_the_runs_do() -> None:
    for check, arguments in ((True, ("/a",)), (False, ("--unchecked", "/a"))):
        config = ClusterConfig("slurm", check_node=check)
        plan = plan_submission(SWEEP, config, None, ["/a"], ["/a"], RUNS[:2], DEFAULTS)
        assert plan.jobs["FEATURES"].arguments == arguments


def test_plan_submission_groups_runs_into_tasks() -> None:
    plan = plan_runs(RUNS[:7], runs_per_job=3)
    (job,) = plan.arrays
    assert job.tasks == (tuple(RUNS[:3]), tuple(RUNS[3:6]), (RUNS[6],))


def test_runs_that_share_a_gpu_each_count_against_the_parallelism() -> None:
    plan = plan_runs(RUNS[:40], runs_per_job=4, runs_per_gpu=2, parallel=6)
    (job,) = plan.arrays
    assert job.throttle == 3


def test_runs_above_the_submit_limit_are_left_for_later() -> None:
    plan = plan_runs(RUNS[:100], SubmitLimits(1001, jobs_left=62))
    assert (sizes(plan), len(plan.later)) == ([60], 40)
    assert plan.later == tuple(RUNS[60:100])


@pytest.mark.parametrize(("live", "begin"), [((), "now+10minutes"), (("7",), None)])
def test_without_room_for_a_run_only_a_collect_job_is_planned(
    live: tuple[str, ...], begin: str | None
) -> None:
    plan = plan_runs(RUNS[:100], SubmitLimits(1001, jobs_left=2), live)
    assert ([job.kind for job in plan.jobs.values()], len(plan.later)) == (["collect"], 100)
    assert (plan.jobs["COLLECT"].begin, plan.jobs["COLLECT"].after) == (begin, live)


def test_plan_submission_raises_without_room_for_any_job() -> None:
    with pytest.raises(SubmitLimitError):
        plan_runs(RUNS[:100], SubmitLimits(1001, jobs_left=0))


@pytest.mark.parametrize(("parallel", "after"), [(None, ("STAGE",)), (8, ("STAGE", "7"))])
def test_a_throttled_array_waits_for_live_arrays(
    parallel: int | None, after: tuple[str, ...]
) -> None:
    cluster = ClusterConfig("slurm", parallel=parallel)
    plan = plan_submission(SWEEP, cluster, None, ["/a"], [], RUNS[:100], DEFAULTS, ("7",))
    _, runs, collect = plan.jobs.values()
    assert (runs.after, collect.after) == (after, ("7", "RUNS"))


def test_without_runs_only_a_collect_job_is_planned() -> None:
    plan = plan_submission(SWEEP, ClusterConfig("slurm"), None, [], [], [], DEFAULTS)
    assert [job.kind for job in plan.jobs.values()] == ["collect"]


def test_split_array_without_parallelism_starts_all_parts_at_once() -> None:
    assert split_array(2500, array_size=1001, parallel=None) == [
        ArrayPart(0, 1001, None, None),
        ArrayPart(1001, 2002, None, None),
        ArrayPart(2002, 2500, None, None),
    ]


def test_split_array_divides_the_parallelism_by_size() -> None:
    assert split_array(2500, array_size=1001, parallel=10) == [
        ArrayPart(0, 1000, 4, None),
        ArrayPart(1000, 1750, 3, None),
        ArrayPart(1750, 2500, 3, None),
    ]


def test_split_array_chains_parts_beyond_the_parallelism() -> None:
    assert split_array(2500, array_size=1001, parallel=1) == [
        ArrayPart(0, 1001, 1, None),
        ArrayPart(1001, 2002, 1, 0),
        ArrayPart(2002, 2500, 1, 1),
    ]


@given(**SIZES, parallel=st.none() | PARALLEL)
def test_split_array_keeps_every_task_in_order_and_parts_within_the_size(
    tasks: int, array_size: int, parallel: int | None
) -> None:
    parts = split_array(tasks, array_size=array_size, parallel=parallel)
    assert [task for part in parts for task in range(part.start, part.stop)] == list(range(tasks))
    assert all(1 <= part.stop - part.start <= array_size for part in parts)


@given(**SIZES, parallel=PARALLEL)
def test_split_array_uses_the_whole_parallelism_and_no_more(
    tasks: int, array_size: int, parallel: int
) -> None:
    parts = split_array(tasks, array_size=array_size, parallel=parallel)
    first = [part.throttle or 0 for part in parts if part.after is None]
    assert sum(first) == min(parallel, tasks)
    for position, part in enumerate(parts):
        assert part.throttle is not None
        assert part.throttle >= 1
        if part.after is not None:
            assert part.after == position - 1
            assert parts[part.after].throttle == part.throttle


@given(**SIZES, parallel=PARALLEL)
def test_split_array_gives_a_lane_tasks_in_proportion_to_its_share(
    tasks: int, array_size: int, parallel: int
) -> None:
    lanes: list[list[ArrayPart]] = []
    for part in split_array(tasks, array_size=array_size, parallel=parallel):
        if part.after is None:
            lanes.append([])
        lanes[-1].append(part)
    for lane in lanes:
        share = (lane[0].throttle or 0) / min(parallel, tasks)
        assert abs(lane[-1].stop - lane[0].start - share * tasks) < 1
