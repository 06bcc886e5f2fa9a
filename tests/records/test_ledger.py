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


def test_a_sweep_without_a_ledger_has_no_events(sweep: SweepPaths) -> None:
    assert list(ledger.events(sweep)) == []
    assert list(ledger.read(sweep).planned) == []
    assert job_ids(sweep) == {}


def test_events_come_back_in_order_with_their_time(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={})
    ledger.append(sweep, "submitting", submission="1", runs=[])
    events = list(ledger.events(sweep))
    assert [event["event"] for event in events] == ["planned", "submitting"]
    assert events[0]["time"].endswith("+00:00")


def test_runs_of_every_launch_are_expected_once_in_launch_order(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={"tl-b": ["model=tl"], "ft-a": ["model=ft"]})
    ledger.append(sweep, "planned", runs={"ft-a": ["model=ft"], "cnn-c": ["model=cnn"]})
    assert list(ledger.read(sweep).planned) == ["tl-b", "ft-a", "cnn-c"]
    assert ledger.read(sweep).planned["cnn-c"] == ["model=cnn"]


def submitted(sweep: SweepPaths, name: str, job: str, *tasks: list[str]) -> None:
    ledger.append(sweep, "submitting", submission=name, kind="runs", tasks=tasks)
    ledger.append(sweep, "submitted", submission=name, job=job)


def test_a_run_has_the_job_of_its_task(sweep: SweepPaths) -> None:
    submitted(sweep, "1", "17", ["ft-a"], ["tl-b", "tl-c"])
    assert job_ids(sweep) == {"ft-a": "17_0", "tl-b": "17_1", "tl-c": "17_1"}


def test_a_job_of_one_task_is_no_array(sweep: SweepPaths) -> None:
    submitted(sweep, "1", "17", ["ft-a", "tl-b"])
    assert job_ids(sweep) == {"ft-a": "17", "tl-b": "17"}


def test_the_newest_job_of_a_run_counts(sweep: SweepPaths) -> None:
    submitted(sweep, "1", "17", ["ft-a"], ["tl-b"])
    submitted(sweep, "2", "18", ["ft-a"])
    assert job_ids(sweep) == {"ft-a": "18", "tl-b": "17_1"}


def test_what_was_said_to_slurm_without_an_answer_is_open(sweep: SweepPaths) -> None:
    submitted(sweep, "1", "17", ["ft-a"])
    ledger.append(sweep, "submitting", submission="2", kind="runs", tasks=[["tl-b"]])
    assert {name: at.job for name, at in ledger.read(sweep).submissions.items()} == {
        "1": "17",
        "2": None,
    }
    assert job_ids(sweep) == {"ft-a": "17"}


def test_what_slurm_refused_is_none(sweep: SweepPaths) -> None:
    ledger.append(sweep, "submitting", submission="1", kind="runs", tasks=[["tl-b"]])
    ledger.append(sweep, "refused", submission="1", reason="invalid partition")
    assert ledger.read(sweep).submissions == {}


def test_a_stage_job_is_no_job_of_a_run(sweep: SweepPaths) -> None:
    ledger.append(sweep, "submitting", submission="1", kind="stage", tasks=[[]])
    ledger.append(sweep, "submitted", submission="1", job="16")
    assert job_ids(sweep) == {}


def test_runs_wait_until_they_are_submitted_or_cancelled(sweep: SweepPaths) -> None:
    ledger.append(sweep, "waiting", runs=["ft-a", "tl-b", "cnn-c"])
    submitted(sweep, "1", "17", ["tl-b"])
    assert ledger.read(sweep).waiting == ["ft-a", "cnn-c"]
    ledger.append(sweep, "cancelled", jobs=["17"], runs=["cnn-c"])
    assert ledger.read(sweep).waiting == ["ft-a"]


@pytest.mark.parametrize("torn", [b'{"event": "planned", "ru', b"\xff\xfe", b"[]", b"{}", b"7\n"])
def test_a_torn_line_spoils_neither_what_was_before_nor_what_comes_after(
    sweep: SweepPaths, torn: bytes
) -> None:
    ledger.append(sweep, "planned", runs={"ft-a": []})
    with sweep.ledger.open("ab") as file:
        file.write(torn)
    ledger.append(sweep, "planned", runs={"tl-b": []})
    assert list(ledger.read(sweep).planned) == ["ft-a", "tl-b"]


def test_the_ledger_is_only_ever_appended_to(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={"ft-a": []})
    before = sweep.ledger.read_bytes()
    ledger.append(sweep, "planned", runs={"tl-b": []})
    assert sweep.ledger.read_bytes().startswith(before)
    assert sweep.ledger.read_bytes().count(b"\n") == 2


def test_a_job_is_known_by_its_submission_too(sweep: SweepPaths) -> None:
    submitted(sweep, "first", "17", ["ft-a"], ["tl-b"])
    submitted(sweep, "second", "18", ["ft-a"])
    assert ledger.read(sweep).jobs() == {
        "ft-a": ledger.JobRef("18", "second"),
        "tl-b": ledger.JobRef("17_1", "first"),
    }


def test_what_was_cancelled_counts_until_it_is_submitted_again(sweep: SweepPaths) -> None:
    ledger.append(sweep, "cancelled", jobs=["7"], runs=["a", "b"])
    ledger.append(sweep, "submitting", submission="x", kind="runs", tasks=[["b"]])
    assert list(ledger.read(sweep).cancelled) == ["a"]
