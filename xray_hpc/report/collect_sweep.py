"""Collect the records of a sweep into its ``report/`` folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.config.report_settings import ReportSettings
from xray_hpc.errors import ConfigError, StorageError
from xray_hpc.monitoring.discovery import run_names
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import remove_temporary_files, storage_errors, write_text
from xray_hpc.records.file_lock import file_lock
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.saved_report_settings import read_report_settings
from xray_hpc.report.comparison_table import DEFAULT_WIDTH, comparison_table
from xray_hpc.report.formatting import unfinished_runs
from xray_hpc.report.incremental_merge import RunSource, merge_runs
from xray_hpc.report.markdown_report import markdown_report, run_sections
from xray_hpc.report.merged_tables import CLASS_COLUMNS, class_rows, csv_text, runs_rows
from xray_hpc.report.report_figures import MANY_RUNS, draw_figures, figure_pool, figure_specs
from xray_hpc.report.run_result import RunResult
from xray_hpc.shared_folder import make_subfolder
from xray_hpc.system_errors import advice


@dataclass(frozen=True)
class Report:
    """A collected report: the runs in launch order, without their scores, and the figures."""

    sweep: SweepPaths
    runs: Sequence[RunResult]
    figures: Sequence[Path]

    @property
    def paths(self) -> list[Path]:
        """The files of most interest: ``report.md``, ``runs.csv`` and the figures."""
        folder = self.sweep.report
        return [folder / "report.md", folder / "runs.csv", *self.figures]

    def table(self, width: int = DEFAULT_WIDTH) -> str:
        """Return the comparison for a terminal with ``width`` columns."""
        return comparison_table(self.runs, width)


def collect_sweep(sweep: SweepPaths, settings: ReportSettings | None = None) -> Report:
    """Merge the records of ``sweep`` into ``results/<sweep>/report/``.

    Each file is replaced atomically, and files that no longer apply are removed. Runs without a
    result are listed with the reason. Equal records give equal bytes. A concurrent collector of
    the same sweep waits for this one.

    Args:
        settings: what the report chooses and shows; ``None``: as ``sweep.yaml`` says.

    Raises:
        UserError: ``sweep`` has no runs or is not writable, or ``sweep.yaml`` is damaged.
    """
    with storage_errors(sweep.folder):
        names = run_names(sweep)
    if not names:
        raise ConfigError(f"{sweep.folder} has no runs yet; launch the sweep first")
    settings = settings or read_report_settings(sweep)
    try:
        make_subfolder(sweep.report)
        with file_lock(sweep.report / ".lock", message="waiting for another collector"):
            remove_temporary_files(sweep.report)
            try:
                return _collect(sweep, names)
            finally:
                remove_temporary_files(sweep.report)
    except OSError as error:
        where = error.filename or sweep.report
        problem = f"cannot write the report: {where}: {error.strerror}"
        raise StorageError(f"{problem}; {advice(error)}, and collect again") from error


def _collect(sweep: SweepPaths, names: Sequence[str]) -> Report:
    folder = sweep.report
    launches = ledger.read(sweep)
    sources = [
        RunSource(sweep.run(name), launches.planned.get(name, ()), launches.cancelled.get(name))
        for name in names
    ]
    many = len(names) >= MANY_RUNS
    with figure_pool() as pool:
        runs = merge_runs(folder, sources, on_new_run=pool.start if many else lambda: None)
        drawing = draw_figures(folder, figure_specs(runs), pool, many_runs=many)
        rows = runs_rows(runs)
        write_text(folder / "runs.csv", csv_text(list(rows[0]), rows))
        write_text(folder / "per_class.csv", csv_text(CLASS_COLUMNS, class_rows(runs)))
        others = (run.name for run in unfinished_runs(runs))
        logs = {name: f"../runs/{name}/log" for name in others if sweep.run(name).log.exists()}
        sections = run_sections(sweep.folder.resolve().name, runs, logs)
        figures = list(drawing)
    write_text(folder / "report.md", markdown_report(sections, figures, _data_files(sweep)))
    return Report(sweep, runs, [folder / name for name in figures])


def _data_files(sweep: SweepPaths) -> list[str]:
    """Return the files in the sweep's ``data/``, relative to the report's folder."""
    suffixes = (".png", ".txt", ".md", ".csv")
    paths = (path for path in sweep.data.rglob("*") if path.suffix in suffixes)
    return sorted(f"../{path.relative_to(sweep.folder).as_posix()}" for path in paths)
