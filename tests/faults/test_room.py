"""A sweep larger than the user's limit of submitted jobs, on a cluster that holds users to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.sweeps import Sweep, throwaway
from tests.slurm.client import without
from tests.slurm.cluster import installing, missing_programs
from xray_hpc.records import ledger
from xray_hpc.records.run_record import Status

LIMIT = 20  # of the account and of the QOS "few"


@dataclass
class Launched:
    """45 runs, launched once, when all that came of it is over."""

    sweep: Sweep
    said: str


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    if os.geteuid() != 0:
        without("only root can start a cluster with accounting")
    if missing := missing_programs(accounting_too=True):
        without(f"not installed: {', '.join(missing)} ({installing(accounting_too=True)})")
    words = ("cluster.account=few", "cluster.qos=few")
    with throwaway(accounting=True) as slurm:
        made = Sweep(
            slurm, tmp_path_factory.mktemp("room"), 45, epochs=1, seconds=0.05, words=words
        )
        said = made.launch()
        made.until_idle()
        yield Launched(made, said)


def test_what_there_is_room_for_is_submitted_at_once(launched: Launched) -> None:
    assert f"array of {LIMIT - 2} runs (stage job " in launched.said
    assert "27 runs wait until Slurm has room for more of your jobs: job " in launched.said


def test_collect_jobs_submit_the_others(launched: Launched) -> None:
    kinds = [found.kind for found in ledger.read(launched.sweep.paths).submissions.values()]
    assert kinds == ["stage", "runs", "collect"] * 3
    assert ledger.read(launched.sweep.paths).waiting == []


def test_every_run_finishes(launched: Launched) -> None:
    sweep = launched.sweep
    assert {sweep.record(seed).status for seed in sweep.seeds} == {Status.FINISHED}
