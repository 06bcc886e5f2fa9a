"""Tests of resource usage computed from attempts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.report.fake_runs import ended_attempt, running_attempt
from xray_hpc.records.run_progress import TrainingProgress
from xray_hpc.records.run_record import Attempt
from xray_hpc.report.resource_usage import ResourceUsage, queue_seconds, resource_usage

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def at(minutes: float) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat()


def attempt_between(start: float, end: float, **changes: Any) -> Attempt:
    """Return an attempt between two minutes after noon."""
    return ended_attempt(**({"started": at(start), "ended": at(end), "queued": None} | changes))


def progress(done: int, first: int = 0) -> TrainingProgress:
    return TrainingProgress(done, 10, first, 30.0, 0, 0.9, 0.1, None)


def test_usage_without_attempts_is_unknown() -> None:
    assert resource_usage([]) == ResourceUsage()


def test_times_of_all_attempts_are_added() -> None:
    usage = resource_usage(
        [attempt_between(0, 30, gpus=2, failure="preempted"), attempt_between(60, 90, gpus=2)]
    )
    assert (usage.attempts, usage.seconds, usage.gpu_hours) == (2, 3600, 2)


def test_queue_time_before_every_attempt_is_added() -> None:
    usage = resource_usage(
        [
            attempt_between(10, 30, queued=at(0)),
            attempt_between(45, 60, queued=at(30)),
            attempt_between(70, 80),
        ]
    )
    assert usage.queue_seconds == 25 * 60


def test_queue_time_of_a_job_counts_once() -> None:
    first, second = attempt_between(10, 30, queued=at(0)), attempt_between(30, 50, queued=at(0))
    assert queue_seconds([second, first]) == 600
    assert queue_seconds([second]) == 1800
    assert queue_seconds([first, dataclasses.replace(second, job_id="13")]) == 2400


def test_times_are_never_negative() -> None:
    usage = resource_usage([attempt_between(10, 5, queued=at(20))])
    assert (usage.seconds, usage.gpu_hours, usage.queue_seconds) == (0, 0, 0)


def test_memory_is_the_maximum_peak_and_the_last_request() -> None:
    attempts = [
        attempt_between(0, 1, memory=16384, peak_memory=16300, failure="out_of_memory"),
        attempt_between(2, 3, memory=24576, peak_memory=9000),
    ]
    assert (resource_usage(attempts).peak_memory, resource_usage(attempts).requested_memory) == (
        16300,
        24576,
    )


def test_gpu_and_cpu_use_are_weighted_means() -> None:
    short = attempt_between(0, 1, gpu_use=100.0, cpus=8, cpu_seconds=480.0)
    long = attempt_between(2, 5, gpu_use=20.0, cpus=2, cpu_seconds=60.0)
    usage = resource_usage([short, long, attempt_between(6, 11, gpu_use=None, cpu_seconds=None)])
    assert usage.gpu_use == pytest.approx(0.4)
    assert usage.cpu_use == pytest.approx(540 / (480 + 360))


def test_time_use_is_that_of_the_longest_attempt() -> None:
    assert (
        resource_usage(
            [attempt_between(0, 30, time_limit=60), attempt_between(40, 50, time_limit=60)]
        ).time_use
        == 0.5
    )


def test_restarts_are_counted_by_failure() -> None:
    causes = ["preempted", "preempted", None, "bug"]
    usage = resource_usage(
        [attempt_between(2 * i, 2 * i + 1, failure=cause) for i, cause in enumerate(causes)]
    )
    assert usage.restarts == Counter(preempted=2, unknown=1)


def test_last_attempt_without_an_end_counts_until_its_last_epoch() -> None:
    usage = resource_usage(
        [attempt_between(0, 10, checkpoint=[4, 7]), running_attempt(started=at(20))],
        progress(done=10, first=4),
    )
    assert usage.seconds == 600 + 6 * 30
    assert usage.unknown_end == 0


def test_progress_of_an_earlier_attempt_is_ignored() -> None:
    usage = resource_usage(
        [attempt_between(0, 10, checkpoint=[4, 7]), running_attempt(started=at(20))],
        progress(done=4, first=0),
    )
    assert (usage.seconds, usage.unknown_end) == (600, 1)


def test_earlier_attempt_without_an_end_is_excluded() -> None:
    usage = resource_usage(
        [running_attempt(started=at(0)), attempt_between(20, 30)], progress(done=4)
    )
    assert (usage.seconds, usage.attempts, usage.unknown_end) == (600, 2, 1)


def test_killed_attempt_without_an_end_is_excluded() -> None:
    killed = dataclasses.replace(attempt_between(0, 60, failure="killed"), ended=None)
    usage = resource_usage([killed, attempt_between(60, 70)])
    assert (usage.unknown_end, usage.seconds) == (1, 600)
