from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from xray_hpc.errors import RecordError, UserError
from xray_hpc.records.atomic_files import write_text
from xray_hpc.records.json_record import with_checksum
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import (
    ErrorInfo,
    RunRecord,
    Status,
    now,
    read_record,
    update_record,
    write_record,
)


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "lr_depth" / "runs" / "ft-1a2b3c4d")
    paths.folder.mkdir(parents=True)
    return paths


@pytest.fixture
def record() -> RunRecord:
    return RunRecord(
        run="ft-1a2b3c4d",
        sweep="lr_depth",
        model="ft",
        status=Status.FAILED,
        seconds=12.3,
        gpus=["NVIDIA H200"],
        job_ids=["12_3"],
        error=ErrorInfo("ValueError", "a\nb"),
    )


def test_record_round_trip(paths: RunPaths, record: RunRecord) -> None:
    write_record(paths, record)
    assert read_record(paths) == record


def test_record_file_has_every_field(paths: RunPaths, record: RunRecord) -> None:
    write_record(paths, record)
    written = json.loads(paths.record.read_text())
    assert list(written) == [
        *(item.name for item in dataclasses.fields(RunRecord)),
        "checksum",
    ]
    assert written["status"] == "failed"
    assert written["node"] is None


def test_read_record_without_a_file_is_none(paths: RunPaths) -> None:
    assert read_record(paths) is None


def test_update_record_changes_only_the_given_fields(paths: RunPaths, record: RunRecord) -> None:
    write_record(paths, record)
    update_record(paths, status=Status.RUNNING, node="n1")
    changed = dataclasses.replace(record, status=Status.RUNNING, node="n1")
    assert read_record(paths) == changed


def test_update_record_without_a_file_raises(paths: RunPaths) -> None:
    with pytest.raises(UserError, match=r"run.json is missing; launch the sweep again"):
        update_record(paths, node="n1")


def test_read_record_ignores_unknown_keys(paths: RunPaths, record: RunRecord) -> None:
    values = dataclasses.asdict(record) | {"carbon": 3}
    write_text(paths.record, with_checksum(values))
    assert read_record(paths) == record


def test_changed_record_does_not_match_its_checksum(paths: RunPaths, record: RunRecord) -> None:
    write_record(paths, record)
    text = paths.record.read_text()
    for old, new in (("12.3", "92.3"), ('  "node": null,\n', ""), (',\n  "checksum"', '}, "')):
        assert old in text
        paths.record.write_text(text.replace(old, new))
        with pytest.raises(RecordError):
            read_record(paths)


@pytest.mark.parametrize(
    "text",
    [
        '{"run": "x"}',
        '{"status": "done", "run": "x", "sweep": "y", "model": "z"}',
        "{",
        '{"run": "x", "sweep": "y", "model": "../z"}',
        '{"run": "x", "sweep": "y", "model": "z", "started": "yesterday"}',
        '{"run": "x", "sweep": "y", "model": "z", "ended": "2026-01-01T12:00:00"}',
        '{"run": "x", "sweep": "y", "model": "z", "seconds": "1"}',
    ],
)
def test_read_record_error_names_the_file(paths: RunPaths, text: str) -> None:
    signed = text if text == "{" else with_checksum(json.loads(text))
    write_text(paths.record, signed)
    with pytest.raises(UserError, match=r"run.json(:| is not)"):
        read_record(paths)


def test_now_is_utc_in_seconds() -> None:
    assert len(now()) == len("2026-11-22T03:40:00+00:00")
    assert now().endswith("+00:00")
