from __future__ import annotations

import re
from pathlib import Path

import pytest

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import UserError
from xray_hpc.launching.preflight.limits import Limits
from xray_hpc.launching.submission_plan import SubmissionPlan, SubmittedJobs, plan_submission
from xray_hpc.records.paths import SweepPaths

SWEEP = SweepPaths(Path("/results/lr"))
RUNS = [f"ft-{number:04}" for number in range(2500)]
DEFAULTS = Limits(array_index=1001, submit=None)


def wave(
    runs: list[str], allowed: Limits = DEFAULTS, live: tuple[str, ...] = (), **cluster: int
) -> SubmissionPlan:
    config = ClusterConfig("slurm", **cluster)  # type: ignore[arg-type]
    return plan_submission(SWEEP, config, None, ["/results/lr/runs/a"], [], runs, allowed, live)


def sizes(made: SubmissionPlan) -> list[int]:
    return [len(job.tasks) for _, job in made.arrays]


def test_a_sweep_beyond_the_array_limit_is_several_arrays() -> None:
    made = wave(RUNS)
    assert sizes(made) == [1001, 1001, 498]
    assert [run for _, job in made.arrays for task in job.tasks for run in task] == RUNS
    assert [job.throttle for _, job in made.arrays] == [None, None, None]


def test_the_parts_of_a_sweep_share_its_parallelism() -> None:
    assert [job.throttle for _, job in wave(RUNS, parallel=8).arrays] == [3, 3, 2]


def test_with_less_parallelism_than_parts_one_part_waits_for_another() -> None:
    made = wave(RUNS, parallel=1)
    assert [part.after for part, _ in made.arrays] == [None, 0, 1]
    assert [job.after for job in made.jobs()] == [
        (),
        ("STAGE",),
        ("RUNS1",),
        ("RUNS2",),
        ("RUNS1", "RUNS2", "RUNS3"),
    ]


def test_the_features_job_comes_between_the_stage_job_and_the_runs() -> None:
    shared = ["/results/lr/runs/a"]
    made = plan_submission(SWEEP, ClusterConfig("slurm"), None, shared, shared, RUNS[:2], DEFAULTS)
    jobs = list(made.jobs())
    assert [job.kind for job in jobs] == ["stage", "features", "runs", "collect"]
    assert [job.after for job in jobs] == [(), ("STAGE",), ("FEATURES",), ("RUNS",)]


def test_the_features_job_has_what_the_runs_have() -> None:
    config = ClusterConfig("slurm", gpus=2, mem="64G", partition="gpu", constraint="a100")
    made = plan_submission(SWEEP, config, None, ["/a"], ["/a"], RUNS[:2], DEFAULTS)
    scripts = {job.kind: job.script(Path("/logs")) for job in made.jobs()}
    asked = [
        line for line in scripts["runs"].splitlines() if re.search("gpus|mem|parti|constr", line)
    ]
    assert len(asked) == 4
    assert set(asked) <= set(scripts["features"].splitlines())


def test_the_features_job_looks_at_its_gpus_where_runs_do() -> None:
    for check, words in ((True, ("/a",)), (False, ("--unchecked", "/a"))):
        config = ClusterConfig("slurm", check_node=check)
        made = plan_submission(SWEEP, config, None, ["/a"], ["/a"], RUNS[:2], DEFAULTS)
        assert made.features is not None
        assert made.features.arguments == words


def test_runs_are_packed_into_jobs() -> None:
    made = wave(RUNS[:7], runs_per_job=3)
    ((_, job),) = made.arrays
    assert job.tasks == (tuple(RUNS[:3]), tuple(RUNS[3:6]), (RUNS[6],))


def test_runs_side_by_side_count_each_against_the_parallelism() -> None:
    made = wave(RUNS[:40], runs_per_job=4, runs_per_gpu=2, parallel=6)
    ((_, job),) = made.arrays
    assert job.throttle == 3


def test_runs_for_which_slurm_has_no_room_come_later() -> None:
    made = wave(RUNS[:100], Limits(1001, submit=62))
    assert (sizes(made), len(made.later)) == ([60], 40)
    assert made.later == tuple(RUNS[60:100])


@pytest.mark.parametrize(("live", "begin"), [((), "now+10minutes"), (("7",), None)])
def test_without_room_for_a_run_a_collect_job_sees_to_them(
    live: tuple[str, ...], begin: str | None
) -> None:
    made = wave(RUNS[:100], Limits(1001, submit=2), live)
    assert ([job.kind for job in made.jobs()], len(made.later)) == (["collect"], 100)
    assert (made.collect.begin, next(iter(made.jobs())).after) == (begin, live)


def test_no_room_for_any_job_is_said_in_a_line() -> None:
    with pytest.raises(UserError, match="Slurm lets you submit no more jobs now"):
        wave(RUNS[:100], Limits(1001, submit=0))


@pytest.mark.parametrize(("parallel", "after"), [(None, ("STAGE",)), (8, ("STAGE", "7"))])
def test_the_parallelism_holds_for_what_is_live_too(
    parallel: int | None, after: tuple[str, ...]
) -> None:
    made = wave(RUNS[:100], live=("7",), **({} if parallel is None else {"parallel": parallel}))
    _, runs, collect = made.jobs()
    assert (runs.after, collect.after) == (after, ("7", "RUNS"))


def test_with_nothing_left_to_run_there_is_only_the_comparison() -> None:
    made = plan_submission(SWEEP, ClusterConfig("slurm"), None, [], [], [], DEFAULTS)
    assert [job.kind for job in made.jobs()] == ["collect"]


@pytest.mark.parametrize(
    ("sent", "runs", "jobs", "line"),
    [
        (
            SubmittedJobs("1", None, ("2",), "3"),
            1,
            1,
            "submitted job 2: run (stage job 1 first, {last})",
        ),
        (
            SubmittedJobs("1", None, ("2",), "3"),
            9,
            9,
            "submitted job 2: array of 9 runs (stage job 1 first, {last})",
        ),
        (
            SubmittedJobs("1", "5", ("2",), "3"),
            9,
            9,
            "submitted job 2: array of 9 runs (stage job 1 first, features job 5 second, {last})",
        ),
        (
            SubmittedJobs(None, None, ("2",), "3"),
            9,
            3,
            "submitted job 2: array of 9 runs in 3 jobs ({last})",
        ),
        (
            SubmittedJobs(None, None, ("2", "4"), "3"),
            9,
            9,
            "submitted jobs 2, 4: 2 arrays of 9 runs ({last})",
        ),
        (
            SubmittedJobs(None, None, (), "3"),
            0,
            0,
            "submitted job 3, which compares the runs when all have ended",
        ),
    ],
)
def test_what_was_submitted_is_said_in_a_line(
    sent: SubmittedJobs, runs: int, jobs: int, line: str
) -> None:
    assert sent.line(runs, jobs) == line.format(last="collect job 3 last")
