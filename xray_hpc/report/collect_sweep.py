"""A sweep's records made into its ``report/`` folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.errors import ConfigError, StorageError, nearest
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
        UserError: ``sweep`` is no sweep folder, has no runs, or cannot be written to.
    """
    check_sweep(sweep)
    names = _run_names(sweep)
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


def _run_names(sweep: SweepPaths) -> list[str]:
    """In launch order, then those that the ledger does not know, by name."""
    found = sorted(path.name for path in _folders(sweep.runs) if not path.name.startswith("."))
    names = list(dict.fromkeys([*list(ledger.read(sweep).planned), *found]))
    if not names:
        raise ConfigError(f"{sweep.folder} has no runs yet; launch the sweep first")
    return names


def _remove_leftovers(folder: Path) -> None:
    """Remove what a collector that was killed, or could not go on, left behind."""
    for path in folder.glob(".*"):
        if is_temporary_file(path):
            path.unlink(missing_ok=True)


def _data_files(sweep: SweepPaths) -> list[str]:
    kinds = (".png", ".txt", ".md", ".csv")
    found = (path for path in sweep.data.rglob("*") if path.suffix in kinds)
    return sorted(f"../{path.relative_to(sweep.folder).as_posix()}" for path in found)


def check_sweep(sweep: SweepPaths) -> None:
    """Raise ``UserError`` unless ``sweep`` is the folder of a sweep; say what it is instead."""
    folder = sweep.folder
    if folder.is_file():
        raise ConfigError(f"{folder} is a file; name the folder of a sweep")
    if not folder.exists():
        siblings = {path.name: path for path in _folders(folder.parent)}
        hint = nearest(folder.name, siblings)
        raise ConfigError(f"{folder} does not exist{hint or '; name the folder of a sweep'}")
    if _is_sweep(folder):
        return
    if (folder / "run.json").exists() or (folder / "config.yaml").exists():
        raise ConfigError(
            f"{folder} is the folder of one run; name its sweep: {folder.parent.parent}"
        )
    if folder.name == "runs" and _is_sweep(folder.parent):
        raise ConfigError(f"{folder} holds the runs of a sweep; name the sweep: {folder.parent}")
    sweeps = sorted(path.name for path in _folders(folder) if _is_sweep(path))
    if sweeps:
        some = ", ".join(sweeps[:8]) + (", ..." if len(sweeps) > 8 else "")
        raise ConfigError(f"{folder} holds sweeps and is none itself; name one of them: {some}")
    raise ConfigError(
        f"{folder} is not the folder of a sweep: it has neither runs/ nor ledger.jsonl"
    )


def _is_sweep(folder: Path) -> bool:
    sweep = SweepPaths(folder)
    return sweep.runs.is_dir() or sweep.ledger.is_file()


def _folders(parent: Path) -> list[Path]:
    try:
        return [path for path in parent.iterdir() if path.is_dir()]
    except OSError:
        return []


def _name(sweep: SweepPaths) -> str:
    return sweep.folder.resolve().name
