"""What could be asked less of."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.synthetic import one_attempt
from xray_hpc.config.cluster_config import minutes
from xray_hpc.records.run_record import Attempt, RunRecord
from xray_hpc.report.right_sizing import advice, enough_devices, enough_memory, enough_minutes
from xray_hpc.report.run_result import RunResult
from xray_hpc.slurm.units import format_memory

ELSE_WELL_USED: dict[str, Any] = {
    **{"memory": 4096, "peak_memory": 4000, "time_limit": 2},
    **{"cpus": 2, "cpu_seconds": 190.0, "gpus": 1, "gpu_use": 90.0},
}


def used(job: str, **changes: Any) -> Attempt:
    """A try of 100 s that used most of what it asked for, but for ``changes``."""
    return one_attempt(job, **(ELSE_WELL_USED | changes))


def run(*attempts: Attempt, model: str = "ft", status: str = "finished") -> RunResult:
    name = f"{model}-{attempts[0].job_id}"
    return RunResult(
        name, model, status, record=RunRecord(name, "s", model, attempts=list(attempts))
    )


def test_who_used_most_of_it_is_told_nothing() -> None:
    assert advice([run(used("1")), run(used("2"))]) == []


def test_memory_that_no_run_came_near_is_told() -> None:
    runs = [
        run(used("1", memory=16384, peak_memory=1000)),
        run(used("2", memory=16384, peak_memory=3174)),
    ]
    assert advice(runs) == [
        "`cluster.mem=16G` was asked for, 3.1G was the most used: `cluster.mem=4G` would do."
    ]


def test_one_run_that_used_it_keeps_it_for_all() -> None:
    assert advice([run(used(str(i), memory=4096, peak_memory=100 * i)) for i in (1, 25)]) == []


def test_runs_side_by_side_add_up_only_while_they_are() -> None:
    """A long one beside two short ones, one after the other: never three at once."""
    first, second = (
        {"started": f"2026-11-22T03:{start}+00:00", "ended": f"2026-11-22T03:{end}+00:00"}
        for start, end in (("40:00", "40:50"), ("41:00", "41:40"))
    )
    whole = {"started": first["started"], "ended": second["ended"]}
    asked = {"memory": 16384, "peak_memory": 1000, "cpu_seconds": None}
    runs = [run(used("1", **asked, **times)) for times in (whole, first, second)]
    (line,) = (line for line in advice(runs) if "cluster.mem" in line)
    assert "1.95G was the most used" in line


def test_time_is_told_in_minutes() -> None:
    ended = {"ended": "2026-11-22T04:03:00+00:00", "cpu_seconds": 2400.0}
    assert advice([run(used("1", time_limit=240, **ended))]) == [
        "`cluster.time=240` was asked for, the longest took 22 min: `cluster.time=30` would do."
    ]


def test_the_time_of_a_run_that_was_interrupted_is_that_of_all_its_tries() -> None:
    later = {
        "queued": "2026-11-22T04:00:00+00:00",
        "started": "2026-11-22T04:00:00+00:00",
        "ended": "2026-11-22T05:40:00+00:00",
        "cpu_seconds": 11400.0,
    }
    attempts = [used("1", time_limit=180, failure="preempted"), used("1", time_limit=180, **later)]
    assert advice([run(*attempts)]) == []


def test_cpus_and_gpus_are_told_by_how_many_were_busy() -> None:
    assert advice([run(used("1", cpus=8, cpu_seconds=210.0, gpus=4, gpu_use=30.0))]) == [
        "`cluster.cpus=8` was asked for, 2.1 were busy at most: `cluster.cpus=3` would do.",
        "`cluster.gpus=4` was asked for, 1.2 were busy at most: `cluster.gpus=2` would do.",
    ]


def test_idle_gpus_of_several_runs_may_be_shared() -> None:
    (said,) = advice([run(used(job, gpu_use=30.0)) for job in "12"])
    assert said.startswith("The GPUs were 30% busy at most: `cluster.runs_per_job=2 cluster.runs")
    assert advice([run(used(job, gpu_use=41.0)) for job in "12"]) == []
    assert advice([run(used("1", gpu_use=30.0))]) == []


def test_runs_side_by_side_use_memory_and_cpus_together() -> None:
    half = {"memory": 4096, "peak_memory": 1500, "cpus": 4, "cpu_seconds": 150.0}
    assert advice([run(used("1", **half))]) != []
    assert advice([run(used("1", **half)), run(used("1", **half), model="cnn")]) == []


def test_what_ran_out_of_memory_used_all_of_it_whatever_was_measured() -> None:
    short = run(used("2", memory=16384, peak_memory=900, failure="out_of_memory"), status="failed")
    assert advice([run(used("1", memory=16384, peak_memory=900)), short]) == []


def test_what_is_not_known_of_a_finished_run_is_not_spoken_of() -> None:
    unknown = used("2", memory=16384, peak_memory=None)
    known = run(used("1", memory=16384, peak_memory=900))
    assert advice([known, run(unknown)]) == []
    assert len(advice([known, run(unknown, status="failed")])) == 1


def test_a_try_that_never_got_to_train_says_nothing_against_it() -> None:
    unfit = used("1", memory=16384, peak_memory=None, failure="node_failure", node="bad")
    trained = used("1", memory=16384, peak_memory=900, started="2026-11-22T03:50:00+00:00")
    later = Attempt(**(vars(trained) | {"ended": "2026-11-22T03:51:40+00:00"}))
    assert len(advice([run(unfit, later)])) == 1


@pytest.mark.parametrize("status", ["failed", "running", "interrupted"])
def test_without_a_finished_run_there_is_no_advice(status: str) -> None:
    assert advice([run(used("1", memory=16384, peak_memory=900), status=status)]) == []


def test_runs_outside_of_slurm_asked_for_nothing() -> None:
    local = one_attempt(memory=None, time_limit=None, job_id=None)
    assert advice([run(local)]) == []


def test_a_model_that_needs_less_than_the_others_is_told_apart() -> None:
    runs = [
        run(used("1", memory=16384, peak_memory=1000), model="cnn"),
        run(used("2", memory=16384, peak_memory=12000)),
    ]
    assert advice(runs) == [
        "`cluster.mem=16G` was asked for, 1000M was the most used: `cluster.mem=1280M` would do "
        "for `model=cnn`."
    ]


@given(st.integers(0, 2**22))
def test_enough_memory_leaves_a_quarter_and_not_much_more(used: int) -> None:
    enough = enough_memory(used)
    assert 1.25 * used <= enough <= max(1.25 * 1.25 * used, 1.25 * used + 256)


@given(st.floats(0, 60 * 24 * 14))
def test_enough_time_leaves_a_quarter_and_not_much_more(used: float) -> None:
    enough = enough_minutes(used)
    assert 1.25 * used <= enough <= max(1.25 * 1.25 * used, 1.25 * used + 5, 10) + 1e-9


@given(st.floats(0, 512))
def test_enough_devices_leave_a_quarter_and_no_whole_one(used: float) -> None:
    assert 1.25 * used <= enough_devices(used) <= max(1.25 * used + 1, 1)


def mib(word: str) -> int:
    return int(word[:-1]) * {"M": 1, "G": 1024}[word[-1]]


@given(st.integers(1, 2**22))
def test_a_word_for_memory_is_the_same_memory(memory: int) -> None:
    assert mib(format_memory(memory)) == memory


KEYS: dict[str, tuple[str, Callable[[str], int]]] = {
    "mem": ("memory", mib),
    "time": ("time_limit", lambda word: minutes(word, "time")),
    "cpus": ("cpus", int),
    "gpus": ("gpus", int),
}
TRIES = st.builds(
    lambda memory, peak, limit, cpus, busy, gpus, use: one_attempt(
        **{"memory": memory, "peak_memory": peak, "time_limit": limit},
        **{"cpus": cpus, "cpu_seconds": busy, "gpus": gpus, "gpu_use": use},
    ),
    *(st.integers(1, 2**18), st.integers(1, 2**18), st.integers(1, 10000)),
    *(st.integers(1, 64), st.floats(0, 6400), st.integers(1, 8), st.floats(0, 100)),
)


@given(st.lists(TRIES, min_size=1, max_size=5))
def test_advice_is_less_than_was_asked_and_enough_for_every_run(attempts: list[Attempt]) -> None:
    runs = [run(Attempt(**(vars(one) | {"job_id": str(i)}))) for i, one in enumerate(attempts)]
    took = {
        "mem": [one.peak_memory or 0 for one in attempts],
        "time": [100 / 60],
        "cpus": [(one.cpu_seconds or 0) / 100 for one in attempts],
        "gpus": [one.gpus * (one.gpu_use or 0) / 100 for one in attempts],
    }
    for line in advice(runs):
        if found := re.match(r"`cluster\.(\w+)=(\w+)` was .*: `cluster\.\w+=(\w+)` would do", line):
            key, asked, would = found.groups()
            field, number = KEYS[key]
            assert number(asked) == getattr(attempts[-1], field) > 2 * max(took[key]) - 1e-9
            assert 1.25 * max(took[key]) <= number(would) + 1e-9 < number(asked)
