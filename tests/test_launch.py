"""The results that a launch returns to an optimizing sweeper."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.utils import JobStatus

from tests.conftest import Composer
from tests.run_folders import run_metrics
from xray_hpc.launch import job_results
from xray_hpc.launching.plan import Plan
from xray_hpc.records.json_record import write_json_record

METRICS = {"loss": 0.25, "accuracy": 0.9, "auc": 0.95}


@pytest.fixture
def plan(composer: Composer) -> Plan:
    """Return a plan of two runs; the first is requested twice and has metrics."""
    made: Plan = composer.plan(["seed=1"], ["seed=2"], ["seed=1"])
    paths = made.sweep.run(made.combinations[0])
    paths.folder.mkdir(parents=True)
    write_json_record(paths.metrics, run_metrics(METRICS, {"loss": 9.0}))
    return made


def test_job_results_has_one_result_per_combination_in_order(plan: Plan) -> None:
    results = job_results(plan, [["seed=1"], ["seed=2"], ["seed=1"]])
    assert [one.overrides for one in results] == [["seed=1"], ["seed=2"], ["seed=1"]]
    assert [one.status for one in results] == [
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.COMPLETED,
    ]


def test_job_results_returns_the_metric_that_selects_the_weights(plan: Plan) -> None:
    (keep,) = {run.config.train.keep for run in plan.runs}
    assert keep == "val_loss"
    assert job_results(plan, [["seed=1"]] * 3)[0].return_value == 0.25


@pytest.mark.parametrize(
    ("keep", "value"), [("val_accuracy", 0.9), ("val_auc", 0.95), ("last", 0.25)]
)
def test_job_results_follows_train_keep(
    composer: Composer, tmp_path: Path, keep: str, value: float
) -> None:
    plan = composer.plan([f"train.keep={keep}"])
    paths = plan.sweep.run(plan.combinations[0])
    paths.folder.mkdir(parents=True)
    write_json_record(paths.metrics, run_metrics(METRICS))
    assert job_results(plan, [[]])[0].return_value == value


def test_job_results_raises_for_a_run_without_metrics(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = job_results(plan, [["seed=1"], ["seed=2"], ["seed=1"]])[1]
    with pytest.raises(RuntimeError, match="has no validation loss"):
        _ = failed.return_value
