from __future__ import annotations

from pathlib import Path

import pytest

from xray_hpc.runs import ledger
from xray_hpc.runs.paths import SweepPaths


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    return SweepPaths(tmp_path / "results" / "lr_depth")


def test_a_sweep_without_a_ledger_has_no_events(sweep: SweepPaths) -> None:
    assert list(ledger.events(sweep)) == []
    assert ledger.expected_runs(sweep) == []
    assert ledger.jobs(sweep) == {}


def test_events_come_back_in_order_with_their_time(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={})
    ledger.append(sweep, "submitting", submission="1", runs=[])
    events = list(ledger.events(sweep))
    assert [event["event"] for event in events] == ["planned", "submitting"]
    assert events[0]["time"].endswith("+00:00")


def test_runs_of_every_launch_are_expected_once_in_launch_order(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={"tl-b": ["model=tl"], "ft-a": ["model=ft"]})
    ledger.append(sweep, "planned", runs={"ft-a": ["model=ft"], "cnn-c": ["model=cnn"]})
    assert ledger.expected_runs(sweep) == ["tl-b", "ft-a", "cnn-c"]
    assert ledger.planned(sweep)["cnn-c"] == ["model=cnn"]


def test_the_newest_job_of_a_run_counts(sweep: SweepPaths) -> None:
    ledger.append(sweep, "submitted", submission="1", jobs={"ft-a": "17_0", "tl-b": "17_1"})
    ledger.append(sweep, "submitted", submission="2", jobs={"ft-a": "18"})
    assert ledger.jobs(sweep) == {"ft-a": "18", "tl-b": "17_1"}


@pytest.mark.parametrize("torn", [b'{"event": "planned", "ru', b"\xff\xfe", b"[]", b"{}", b"7\n"])
def test_a_torn_line_spoils_neither_what_was_before_nor_what_comes_after(
    sweep: SweepPaths, torn: bytes
) -> None:
    ledger.append(sweep, "planned", runs={"ft-a": []})
    with sweep.ledger.open("ab") as file:
        file.write(torn)
    ledger.append(sweep, "planned", runs={"tl-b": []})
    assert ledger.expected_runs(sweep) == ["ft-a", "tl-b"]


def test_the_ledger_is_only_ever_appended_to(sweep: SweepPaths) -> None:
    ledger.append(sweep, "planned", runs={"ft-a": []})
    before = sweep.ledger.read_bytes()
    ledger.append(sweep, "planned", runs={"tl-b": []})
    assert sweep.ledger.read_bytes().startswith(before)
    assert sweep.ledger.read_bytes().count(b"\n") == 2
