"""The section on what runs used."""

from __future__ import annotations

from typing import Any

from tests.report.synthetic import going, one_attempt
from xray_hpc.records.run_record import Attempt, RunRecord
from xray_hpc.report.resource_section import SHARED, in_all, used_section
from xray_hpc.report.run_result import RunResult


def run(name: str, *attempts: Attempt, model: str = "ft") -> RunResult:
    record = RunRecord(name, "s", model, attempts=list(attempts))
    return RunResult(name, model, "finished", record=record)


def rows(parts: list[str]) -> list[list[str]]:
    """The cells of the section's table, without the line under the heads."""
    lines = parts[2].splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "--" not in line
    ]


def test_nothing_is_said_of_runs_that_were_never_tried() -> None:
    assert used_section([RunResult("ft-1", "ft", "missing"), run("ft-2")]) == []
    assert in_all([run("ft-2")]) == ""


def test_every_run_has_a_row() -> None:
    parts = used_section(
        [run("ft-1", one_attempt("1")), run("ft-2", one_attempt("2", gpu_use=None))]
    )
    assert parts[0] == "## What the runs used"
    heads, first, second = rows(parts)
    assert dict(zip(heads, first, strict=True)) == {
        **{"run": "ft-1", "wall-clock": "1.67 min", "GPU-hours": "0.0278", "GPU use": "62%"},
        **{"CPU use": "50%", "waited": "60 s", "of its time limit": "1%"},
        **{"peak memory": "4G", "asked memory": "16G"},
    }
    assert second[3] == "-"


def test_a_machine_without_slurm_has_the_columns_that_it_can_tell() -> None:
    local: dict[str, Any] = dict.fromkeys(["job_id", "queued", "memory", "time_limit", "gpu_use"])
    parts = used_section([run("ft-1", one_attempt(**local | {"gpus": 0}))])
    assert rows(parts)[0] == ["run", "wall-clock", "CPU use", "peak memory"]
    assert "GPU-hours" not in parts[1]


def test_restarts_are_told_by_cause() -> None:
    attempts = [
        one_attempt("1", failure="preempted"),
        one_attempt("1", failure="preempted"),
        one_attempt("1"),
    ]
    parts = used_section([run("ft-1", *attempts), run("ft-2", one_attempt("2"))])
    heads, first, second = rows(parts)
    assert (heads[-1], first[-1], second[-1]) == ("started again after", "2 preempted", "")
    assert "2 restarts (2 preempted)" in parts[1]


def test_many_runs_of_a_model_are_told_by_their_least_median_and_most() -> None:
    many = [run(f"ft-{i}", one_attempt(str(i), peak_memory=100 * i)) for i in range(1, 22)]
    parts = used_section([*many, run("cnn-0", one_attempt("0"), model="cnn")])
    heads, of_model, alone = rows(parts)
    assert of_model[0] == "ft, 21 runs"
    assert of_model[heads.index("peak memory")] == "100M / 1.07G / 2.05G"
    assert alone[0] == "cnn-0"
    assert "more than 20 runs: the least / the median / the most" in parts[1]


def test_the_sum_counts_what_a_jobs_runs_share_once_and_says_so() -> None:
    beside = [run("ft-1", one_attempt("1", gpus=4)), run("ft-2", one_attempt("1", gpus=4))]
    assert "In all 0.111 GPU-hours, 60 s of waiting, 4G of memory at most." in (
        text := used_section(beside)[1]
    )
    assert SHARED in text
    assert SHARED not in used_section(beside[:1])[1]


def test_tries_whose_end_nobody_knows_are_counted() -> None:
    text = used_section([run("ft-1", going("1")), run("ft-2", one_attempt("2"))])[1]
    assert "Tries of which no end is known, and which no time here holds: 1." in text


def test_advice_stands_under_the_table() -> None:
    parts = used_section([run("ft-1", one_attempt("1"))])
    assert parts[-2].endswith("Ask for less next time:")
    assert parts[-1].splitlines()[0].startswith("- `cluster.mem=16G` was asked for, 4G was")
