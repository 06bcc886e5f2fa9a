"""Tests that long tables are the concatenation of the runs' tables, in any order."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.fake_runs import THREE_CLASSES, FakeRun, write_run
from xray_hpc.records.paths import SPLITS, SweepPaths
from xray_hpc.report.long_tables import epoch_table, roc_table, score_table
from xray_hpc.report.read_run import read_run
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.shared_columns import SharedColumns
from xray_hpc.report.table_files import write_csv_table, write_parquet_table

TABLES = (epoch_table, score_table, roc_table)
SMALL = {"validation": 5, "test": 4}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunResult]:
    """Runs with two and three classes, one without a result."""
    sweep = SweepPaths(tmp_path_factory.mktemp("sweep"))
    fakes = {
        "cnn": FakeRun(epochs=2, images=SMALL),
        "tl": FakeRun(epochs=3, images=SMALL, seed=1),
        "lung": FakeRun(epochs=2, images=SMALL, classes=THREE_CLASSES),
    }
    folders = [write_run(sweep, model, fake) for model, fake in fakes.items()]
    return [*map(read_run, folders), RunResult("ft-1", "ft", "missing")]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_merging_is_concatenation_in_any_order(runs: list[RunResult], data: st.DataObject) -> None:
    order = data.draw(st.permutations(runs))
    shared = SharedColumns()
    for run in order:
        shared.share(run)
    for table in TABLES:
        merged = table(order)
        expected = pd.concat([table([run]).astype(object) for run in order], ignore_index=True)
        assert merged.astype(object).equals(expected.astype(object))
        assert merged.dtypes.astype(str).tolist() == table([]).dtypes.astype(str).tolist()


def test_scores_of_two_classes_are_those_of_the_run(runs: list[RunResult]) -> None:
    table = score_table(runs)
    for split in SPLITS:
        rows = table[(table["run"] == runs[0].name) & (table["split"] == split)]
        for name in ("file", "patient", "y_true", "y_scores", "logit"):
            assert rows[name].tolist() == runs[0].scores[split][name].tolist()


def test_text_and_numbers_survive_csv_and_parquet(tmp_path: Path) -> None:
    texts = ["=1+1", "a,b", 'c"d', "e\nf", "-x", ""]
    numbers = [0.1 + 0.2, 1e-300, float("nan"), float("inf"), -0.0, 1e16]
    frame = pd.DataFrame({"text": pd.Categorical(texts), "number": numbers})
    write_csv_table(tmp_path / "table.csv", frame)
    write_parquet_table(tmp_path / "table.parquet", frame)
    back = pd.read_csv(tmp_path / "table.csv", keep_default_na=False, na_values={"number": [""]})
    assert back["text"].tolist() == ["'=1+1", *texts[1:4], "'-x", ""]
    assert back["number"].equals(frame["number"])
    stored = pd.read_parquet(tmp_path / "table.parquet")
    assert stored["text"].tolist() == texts
    assert stored["number"].equals(frame["number"])
