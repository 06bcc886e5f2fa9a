"""What a launch tells a sweeper that optimises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobStatus

from tests.run_folders import run_metrics
from xray_hpc.launch import job_results
from xray_hpc.launching.plan import Plan
from xray_hpc.records.json_record import write_json_record

MEASURES = {"loss": 0.25, "accuracy": 0.9, "auc": 0.95}


@pytest.fixture
def plan(composer: Any) -> Plan:
    """Two runs, of which the first was asked for twice; only that one has measures."""
    made: Plan = composer.plan(["seed=1"], ["seed=2"], ["seed=1"])
    paths = made.sweep.run(made.combinations[0])
    write_json_record(paths.metrics, run_metrics(MEASURES, {"loss": 9.0}))
    return made


def test_every_combination_is_answered_in_its_order(plan: Plan) -> None:
    told = job_results(plan, [["seed=1"], ["seed=2"], ["seed=1"]])
    assert [one.overrides for one in told] == [["seed=1"], ["seed=2"], ["seed=1"]]
    assert [one.status for one in told] == [
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.COMPLETED,
    ]


def test_it_is_told_the_validation_measure_by_which_weights_are_kept(plan: Plan) -> None:
    (keep,) = {run.config.train.keep for run in plan.runs}
    assert keep == "val_loss"
    assert job_results(plan, [["seed=1"]] * 3)[0].return_value == 0.25


@pytest.mark.parametrize(
    ("keep", "value"), [("val_accuracy", 0.9), ("val_auc", 0.95), ("last", 0.25)]
)
def test_another_measure_may_be_kept_by(
    composer: Any, tmp_path: Path, keep: str, value: float
) -> None:
    plan = composer.plan([f"train.keep={keep}"])
    paths = plan.sweep.run(plan.combinations[0])
    write_json_record(paths.metrics, run_metrics(MEASURES))
    assert job_results(plan, [[]])[0].return_value == value


def test_a_run_without_measures_is_a_failure_when_it_is_asked_for(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = job_results(plan, [["seed=1"], ["seed=2"], ["seed=1"]])[1]
    with pytest.raises(RuntimeError, match="has no validation loss"):
        _ = failed.return_value
