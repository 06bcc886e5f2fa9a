"""Tests of the section on resource usage."""

from __future__ import annotations

from typing import Any

from tests.report.fake_runs import ended_attempt, running_attempt
from xray_hpc.records.run_record import Attempt, RunRecord
from xray_hpc.report.resource_section import (
    RECOMMENDATIONS,
    SHARED_GPUS,
    resource_section,
    total_usage,
)
from xray_hpc.report.run_result import RunResult


def run(name: str, *attempts: Attempt, model: str = "ft") -> RunResult:
    record = RunRecord(name, "s", model, attempts=list(attempts))
    return RunResult(name, model, "finished", record=record)


def rows(parts: list[str]) -> list[list[str]]:
    """Return the cells of the section's table, without the rule below the heads."""
    lines = parts[2].splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "--" not in line
    ]


def test_runs_without_attempts_have_no_section() -> None:
    assert resource_section([RunResult("ft-1", "ft", "missing"), run("ft-2")]) == []
    assert total_usage([run("ft-2")]) == ""


def test_every_run_has_a_row() -> None:
    parts = resource_section(
        [run("ft-1", ended_attempt("1")), run("ft-2", ended_attempt("2", gpu_use=None))]
    )
    assert parts[0] == "## Resource usage"
    heads, first, second = rows(parts)
    assert dict(zip(heads, first, strict=True)) == {
        **{"run": "ft-1", "wall-clock": "1.67 min", "GPU-hours": "0.0278", "GPU use": "62%"},
        **{"CPU use": "50%", "queued": "60 s", "time limit used": "1%"},
        **{"peak memory": "4G", "requested memory": "16G"},
    }
    assert second[3] == "-"


def test_columns_without_values_are_omitted() -> None:
    local: dict[str, Any] = dict.fromkeys(["job_id", "queued", "memory", "time_limit", "gpu_use"])
    parts = resource_section([run("ft-1", ended_attempt(**local | {"gpus": 0}))])
    assert rows(parts)[0] == ["run", "wall-clock", "CPU use", "peak memory"]
    assert "GPU-hours" not in parts[1]


def test_restarts_are_counted_by_failure() -> None:
    attempts = [
        ended_attempt("1", failure="preempted"),
        ended_attempt("1", failure="preempted"),
        ended_attempt("1"),
    ]
    parts = resource_section([run("ft-1", *attempts), run("ft-2", ended_attempt("2"))])
    heads, first, second = rows(parts)
    assert (heads[-1], first[-1], second[-1]) == ("restarts", "2 preempted", "")
    assert "2 restarts (2 preempted)" in parts[1]


def test_many_runs_of_a_model_are_summarized() -> None:
    many = [run(f"ft-{i}", ended_attempt(str(i), peak_memory=100 * i)) for i in range(1, 22)]
    parts = resource_section([*many, run("cnn-0", ended_attempt("0"), model="cnn")])
    heads, summary, single = rows(parts)
    assert summary[0] == "ft, 21 runs"
    assert summary[heads.index("peak memory")] == "100M / 1.07G / 2.05G"
    assert single[0] == "cnn-0"
    assert "more than 20 runs: minimum / median / maximum" in parts[1]


def test_total_counts_shared_gpus_once() -> None:
    concurrent = [run("ft-1", ended_attempt("1", gpus=4)), run("ft-2", ended_attempt("1", gpus=4))]
    assert "Total: 0.111 GPU-hours, 60 s queued, 4G peak memory." in (
        text := resource_section(concurrent)[1]
    )
    assert SHARED_GPUS in text
    assert SHARED_GPUS not in resource_section(concurrent[:1])[1]


def test_attempts_with_unknown_end_are_counted() -> None:
    text = resource_section([run("ft-1", running_attempt("1")), run("ft-2", ended_attempt("2"))])[1]
    assert "Attempts with unknown end time (excluded): 1." in text


def test_recommendations_follow_the_table() -> None:
    parts = resource_section([run("ft-1", ended_attempt("1"))])
    assert parts[-2] == RECOMMENDATIONS
    assert parts[-1].splitlines()[0].startswith("- `cluster.mem=16G` requested, 4G used at most")
