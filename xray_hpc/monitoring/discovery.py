"""Sweeps and runs by the names that a user types."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from xray_hpc.errors import ConfigError, nearest
from xray_hpc.records import ledger
from xray_hpc.records.ledger import Ledger
from xray_hpc.records.paths import RunPaths, SweepPaths

SHOWN = 8


def find_sweeps(results: Path) -> list[SweepPaths]:
    """The sweeps below ``results``, by name."""
    folders = sorted(_folders(results), key=lambda folder: folder.name)
    return [SweepPaths(folder) for folder in folders if _is_sweep(folder)]


def run_names(sweep: SweepPaths, told: Ledger | None = None) -> list[str]:
    """The runs of a sweep in launch order, then those that the ledger does not know, by name."""
    told = told or ledger.read(sweep)
    found = sorted(folder.name for folder in _folders(sweep.runs))
    return list(dict.fromkeys([*told.planned, *found]))


def find_sweep(text: str, results: Path) -> SweepPaths:
    """The sweep that ``text`` names: its folder, or its name below ``results``.

    Raises:
        UserError: there is none.
    """
    for folder in (Path(text), results / text):
        if _is_sweep(folder):
            return SweepPaths(folder.resolve() if folder.name in ("", "..") else folder)
    known = [sweep.name for sweep in find_sweeps(results)]
    if below := [sweep.name for sweep in find_sweeps(Path(text))]:
        raise ConfigError(
            f"{text} holds sweeps and is none itself; name one of them: {_some(below)}"
        )
    if not known:
        raise ConfigError(f"there is no sweep '{text}', nor any other in {results} (see --results)")
    hint = nearest(Path(text).name, known) or f" (there are: {_some(known)})"
    raise ConfigError(f"there is no sweep '{text}' in {results}{hint}")


def find_run(text: str, results: Path) -> RunPaths:
    """The run that ``text`` names: its folder, or (the start of) its name, or SWEEP/RUN.

    Raises:
        UserError: there is none, or there are several.
    """
    folder = Path(text)
    if (folder / "run.json").is_file() or (folder / "config.yaml").is_file():
        return RunPaths(folder.resolve())
    where, _, start = text.rpartition("/")
    among = [find_sweep(where, results)] if where else find_sweeps(results)
    runs = {f"{sweep.name}/{name}": sweep.run(name) for sweep in among for name in run_names(sweep)}
    found = {key: run for key, run in runs.items() if run.name.startswith(start)}
    if exact := {key: run for key, run in found.items() if run.name == start}:
        found = exact
    if len(found) > 1:
        raise ConfigError(
            f"'{text}' may be one of {len(found)} runs: {_some(found)}; give more of it"
        )
    if not found:
        place = among[0].folder if where else results
        hint = nearest(start, [run.name for run in runs.values()])
        raise ConfigError(f"there is no run '{start}' in {place}{hint}")
    return next(iter(found.values()))


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _is_sweep(folder: Path) -> bool:
    sweep = SweepPaths(folder)
    return sweep.runs.is_dir() or sweep.ledger.is_file()


def _folders(parent: Path) -> list[Path]:
    try:
        found = [path for path in parent.iterdir() if path.is_dir()]
    except OSError:
        return []
    return [path for path in found if not path.name.startswith(".")]
