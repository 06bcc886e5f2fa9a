from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from xray_hpc.errors import StorageError
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    sweep = SweepPaths(tmp_path / "results" / "lr_depth")
    sweep.folder.mkdir(parents=True)
    return sweep


def job_ids(sweep: SweepPaths) -> dict[str, str]:
    return {run: job.id for run, job in ledger.read(sweep).jobs().items()}


def test_missing_ledger_has_no_events(sweep: SweepPaths) -> None:
    assert ledger.events(sweep) == []
    assert list(ledger.read(sweep).planned) == []
    assert job_ids(sweep) == {}


def test_events_are_in_order_and_have_a_time(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={})
    ledger.append(sweep, "refused", submission="1", reason="invalid partition")
    events = ledger.events(sweep)
    assert [event["event"] for event in events] == ["planned", "refused"]
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


def wrong_types() -> list[bytes]:
    """Return lines of valid JSON whose fields have wrong types or values."""
    names = [7, None, "", ".", "..", "a/b", "a\0b", "-x", "a" * 300, "\ud800", [7], {"a": 1}]
    values: list[dict[str, object]] = [{"event": event} for event in ([], None, "unknown")]
    for name in names:
        tasks = {"event": "submitting", "submission": "1", "kind": "runs", "tasks": [[name]]}
        values += [tasks, tasks | {"submission": name, "tasks": []}]
        values += [tasks | {"tasks": value} for value in (name, [name])]
        values += [{"event": "waiting", "runs": value} for value in (name, [name])]
        values += [{"event": "cancelled", "jobs": [], "runs": value} for value in (name, [name])]
        values += [{"event": "submitted", "submission": "0", "job": name}]
        if isinstance(name, str):
            values += [{"event": "planned", "runs": {name: []}}]
    values += [{"event": "planned", "runs": runs} for runs in ([], {"a": 1}, {"a": [1]}, None)]
    values += [{"event": "submitted", "submission": "0", "job": job} for job in (17, "-u eva", "²")]
    values += [{"event": "submitting", "submission": "1", "kind": 1, "tasks": []}]
    deep = b'{"event": "waiting", "runs": ' + b"[" * 100_000
    return [deep, *(json.dumps(value).encode() for value in values)]


def test_lines_of_wrong_types_affect_no_other_event(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={"ft-a": []})
    ledger.append(sweep, "submitting", submission="0", kind="runs", tasks=[["ft-a"]])
    before = ledger.read(sweep)
    with sweep.ledger.open("ab") as file:
        file.writelines(line + b"\n" for line in wrong_types())
    assert len(ledger.events(sweep)) == 2
    assert ledger.read(sweep) == before


@pytest.mark.parametrize("kind", ["folder", "fifo", "loop", "sparse", "device"])
def test_unreadable_ledger_is_not_an_empty_one(sweep: SweepPaths, kind: str) -> None:
    match kind:
        case "folder":
            sweep.ledger.mkdir()
        case "fifo":
            os.mkfifo(sweep.ledger)
        case "loop":
            sweep.ledger.symlink_to(sweep.ledger)
        case "sparse":
            with sweep.ledger.open("wb") as file:
                file.truncate(1 << 40)
        case "device":
            sweep.ledger.symlink_to("/dev/zero")
    with pytest.raises(StorageError, match=r"ledger\.jsonl cannot be read \(.+\)"):
        ledger.read(sweep)


@pytest.mark.parametrize("content", [None, b"", b"\0" * 4096, b'{"event": "pla'])
def test_ledger_lost_after_a_submission_is_not_an_empty_one(
    sweep: SweepPaths, content: bytes | None
) -> None:
    if content is not None:
        sweep.ledger.write_bytes(content)
    assert ledger.read(sweep).planned == {}
    sweep.slurm.mkdir()
    with pytest.raises(StorageError, match="lost or damaged"):
        ledger.read(sweep)


def test_append_does_not_create_the_folder_of_a_removed_sweep(sweep: SweepPaths) -> None:
    sweep.folder.rmdir()
    with pytest.raises(StorageError, match="No such file"):
        ledger.append(sweep, "planned", runs={})
    assert not sweep.folder.exists()


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
    assert ledger.read(sweep).cancelled == {"a": 0}


def test_cancelled_runs_have_the_position_of_their_event(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={"a": []})
    before = ledger.size(sweep)
    ledger.append(sweep, "cancelled", jobs=[], runs=["a"])
    assert ledger.read(sweep).cancelled == {"a": before}
    assert ledger.size(sweep) == sweep.ledger.stat().st_size > before


def test_append_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine\n")
    sweep = SweepPaths(tmp_path / "sweep")
    sweep.folder.mkdir()
    sweep.ledger.symlink_to(tmp_path / "mine")
    with pytest.raises(StorageError, match=r"ledger\.jsonl \(a link, which is not followed\)"):
        ledger.append(sweep, "waiting", runs=[])
    assert (tmp_path / "mine").read_text() == "mine\n"
