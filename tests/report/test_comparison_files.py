from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.report.test_compare import grid
from xray_hpc.report.compare import compare_runs
from xray_hpc.report.comparison import Comparison
from xray_hpc.report.comparison_files import latex_text, ranking_latex, write_comparison
from xray_hpc.report.run_result import RunResult


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare_runs(grid([1.0, 3.0]))


def test_each_table_with_rows_is_a_csv_file(tmp_path: Path, comparison: Comparison) -> None:
    (tmp_path / "settings.csv").write_text("of an earlier report\n")
    files = write_comparison(tmp_path, comparison)
    assert sorted(files) == sorted(path.name for path in tmp_path.iterdir())
    assert "settings.csv" not in files  # no setting has several seeds
    found = pd.read_csv(tmp_path / "metrics.csv", keep_default_na=False, na_values=[""])
    assert len(found) == len(comparison.metrics)
    assert found["value"].dropna().tolist() == comparison.metrics["value"].dropna().tolist()
    parquet = pd.read_parquet(tmp_path / "ranking.parquet")
    assert parquet["test_auc_low"].tolist() == comparison.ranking["test_auc_low"].tolist()


def test_equal_comparisons_are_equal_bytes(tmp_path: Path, comparison: Comparison) -> None:
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_comparison(tmp_path / name, comparison)
        contents.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert contents[0] == contents[1]


def test_latex_table_has_rules_of_booktabs_and_intervals(comparison: Comparison) -> None:
    text = ranking_latex(comparison)
    row = comparison.ranking.iloc[0]
    auc = "{test_auc:.3f} ({test_auc_low:.3f}--{test_auc_high:.3f})".format_map(row)
    lines = [line for line in text.splitlines() if line.startswith(r"ft, lr 0.01 &")]
    assert len(lines) == 1
    assert auc in lines[0]
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_latex_text_is_escaped() -> None:
    assert latex_text("50 % of a_b & c\\d") == r"50 \% of a\_b \& c\textbackslash{}d"


def test_files_of_an_earlier_report_are_removed(tmp_path: Path, comparison: Comparison) -> None:
    write_comparison(tmp_path, comparison)
    write_comparison(tmp_path, compare_runs([RunResult("ft-1", "ft", "missing")]))
    assert list(tmp_path.iterdir()) == []
