from __future__ import annotations

from pathlib import Path

import pytest

from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    return SweepPaths(tmp_path / "results" / "lr_depth")


def job_ids(sweep: SweepPaths) -> dict[str, str]:
    return {run: job.id for run, job in ledger.read(sweep).jobs().items()}


def test_missing_ledger_has_no_events(sweep: SweepPaths) -> None:
    assert list(ledger.events(sweep)) == []
    assert list(ledger.read(sweep).planned) == []
    assert job_ids(sweep) == {}


def test_events_are_in_order_and_have_a_time(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={})
    ledger.append(sweep, "submitting", submission="1", runs=[])
    events = list(ledger.events(sweep))
    assert [event["event"] for event in events] == ["planned", "submitting"]
    assert events[0]["time"].endswith("+00:00")


def test_planned_runs_are_unique_and_in_launch_order(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={"tl-b": ["model=tl"], "ft-a": ["model=ft"]})
    ledger.append(sweep, "planned", runs={"ft-a": ["model=ft"], "cnn-c": ["model=cnn"]})
    assert list(ledger.read(sweep).planned) == ["tl-b", "ft-a", "cnn-c"]
    assert ledger.read(sweep).planned["cnn-c"] == ["model=cnn"]


def submitted(sweep: SweepPaths, name: str, job: str, *tasks: list[str]) -> None:
    ledger.append(sweep, "submitting", submission=name, kind="runs", tasks=tasks)
    ledger.append(sweep, "submitted", submission=name, job=job)


def test_job_ids_name_the_array_task_of_each_run(sweep: SweepPaths) -> None:
    submitted(sweep, "1", "17", ["ft-a"], ["tl-b", "tl-c"])
    assert job_ids(sweep) == {"ft-a": "17_0", "tl-b": "17_1", "tl-c": "17_1"}


def test_job_id_of_a_single_task_has_no_index(sweep: SweepPaths) -> None:
    submitted(sweep, "1", "17", ["ft-a", "tl-b"])
    assert job_ids(sweep) == {"ft-a": "17", "tl-b": "17"}


def test_jobs_are_the_latest_of_each_run(sweep: SweepPaths) -> None:
    submitted(sweep, "1", "17", ["ft-a"], ["tl-b"])
    submitted(sweep, "2", "18", ["ft-a"])
    assert job_ids(sweep) == {"ft-a": "18", "tl-b": "17_1"}


def test_submission_without_an_answer_has_no_job(sweep: SweepPaths) -> None:
    submitted(sweep, "1", "17", ["ft-a"])
    ledger.append(sweep, "submitting", submission="2", kind="runs", tasks=[["tl-b"]])
    assert {name: at.job for name, at in ledger.read(sweep).submissions.items()} == {
        "1": "17",
        "2": None,
    }
    assert job_ids(sweep) == {"ft-a": "17"}


def test_refused_submission_is_removed(sweep: SweepPaths) -> None:
    ledger.append(sweep, "submitting", submission="1", kind="runs", tasks=[["tl-b"]])
    ledger.append(sweep, "refused", submission="1", reason="invalid partition")
    assert ledger.read(sweep).submissions == {}


def test_stage_job_is_not_a_job_of_a_run(sweep: SweepPaths) -> None:
    ledger.append(sweep, "submitting", submission="1", kind="stage", tasks=[[]])
    ledger.append(sweep, "submitted", submission="1", job="16")
    assert job_ids(sweep) == {}


def test_runs_are_waiting_until_submitted_or_cancelled(sweep: SweepPaths) -> None:
    ledger.append(sweep, "waiting", runs=["ft-a", "tl-b", "cnn-c"])
    submitted(sweep, "1", "17", ["tl-b"])
    assert ledger.read(sweep).waiting == ["ft-a", "cnn-c"]
    ledger.append(sweep, "cancelled", jobs=["17"], runs=["cnn-c"])
    assert ledger.read(sweep).waiting == ["ft-a"]


@pytest.mark.parametrize("torn", [b'{"event": "planned", "ru', b"\xff\xfe", b"[]", b"{}", b"7\n"])
def test_truncated_line_affects_no_other_event(sweep: SweepPaths, torn: bytes) -> None:
    ledger.append(sweep, "planned", runs={"ft-a": []})
    with sweep.ledger.open("ab") as file:
        file.write(torn)
    ledger.append(sweep, "planned", runs={"tl-b": []})
    assert list(ledger.read(sweep).planned) == ["ft-a", "tl-b"]


def test_ledger_is_append_only(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={"ft-a": []})
    before = sweep.ledger.read_bytes()
    ledger.append(sweep, "planned", runs={"tl-b": []})
    assert sweep.ledger.read_bytes().startswith(before)
    assert sweep.ledger.read_bytes().count(b"\n") == 2


def test_jobs_name_their_submission(sweep: SweepPaths) -> None:
    submitted(sweep, "first", "17", ["ft-a"], ["tl-b"])
    submitted(sweep, "second", "18", ["ft-a"])
    assert ledger.read(sweep).jobs() == {
        "ft-a": ledger.JobRef("18", "second"),
        "tl-b": ledger.JobRef("17_1", "first"),
    }


def test_run_is_cancelled_until_it_is_submitted_again(sweep: SweepPaths) -> None:
    ledger.append(sweep, "cancelled", jobs=["7"], runs=["a", "b"])
    ledger.append(sweep, "submitting", submission="x", kind="runs", tasks=[["b"]])
    assert list(ledger.read(sweep).cancelled) == ["a"]
