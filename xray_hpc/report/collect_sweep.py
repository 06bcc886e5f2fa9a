"""Collect the records of sweeps into a report: load, compare, render."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.config.report_settings import ReportSettings
from xray_hpc.errors import ConfigError, StorageError
from xray_hpc.records.atomic_files import remove_temporary_files, write_text
from xray_hpc.records.file_lock import file_lock
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.saved_report_settings import read_report_settings
from xray_hpc.report.compare import compare_runs
from xray_hpc.report.comparison import Comparison
from xray_hpc.report.comparison_files import write_comparison
from xray_hpc.report.comparison_table import DEFAULT_WIDTH, comparison_table
from xray_hpc.report.formatting import unfinished_runs
from xray_hpc.report.load_sweep import load_sweeps
from xray_hpc.report.markdown_report import markdown_report, run_sections
from xray_hpc.report.merged_tables import CLASS_COLUMNS, class_rows, csv_text
from xray_hpc.report.page.write_page import PAGE, page_content, write_page
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.run_values import group_means, means_text, select_runs
from xray_hpc.report.sweep_results import SweepResults
from xray_hpc.report.table_files import (
    write_csv_table,
    write_parquet_rows,
    write_parquet_table,
)
from xray_hpc.shared_folder import make_subfolder
from xray_hpc.system_errors import advice


@dataclass(frozen=True)
class ReportRequest:
    """What to report on.

    Attributes:
        sweeps: one or several sweeps.
        out: the report's folder; ``None`` for that of the only sweep.
        where: an expression that selects runs (:mod:`xray_hpc.run_filter`); ``None`` for all.
        by: columns or config keys; metrics are averaged over runs that are equal in them.
        settings: what the report chooses and shows; ``None``: as the first ``sweep.yaml`` says.
    """

    sweeps: Sequence[SweepPaths]
    out: Path | None = None
    where: str | None = None
    by: Sequence[str] = ()
    settings: ReportSettings | None = None

    @property
    def folder(self) -> Path:
        """The report's folder."""
        return self.out or self.sweeps[0].report

    def check(self) -> None:
        """Raise ``ConfigError`` if there is no folder for the report."""
        if self.out is None and len(self.sweeps) > 1:
            raise ConfigError("a report of several sweeps needs a folder; add --out results/NAME")
        if self.out is not None and os.path.isdir(SweepPaths(self.out).runs):
            raise ConfigError(f"{self.out} is a sweep; give another folder with --out")


@dataclass(frozen=True)
class Report:
    """A collected report.

    Attributes:
        folder: the report's folder.
        runs: the runs in launch order.
        comparison: what the report says of them.
        groups: the table of ``--by``.
    """

    folder: Path
    runs: Sequence[RunResult]
    comparison: Comparison
    groups: str = ""

    @property
    def paths(self) -> list[Path]:
        """The files of most interest: the page, ``report.md`` and ``runs.csv``."""
        tables = [PAGE, "report.md", "runs.csv", *(["by.csv"] if self.groups else [])]
        return [self.folder / name for name in tables]

    def table(self, width: int = DEFAULT_WIDTH) -> str:
        """Return the comparison for a terminal with ``width`` columns."""
        table = comparison_table(self.runs, self.comparison, width)
        return f"{table}\n\n{self.groups}" if self.groups else table


def collect_sweep(sweep: SweepPaths, settings: ReportSettings | None = None) -> Report:
    """Write the report of one sweep; see :func:`collect`."""
    return collect(ReportRequest([sweep], settings=settings))


def collect(request: ReportRequest) -> Report:
    """Merge the records of sweeps into a report.

    Each file is replaced atomically, and files that no longer apply are removed. Runs without a
    result are listed with the reason. Equal records give equal bytes. A concurrent collector of
    the same folder waits for this one.

    Raises:
        UserError: a sweep has no runs, the request is invalid, or the folder is not writable.
    """
    request.check()
    settings = request.settings or read_report_settings(request.sweeps[0])
    request = dataclasses.replace(request, settings=settings)
    results = load_sweeps(request.sweeps)
    if request.where is not None:
        results = select_runs(results, request.where)
    folder = request.folder
    try:
        if request.out is not None:
            folder.mkdir(parents=True, exist_ok=True)
        else:
            make_subfolder(folder)
        with file_lock(folder / ".lock", message="waiting for another collector"):
            remove_temporary_files(folder)
            try:
                return _write(folder, request, results, settings)
            finally:
                remove_temporary_files(folder)
    except OSError as error:
        where = error.filename or folder
        problem = f"cannot write the report: {where}: {error.strerror}"
        raise StorageError(f"{problem}; {advice(error)}, and collect again") from error


def _write(
    folder: Path, request: ReportRequest, results: SweepResults, settings: ReportSettings
) -> Report:
    runs = [run.without_tables() for run in results.results]
    groups = _write_groups(folder, results, request.by)
    comparison = compare_runs(results.results, settings.select)
    tables = write_comparison(folder, comparison)
    _write_tables(folder, results)
    others = (run.name for run in unfinished_runs(runs))
    logs = {name: results.folders[name].log for name in others}
    links = {name: _link(log, folder) for name, log in logs.items() if log.exists()}
    title = ", ".join(sweep.folder.resolve().name for sweep in results.sweeps)
    sections = run_sections(title, runs, comparison, links)
    figures = _write_page(folder, title, results, comparison, links, settings)
    write_text(
        folder / "report.md",
        markdown_report(sections, figures, _data_files(folder, results), tables),
    )
    return Report(folder, runs, comparison, groups)


def _write_page(
    folder: Path,
    title: str,
    results: SweepResults,
    comparison: Comparison,
    logs: Mapping[str, str],
    settings: ReportSettings,
) -> dict[str, str]:
    """Write ``report.html`` and ``figures/``; return captions by the paths of images."""
    content = page_content(
        title,
        comparison,
        results.results,
        results.folders,
        results.epochs,
        results.roc,
        logs=logs,
        images=settings.images,
    )
    return write_page(folder, content)


def _write_tables(folder: Path, results: SweepResults) -> None:
    rows = results.run_rows
    write_text(folder / "runs.csv", csv_text(list(rows[0]), rows))
    write_parquet_rows(folder / "runs.parquet", rows)
    write_text(folder / "per_class.csv", csv_text(CLASS_COLUMNS, class_rows(results.results)))
    write_csv_table(folder / "epochs.csv", results.epochs)
    write_csv_table(folder / "scores.csv", results.scores)
    write_parquet_table(folder / "scores.parquet", results.scores)
    write_csv_table(folder / "roc.csv", results.roc)


def _write_groups(folder: Path, results: SweepResults, keys: Sequence[str]) -> str:
    """Write ``by.csv``, or remove it; return the table for the terminal."""
    if not keys:
        (folder / "by.csv").unlink(missing_ok=True)
        return ""
    means = group_means(results, keys)
    rows = [{str(name): cell for name, cell in row.items()} for row in means.to_dict("records")]
    write_text(folder / "by.csv", csv_text(list(means.columns), rows))
    return means_text(means, keys)


def _data_files(folder: Path, results: SweepResults) -> list[str]:
    """Return the files in the sweeps' ``data/``, relative to the report's folder."""
    suffixes = (".png", ".svg", ".txt", ".md", ".csv")
    return [
        _link(path, folder)
        for sweep in results.sweeps
        for path in sorted(sweep.data.rglob("*"))
        if path.suffix in suffixes
    ]


def _link(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
