"""Write the tables of a comparison: a CSV each, and the ranking as Parquet and LaTeX."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from xray_hpc.printable import printable
from xray_hpc.records.atomic_files import atomic_write, write_csv, write_text
from xray_hpc.report.compare import COLUMNS
from xray_hpc.report.comparison import Comparison
from xray_hpc.report.selection import RULE_TITLES

RANKING_PARQUET, RANKING_TEX = "ranking.parquet", "ranking.tex"
LATEX_RUNS = 30  # the table of a paper; ranking.csv has all
LATEX_METRICS = {
    **{"auc": "AUC", "accuracy": "accuracy", "sensitivity": "sensitivity"},
    "specificity": "specificity",
}


def write_comparison(folder: Path, comparison: Comparison) -> list[str]:
    """Write the tables into the report's ``folder``, and remove those that have no rows.

    Returns:
        The names of the files.
    """
    written = []
    for name in COLUMNS:
        path = folder / f"{name}.csv"
        table: pd.DataFrame = getattr(comparison, name)
        if len(table):
            write_csv(path, table)
            written.append(path.name)
        else:
            path.unlink(missing_ok=True)
    if len(comparison.ranking):
        with atomic_write(folder / RANKING_PARQUET) as path:
            _same_types(comparison.ranking).to_parquet(path, index=False)
        write_text(folder / RANKING_TEX, ranking_latex(comparison))
        written += [RANKING_PARQUET, RANKING_TEX]
    else:
        for name in (RANKING_PARQUET, RANKING_TEX):
            (folder / name).unlink(missing_ok=True)
    return written


def ranking_latex(comparison: Comparison) -> str:
    """Return the best runs of each data set as LaTeX tables for the package ``booktabs``."""
    tables = [
        _latex_table(str(data), table.head(LATEX_RUNS), comparison.rule)
        for data, table in comparison.ranking.groupby("data", sort=False)
    ]
    return "% Needs \\usepackage{booktabs}\n" + "\n".join(tables)


def _latex_table(data: str, ranking: pd.DataFrame, rule: str) -> str:
    columns = {"run": ranking["label"].map(latex_text)}
    columns[RULE_TITLES[rule]] = ranking["selection"].map(_number)
    for metric, title in LATEX_METRICS.items():
        if f"test_{metric}" in ranking and ranking[f"test_{metric}"].notna().any():
            columns[f"test {title}"] = ranking.apply(_estimate, axis=1, metric=metric)
    caption = (
        f"Runs on {latex_text(data)}, best first by the {RULE_TITLES[rule]}. Values on the test "
        "images with 95\\,\\% intervals clustered by patient."
    )
    style = pd.DataFrame(columns).style.hide(axis="index")
    alignment = "l" + "r" * (len(columns) - 1)
    return str(style.to_latex(column_format=alignment, hrules=True, caption=caption))


def latex_text(text: str) -> str:
    """Escape text for LaTeX."""
    special = {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    }
    return "".join(special.get(character, character) for character in printable(text))


def _estimate(row: pd.Series, metric: str) -> str:
    value, low, high = (row[f"test_{metric}{end}"] for end in ("", "_low", "_high"))
    if math.isnan(low):
        return _number(value)
    return f"{value:.3f} ({low:.3f}--{high:.3f})"


def _number(value: float) -> str:
    return "--" if math.isnan(value) else f"{value:.3f}"


def _same_types(table: pd.DataFrame) -> pd.DataFrame:
    """Turn columns of mixed values into text, as a Parquet column has one type."""
    mixed = [
        name
        for name, dtype in zip(map(str, table.columns), table.dtypes, strict=True)
        if dtype.kind == "O" and len({type(value) for value in table[name].dropna()}) > 1
    ]
    texts = {name: table[name].map(str, na_action="ignore") for name in mixed}
    return table.assign(**texts)
