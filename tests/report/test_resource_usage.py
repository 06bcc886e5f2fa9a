"""What runs used, added up from their tries."""

from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.report.synthetic import going, one_attempt
from xray_hpc.records.run_progress import TrainingProgress
from xray_hpc.records.run_record import Attempt
from xray_hpc.report.resource_usage import Usage, usage, waiting

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def at(minutes: float) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat()


def hour(start: float, end: float, **changes: Any) -> Attempt:
    """A try from one minute after noon to another."""
    return one_attempt(**({"started": at(start), "ended": at(end), "queued": None} | changes))


def progress(done: int, first: int = 0) -> TrainingProgress:
    return TrainingProgress(done, 10, first, 30.0, 0, 0.9, 0.1, None)


def test_a_run_that_was_never_tried_used_nothing_known() -> None:
    assert usage([]) == Usage()


def test_the_time_of_all_tries_counts() -> None:
    used = usage([hour(0, 30, gpus=2, failure="preempted"), hour(60, 90, gpus=2)])
    assert (used.attempts, used.seconds, used.gpu_hours) == (2, 3600, 2)


def test_the_wait_before_every_try_counts() -> None:
    used = usage([hour(10, 30, queued=at(0)), hour(45, 60, queued=at(30)), hour(70, 80)])
    assert used.waiting == 25 * 60


def test_a_job_waits_once_for_all_that_its_runs_do() -> None:
    first, second = hour(10, 30, queued=at(0)), hour(30, 50, queued=at(0))
    assert waiting([second, first]) == 600
    assert waiting([second]) == 1800
    assert waiting([first, dataclasses.replace(second, job_id="13")]) == 2400


def test_clocks_that_disagree_make_no_negative_time() -> None:
    used = usage([hour(10, 5, queued=at(20))])
    assert (used.seconds, used.gpu_hours, used.waiting) == (0, 0, 0)


def test_memory_is_the_most_of_any_try_and_what_the_last_asked_for() -> None:
    attempts = [
        hour(0, 1, memory=16384, peak_memory=16300, failure="out_of_memory"),
        hour(2, 3, memory=24576, peak_memory=9000),
    ]
    assert (usage(attempts).peak_memory, usage(attempts).asked_memory) == (16300, 24576)


def test_the_use_of_gpus_is_weighted_by_time_and_that_of_cpus_by_what_there_was() -> None:
    short = hour(0, 1, gpu_use=100.0, cpus=8, cpu_seconds=480.0)
    long = hour(2, 5, gpu_use=20.0, cpus=2, cpu_seconds=60.0)
    used = usage([short, long, hour(6, 11, gpu_use=None, cpu_seconds=None)])
    assert used.gpu_use == pytest.approx(0.4)
    assert used.cpu_use == pytest.approx(540 / (480 + 360))


def test_the_longest_try_tells_the_share_of_the_time_limit() -> None:
    assert usage([hour(0, 30, time_limit=60), hour(40, 50, time_limit=60)]).time_use == 0.5


def test_restarts_are_counted_by_what_ended_the_try_before() -> None:
    causes = ["preempted", "preempted", None, "bug"]
    used = usage([hour(2 * i, 2 * i + 1, failure=cause) for i, cause in enumerate(causes)])
    assert used.restarts == Counter(preempted=2, unknown=1)


def test_a_try_without_an_end_counts_until_its_last_epoch() -> None:
    used = usage(
        [hour(0, 10, checkpoint=[4, 7]), going(started=at(20))], progress(done=10, first=4)
    )
    assert used.seconds == 600 + 6 * 30
    assert used.unended == 0


def test_progress_of_an_earlier_try_tells_nothing_of_the_last() -> None:
    used = usage([hour(0, 10, checkpoint=[4, 7]), going(started=at(20))], progress(done=4, first=0))
    assert (used.seconds, used.unended) == (600, 1)


def test_a_try_without_an_end_that_was_followed_by_another_is_left_out() -> None:
    used = usage([going(started=at(0)), hour(20, 30)], progress(done=4))
    assert (used.seconds, used.attempts, used.unended) == (600, 2, 1)


def test_a_try_that_was_killed_unseen_holds_no_time() -> None:
    killed = dataclasses.replace(hour(0, 60, failure="killed"), ended=None)
    used = usage([killed, hour(60, 70)])
    assert (used.unended, used.seconds) == (1, 600)


def test_times_that_are_none_are_left_out() -> None:
    used = usage([hour(0, 10, started="yesterday"), hour(0, 10, ended="2026-01-01T12:10:00")])
    assert (used.seconds, used.gpu_hours, used.unended) == (None, None, 2)
