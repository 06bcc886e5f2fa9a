"""A sweep's records made into its ``report/`` folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.errors import ConfigError, StorageError
from xray_hpc.monitoring.discovery import run_names
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import file_lock, is_temporary_file, write_text
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report import markdown_report
from xray_hpc.report.formatting import unfinished
from xray_hpc.report.incremental_merge import RunSource, merge
from xray_hpc.report.merged_tables import CLASS_COLUMNS, class_rows, runs_rows, table_text
from xray_hpc.report.report_figures import MANY, draw, drawers, wanted
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.terminal_table import WIDTH, comparison


@dataclass(frozen=True)
class Report:
    """What :func:`collect` found and wrote. ``runs`` are in launch order, without their scores."""

    sweep: SweepPaths
    runs: Sequence[RunResult]
    figures: Sequence[Path]

    @property
    def paths(self) -> list[Path]:
        """What a reader opens first: ``report.md``, ``runs.csv``, the figures."""
        folder = self.sweep.report
        return [folder / "report.md", folder / "runs.csv", *self.figures]

    def table(self, width: int = WIDTH) -> str:
        """The comparison for a terminal of ``width`` columns."""
        return comparison(self.runs, width)


def collect(sweep: SweepPaths) -> Report:
    """Merge the records of ``sweep`` into ``results/<sweep>/report/``.

    Every file is replaced in one step, and one that does not apply any more is removed. Runs
    without a result are listed with the reason. The same records give the same bytes. A second
    collector of the same sweep waits for the first.

    Raises:
        UserError: ``sweep`` has no runs, or cannot be written to.
    """
    names = run_names(sweep)
    if not names:
        raise ConfigError(f"{sweep.folder} has no runs yet; launch the sweep first")
    try:
        with file_lock(sweep.report / ".lock", message="waiting for another collector to end"):
            _remove_leftovers(sweep.report)
            try:
                return _collect(sweep, names)
            finally:
                _remove_leftovers(sweep.report)
    except OSError as error:
        where = error.filename or sweep.report
        raise StorageError(f"cannot write the report: {where}: {error.strerror}") from error


def _collect(sweep: SweepPaths, names: Sequence[str]) -> Report:
    folder = sweep.report
    told = ledger.read(sweep)
    asked = [RunSource(sweep.run(n), told.planned.get(n, ()), told.cancelled.get(n)) for n in names]
    many = len(names) >= MANY
    with drawers() as pool:
        runs = merge(folder, asked, when_new=pool.start if many else lambda: None)
        drawing = draw(folder, wanted(runs), pool, many=many)
        rows = runs_rows(runs)
        write_text(folder / "runs.csv", table_text(list(rows[0]), rows))
        write_text(folder / "per_class.csv", table_text(CLASS_COLUMNS, class_rows(runs)))
        others = (run.name for run in unfinished(runs))
        logs = {name: f"../runs/{name}/log" for name in others if sweep.run(name).log.exists()}
        sections = markdown_report.sections(_name(sweep), runs, logs)
        drawn = list(drawing)
    text = markdown_report.report(sections, drawn, _data_files(sweep))
    write_text(folder / "report.md", text)
    return Report(sweep, runs, [folder / name for name in drawn])


def _remove_leftovers(folder: Path) -> None:
    """Remove what a collector that was killed, or could not go on, left behind."""
    for path in folder.glob(".*"):
        if is_temporary_file(path):
            path.unlink(missing_ok=True)


def _data_files(sweep: SweepPaths) -> list[str]:
    kinds = (".png", ".txt", ".md", ".csv")
    found = (path for path in sweep.data.rglob("*") if path.suffix in kinds)
    return sorted(f"../{path.relative_to(sweep.folder).as_posix()}" for path in found)


def _name(sweep: SweepPaths) -> str:
    return sweep.folder.resolve().name
