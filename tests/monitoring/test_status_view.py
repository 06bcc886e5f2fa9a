from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.monitoring.run_state import State
from xray_hpc.monitoring.status_view import (
    CHANGES,
    format_counts,
    format_duration,
    sweep_lines,
    sweep_list_lines,
)
from xray_hpc.monitoring.sweep_status import RunStatus, SweepStatus
from xray_hpc.monitoring.terminal_table import Screen
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_flags import MEANINGS, Flag, describe_flags
from xray_hpc.records.run_record import Failure

GOLDEN = Path(__file__).parent / "golden"
PIPE = Screen()


def run(name: str, state: State, **fields: Any) -> RunStatus:
    return RunStatus("lr", name, state, **fields)


def sweep(*runs: RunStatus, hours: float = 0.0, name: str = "lr") -> SweepStatus:
    hour_ago = time.time() - 3600
    return SweepStatus(SweepPaths(Path("results") / name), list(runs), hours, hour_ago)


def settings(rate: str, *more: str) -> list[str]:
    return ["model=ft", f"train.learning_rate={rate}", *more]


RUNS = (
    run(
        "ft-1a2b3c4d",
        State.FINISHED,
        node="gpu-01",
        epoch=8,
        epochs=10,
        val_accuracy=0.9375,
        val_auc=0.98125,
        overrides=settings("1e-2"),
    ),
    run(
        "ft-2a2b3c4d",
        State.RUNNING,
        node="gpu-02",
        epoch=3,
        epochs=10,
        val_accuracy=0.875,
        val_auc=0.9375,
        seconds_left=432,
        restarts=1,
        overrides=settings("1e-3"),
    ),
    run(
        "ft-3a2b3c4d",
        State.RUNNING,
        node="gpu-02",
        epoch=3,
        epochs=10,
        val_accuracy=0.875,
        seconds_left=95,
        limited=True,
        overrides=settings("1e-4"),
    ),
    run("ft-4a2b3c4d", State.PENDING, reason="Priority", epochs=10, overrides=settings("1e-5")),
    run(
        "ft-5a2b3c4d",
        State.FAILED,
        failure="nan_loss",
        reason="nan loss: the loss is not finite in epoch 2",
        node="gpu-01",
        epoch=2,
        epochs=10,
        overrides=settings("1", "+seed=7"),
    ),
)


def test_sweep_lines_match_the_golden_file() -> None:
    lines = "\n".join(sweep_lines(sweep(*RUNS, hours=12.34), Screen(80), 40)) + "\n"
    golden = GOLDEN / "status.txt"
    assert lines == golden.read_text(), f"if this is right, write it to {golden}:\n{lines}"


def test_sweep_lines_in_a_pipe_have_every_column() -> None:
    _, _, _, head, *_ = sweep_lines(sweep(*RUNS), PIPE, 40)
    assert head.split("  ")[0] == "run"
    assert {"learning_rate", "seed", "node", "restarts", "reason"} < set(head.split())


def test_sweep_lines_on_a_terminal_have_colours_and_a_bar() -> None:
    lines = list(sweep_lines(sweep(*RUNS), Screen(100, 24, colour=True), 40))
    assert lines[0].startswith("\x1b[1mlr\x1b[0m: 5 runs: \x1b[32m1 finished\x1b[0m, ")
    shares = re.findall(r"\x1b\[(\d+)m(━+)", lines[1])
    assert [(colour, len(bar)) for colour, bar in shares] == [
        ("32", 12),
        ("36", 24),
        ("31", 12),
        ("33", 12),
    ]


def test_sweep_lines_of_many_runs_leave_out_finished_ones() -> None:
    many = [run(f"ft-{i}", State.FINISHED) for i in range(50)]
    many += [run(f"cnn-{i}", State.PENDING) for i in range(5)]
    lines = list(sweep_lines(sweep(*many, *RUNS), PIPE, 6))
    assert [line.split()[0] for line in lines[4:10]] == [
        "ft-2a2b3c4d",
        "ft-3a2b3c4d",
        "ft-5a2b3c4d",
        "cnn-0",
        "cnn-1",
        "cnn-2",
    ]
    assert "not listed: 51 finished, 3 pending (use --all)" in lines


def test_sweep_lines_without_a_row_limit_list_every_run() -> None:
    many = [run(f"ft-{i}", State.FINISHED) for i in range(50)]
    lines = list(sweep_lines(sweep(*many), PIPE, None))
    assert sum(line.startswith("ft-") for line in lines) == 50


@pytest.mark.parametrize(
    ("states", "advice"),
    [
        ([State.FINISHED], ["report: none yet; python -m xray_hpc.collect results/lr"]),
        ([State.FINISHED, State.RUNNING], []),
        ([State.CREATED, State.PENDING], []),
        ([State.CREATED], ["resume: python -m xray_hpc.launch --resume results/lr"]),
        ([State.LOST, State.RUNNING], ["resume: python -m xray_hpc.launch --resume results/lr"]),
        ([State.INTERRUPTED], ["resume: python -m xray_hpc.launch --resume results/lr"]),
        (
            [State.RUNNING, State.FAILED],
            [
                "log:    python -m xray_hpc.logs lr/ft-1",
                "resume: python -m xray_hpc.launch --resume results/lr",
            ],
        ),
    ],
)
def test_sweep_lines_end_with_advice(states: list[State], advice: list[str]) -> None:
    runs = [run(f"ft-{number}", state) for number, state in enumerate(states)]
    lines = list(sweep_lines(sweep(*runs), PIPE, 40))
    assert [line for line in lines[4 + len(runs) :] if line] == advice


RESUME = "resume: python -m xray_hpc.launch --resume results/lr"


@pytest.mark.parametrize("failure", CHANGES)
def test_advice_is_to_change_what_would_fail_again(failure: Failure) -> None:
    failed = [run(f"ft-{i}", State.FAILED, failure=failure.value) for i in range(2)]
    *_, change, last = sweep_lines(sweep(*failed), PIPE, 40)
    if failure is Failure.NAN_LOSS:
        change = last
    else:
        assert last == RESUME
    label = failure.value.replace("_", " ")
    assert change == f"change: 2 runs, {label}: {CHANGES[failure]}"


@pytest.mark.parametrize("failure", [failure for failure in Failure if failure not in CHANGES])
def test_run_that_may_not_fail_again_is_only_resumed(failure: Failure) -> None:
    ended = run("ft-1", State.INTERRUPTED, failure=failure.value)
    lines = list(sweep_lines(sweep(ended), PIPE, 40))
    assert lines[-1] == RESUME
    assert not any(line.startswith("change:") for line in lines)


def test_diverged_run_is_not_resumed_but_others_are() -> None:
    diverged = run("ft-1", State.FAILED, failure="nan_loss")
    for others, resumed in (
        ([run("ft-2", State.FINISHED)], False),
        ([run("ft-2", State.RUNNING)], False),
        ([run("ft-2", State.LOST)], True),
        ([run("ft-2", State.CREATED)], True),
    ):
        assert (RESUME in sweep_lines(sweep(diverged, *others), PIPE, 40)) is resumed


def test_flagged_runs_are_listed_and_explained() -> None:
    many = [run(f"ft-{i}", State.FINISHED) for i in range(50)]
    flagged = run(
        "ft-x",
        State.FINISHED,
        flags=[Flag.AT_CHANCE, Flag.TIED],
        reason=describe_flags([Flag.AT_CHANCE, Flag.TIED]),
    )
    lines = list(sweep_lines(sweep(*many, flagged), PIPE, 6))
    (row,) = (line for line in lines if line.startswith("ft-"))
    assert row.split() == ["ft-x", "finished", "at", "chance,", "tied"]
    assert lines[-3:-1] == [
        f"flag:   1 run, at chance: {MEANINGS[Flag.AT_CHANCE]}",
        f"flag:   1 run, tied: {MEANINGS[Flag.TIED]}",
    ]
    coloured = "\n".join(sweep_lines(sweep(flagged), Screen(100, 24, colour=True), 6))
    assert "\x1b[33mfinished" in coloured


def test_sweep_lines_mention_a_failed_features_job_until_all_runs_finish() -> None:
    for state, mentioned in ((State.RUNNING, True), (State.FINISHED, False)):
        seen = replace(
            sweep(run("ft-1", state)), failed_features_job=Path("results/lr/slurm/1-features")
        )
        lines = [
            line for line in sweep_lines(seen, PIPE, 40) if line.startswith("features job failed")
        ]
        see = "see results/lr/slurm/1-features"
        assert (
            lines
            == [f"features job failed; runs compute the features themselves; {see}"] * mentioned
        )


def test_sweep_lines_name_the_report_of_a_finished_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "results" / "lr" / "report" / "report.md"
    report.parent.mkdir(parents=True)
    report.touch()
    *_, last = sweep_lines(sweep(run("ft-1", State.FINISHED)), PIPE, 40)
    assert last == "report: results/lr/report/report.md"


def test_sweep_lines_advise_to_release_held_jobs() -> None:
    held = run("ft-1", State.PENDING, job="7_1", held=True, reason="launch failed requeued held")
    also = run("ft-2", State.PENDING, job="7_2", held=True, reason="JobHeldUser")
    admins = run("ft-3", State.PENDING, job="8", held=True, reason="JobHeldAdmin")
    *_, mine, theirs = sweep_lines(sweep(held, also, admins), PIPE, 40)
    assert mine == "held:   scontrol release '7_[1-2]'"
    assert theirs == "held:   by an administrator; ask about 8"


def test_sweep_list_lines_start_with_the_latest_change() -> None:
    old, new = sweep(*RUNS, name="old"), sweep(RUNS[0], hours=3, name="new")
    old = SweepStatus(old.sweep, old.runs, 0, old.touched - 7 * 86400)
    assert list(sweep_list_lines([old, new], PIPE)) == [
        "sweep  runs  finished  running  failed  pending  GPU-hours  last change",
        "new       1         1                                  3.0   60 min ago",
        "old       5         1        2       1        1               7.0 d ago",
    ]


def test_format_counts_starts_with_finished() -> None:
    states = [State.PENDING, State.FAILED, State.FINISHED, State.PENDING, State.RUNNING]
    assert format_counts(states) == "1 finished, 1 running, 1 failed, 2 pending"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99, "99 s"), (100, "2 min"), (5999, "100 min"), (6000, "1.7 h"), (2e5, "2.3 d")],
)
def test_format_duration_chooses_the_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
