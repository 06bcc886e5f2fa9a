"""Tests of the Python interface."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import xray_hpc
from tests.report.fake_runs import FakeRun, write_run
from xray_hpc.errors import ConfigError, DataError
from xray_hpc.records.paths import SweepPaths


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    """Two finished runs, the second better, and one that failed."""
    sweep = SweepPaths(tmp_path / "sweep")
    write_run(sweep, "cnn", FakeRun(skill=0.5, seed=1))
    write_run(sweep, "tl", FakeRun(skill=3.0, seed=2))
    write_run(sweep, "ft", status="failed")
    return sweep


def test_tables_hold_every_run_and_score(sweep: SweepPaths) -> None:
    loaded = xray_hpc.load_sweep(sweep.folder)
    assert sorted(loaded.runs["status"]) == ["failed", "finished", "finished"]
    for path in sweep.runs.iterdir():
        for file in path.glob("*_test_yscores.csv"):
            rows = loaded.scores.query("run == @path.name and split == 'test'")
            written = pd.read_csv(file)
            assert np.array_equal(rows["logit"], written["logit"])
            assert list(rows["file"]) == list(written["file"])


def test_best_run_is_chosen_on_validation_only(sweep: SweepPaths) -> None:
    loaded = xray_hpc.load_sweep(str(sweep.folder))
    assert loaded.best().name.startswith("tl-")
    with pytest.raises(ConfigError, match="test images"):
        loaded.best(select="test_auc")


def test_run_without_a_result_has_no_model(sweep: SweepPaths) -> None:
    run = xray_hpc.load_sweep([sweep.folder]).run("ft")
    assert run.scores.empty
    with pytest.raises(DataError, match="it has no trained model"):
        run.model()


@pytest.mark.parametrize("path", [[], 3, [None], "no-such-sweep"])
def test_bad_input_is_refused(path: object) -> None:
    with pytest.raises(ConfigError):
        xray_hpc.load_sweep(path)  # type: ignore[arg-type]


def test_import_loads_no_pandas() -> None:
    program = "import sys, xray_hpc; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
