"""Tests of recommended resource requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.fake_runs import ended_attempt
from xray_hpc.config.cluster_config import minutes
from xray_hpc.records.run_record import Attempt, RunRecord
from xray_hpc.report.right_sizing import (
    TWO_RUNS_PER_GPU,
    recommendations,
    recommended_devices,
    recommended_memory,
    recommended_minutes,
)
from xray_hpc.report.run_result import RunResult
from xray_hpc.slurm.units import format_memory

WELL_USED: dict[str, Any] = {
    **{"memory": 4096, "peak_memory": 4000, "time_limit": 2},
    **{"cpus": 2, "cpu_seconds": 190.0, "gpus": 1, "gpu_use": 90.0},
}


def attempt(job: str, **changes: Any) -> Attempt:
    """Return an attempt of 100 s that used most of its request, with ``changes``."""
    return ended_attempt(job, **(WELL_USED | changes))


def run(*attempts: Attempt, model: str = "ft", status: str = "finished") -> RunResult:
    name = f"{model}-{attempts[0].job_id}"
    return RunResult(
        name, model, status, record=RunRecord(name, "s", model, attempts=list(attempts))
    )


def test_well_used_requests_have_no_recommendation() -> None:
    assert recommendations([run(attempt("1")), run(attempt("2"))]) == []


def test_unused_memory_is_reported() -> None:
    runs = [
        run(attempt("1", memory=16384, peak_memory=1000)),
        run(attempt("2", memory=16384, peak_memory=3174)),
    ]
    assert recommendations(runs) == [
        "`cluster.mem=16G` requested, 3.1G used at most: `cluster.mem=4G` recommended."
    ]


def test_single_run_that_used_its_request_prevents_a_recommendation() -> None:
    assert (
        recommendations([run(attempt(str(i), memory=4096, peak_memory=100 * i)) for i in (1, 25)])
        == []
    )


def test_memory_of_runs_adds_up_only_while_they_overlap() -> None:
    """A long run beside two short consecutive ones: never three at once."""
    first, second = (
        {"started": f"2026-11-22T03:{start}+00:00", "ended": f"2026-11-22T03:{end}+00:00"}
        for start, end in (("40:00", "40:50"), ("41:00", "41:40"))
    )
    whole = {"started": first["started"], "ended": second["ended"]}
    usage = {"memory": 16384, "peak_memory": 1000, "cpu_seconds": None}
    runs = [run(attempt("1", **usage, **times)) for times in (whole, first, second)]
    (line,) = (line for line in recommendations(runs) if "cluster.mem" in line)
    assert "1.95G used at most" in line


def test_unused_time_is_reported_in_minutes() -> None:
    ended = {"ended": "2026-11-22T04:03:00+00:00", "cpu_seconds": 2400.0}
    assert recommendations([run(attempt("1", time_limit=240, **ended))]) == [
        "`cluster.time=240` requested, 22 min used at most: `cluster.time=30` recommended."
    ]


def test_time_of_a_requeued_run_includes_all_attempts() -> None:
    later = {
        "queued": "2026-11-22T04:00:00+00:00",
        "started": "2026-11-22T04:00:00+00:00",
        "ended": "2026-11-22T05:40:00+00:00",
        "cpu_seconds": 11400.0,
    }
    attempts = [
        attempt("1", time_limit=180, failure="preempted"),
        attempt("1", time_limit=180, **later),
    ]
    assert recommendations([run(*attempts)]) == []


def test_idle_cpus_and_gpus_are_reported() -> None:
    assert recommendations(
        [run(attempt("1", cpus=8, cpu_seconds=210.0, gpus=4, gpu_use=30.0))]
    ) == [
        "`cluster.cpus=8` requested, 2.1 busy at most: `cluster.cpus=3` recommended.",
        "`cluster.gpus=4` requested, 1.2 busy at most: `cluster.gpus=2` recommended.",
    ]


def test_idle_gpus_of_several_runs_can_be_shared() -> None:
    (line,) = recommendations([run(attempt(job, gpu_use=30.0)) for job in "12"])
    assert line == TWO_RUNS_PER_GPU.format("30%")
    assert recommendations([run(attempt(job, gpu_use=41.0)) for job in "12"]) == []
    assert recommendations([run(attempt("1", gpu_use=30.0))]) == []


def test_concurrent_runs_of_a_job_share_its_request() -> None:
    half = {"memory": 4096, "peak_memory": 1500, "cpus": 4, "cpu_seconds": 150.0}
    assert recommendations([run(attempt("1", **half))]) != []
    assert (
        recommendations([run(attempt("1", **half)), run(attempt("1", **half), model="cnn")]) == []
    )


def test_out_of_memory_counts_as_full_usage() -> None:
    failed = run(
        attempt("2", memory=16384, peak_memory=900, failure="out_of_memory"), status="failed"
    )
    assert recommendations([run(attempt("1", memory=16384, peak_memory=900)), failed]) == []


def test_unknown_usage_of_a_finished_run_prevents_a_recommendation() -> None:
    unknown = attempt("2", memory=16384, peak_memory=None)
    known = run(attempt("1", memory=16384, peak_memory=900))
    assert recommendations([known, run(unknown)]) == []
    assert len(recommendations([known, run(unknown, status="failed")])) == 1


def test_attempt_that_did_not_train_is_ignored() -> None:
    failed = attempt("1", memory=16384, peak_memory=None, failure="node_failure", node="bad")
    trained = attempt("1", memory=16384, peak_memory=900, started="2026-11-22T03:50:00+00:00")
    later = Attempt(**(vars(trained) | {"ended": "2026-11-22T03:51:40+00:00"}))
    assert len(recommendations([run(failed, later)])) == 1


@pytest.mark.parametrize("status", ["failed", "running", "interrupted"])
def test_unfinished_runs_have_no_recommendation(status: str) -> None:
    assert recommendations([run(attempt("1", memory=16384, peak_memory=900), status=status)]) == []


def test_runs_outside_slurm_have_no_recommendation() -> None:
    local = ended_attempt(memory=None, time_limit=None, job_id=None)
    assert recommendations([run(local)]) == []


def test_model_that_needs_less_has_its_own_recommendation() -> None:
    runs = [
        run(attempt("1", memory=16384, peak_memory=1000), model="cnn"),
        run(attempt("2", memory=16384, peak_memory=12000)),
    ]
    assert recommendations(runs) == [
        "`cluster.mem=16G` requested, 1000M used at most: `cluster.mem=1280M` recommended "
        "for `model=cnn`."
    ]


@given(st.integers(0, 2**22))
def test_recommended_memory_has_limited_headroom(used: int) -> None:
    request = recommended_memory(used)
    assert 1.25 * used <= request <= max(1.25 * 1.25 * used, 1.25 * used + 256)


@given(st.floats(0, 60 * 24 * 14))
def test_recommended_time_has_limited_headroom(used: float) -> None:
    request = recommended_minutes(used)
    assert 1.25 * used <= request <= max(1.25 * 1.25 * used, 1.25 * used + 5, 10) + 1e-9


@given(st.floats(0, 512))
def test_recommended_devices_have_limited_headroom(used: float) -> None:
    assert 1.25 * used <= recommended_devices(used) <= max(1.25 * used + 1, 1)


def parse_mib(text: str) -> int:
    return int(text[:-1]) * {"M": 1, "G": 1024}[text[-1]]


@given(st.integers(1, 2**22))
def test_format_memory_is_exact(memory: int) -> None:
    assert parse_mib(format_memory(memory)) == memory


PATTERN = re.compile(r"`cluster\.(\w+)=(\w+)` requested, .*: `cluster\.\w+=(\w+)` recommended")
KEYS: dict[str, tuple[str, Callable[[str], int]]] = {
    "mem": ("memory", parse_mib),
    "time": ("time_limit", lambda text: minutes(text, "time")),
    "cpus": ("cpus", int),
    "gpus": ("gpus", int),
}
ATTEMPTS = st.builds(
    lambda memory, peak, limit, cpus, busy, gpus, use: ended_attempt(
        **{"memory": memory, "peak_memory": peak, "time_limit": limit},
        **{"cpus": cpus, "cpu_seconds": busy, "gpus": gpus, "gpu_use": use},
    ),
    *(st.integers(1, 2**18), st.integers(1, 2**18), st.integers(1, 10000)),
    *(st.integers(1, 64), st.floats(0, 6400), st.integers(1, 8), st.floats(0, 100)),
)


@given(st.lists(ATTEMPTS, min_size=1, max_size=5))
def test_recommendation_is_between_usage_and_request(attempts: list[Attempt]) -> None:
    runs = [run(Attempt(**(vars(one) | {"job_id": str(i)}))) for i, one in enumerate(attempts)]
    used = {
        "mem": [one.peak_memory or 0 for one in attempts],
        "time": [100 / 60],
        "cpus": [(one.cpu_seconds or 0) / 100 for one in attempts],
        "gpus": [one.gpus * (one.gpu_use or 0) / 100 for one in attempts],
    }
    for line in recommendations(runs):
        if found := PATTERN.match(line):
            key, requested, recommended = found.groups()
            field, number = KEYS[key]
            assert number(requested) == getattr(attempts[-1], field) > 2 * max(used[key]) - 1e-9
            assert 1.25 * max(used[key]) <= number(recommended) + 1e-9 < number(requested)
