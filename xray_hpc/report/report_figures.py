"""Define the figures of a report, and redraw those whose content changed.

Importing matplotlib and drawing take longer than everything else of an unchanged report. Nothing
here imports matplotlib before a figure has to be drawn.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from xray_hpc.errors import UserError
from xray_hpc.records.atomic_files import read_json, write_text
from xray_hpc.report.dataset_groups import RunGroup, group_runs, interleave_groups
from xray_hpc.report.figure_style import MAX_OTHER_RUNS, PALETTE, run_colors
from xray_hpc.report.formatting import unfinished_runs
from xray_hpc.report.lr_unfreeze_grid import Grid, lr_unfreeze_grid
from xray_hpc.report.process_pool import ProcessPool
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import compared_keys, run_labels

MAX_CONFUSION_MATRICES = 6
MANY_RUNS = 100  # figures of this many runs take long enough to be drawn in parallel
MIN_FIGURES_FOR_PROCESSES = 4  # of many runs; a process takes a second to start
INDEX = ".figures.json"


@dataclass(frozen=True)
class FigureSpec:
    """A figure: its file, and the arguments of the function that draws it."""

    file: str
    arguments: Mapping[str, Any]

    def digest(self) -> str:
        """Return a digest that is equal for figures that look the same."""
        text = json.dumps([self.file, self.arguments, _code_digest()], default=_to_json)
        return hashlib.sha256(text.encode()).hexdigest()


def figure_specs(runs: Sequence[RunResult]) -> list[FigureSpec]:
    """Return the figures of a report, each with the runs that it shows."""
    groups = group_runs(runs)
    finished = interleave_groups(groups)
    unfinished = [run for run in unfinished_runs(runs) if run.epochs is not None]
    colors = run_colors([*finished, *unfinished][: len(PALETTE)])
    labels = run_labels(runs, compared_keys(runs))
    style = {"colors": colors, "labels": {name: labels[name] for name in colors}}
    sampled = [
        dataclasses.replace(group, runs=sample_other_runs(group.runs, colors)) for group in groups
    ]
    best = {run.name for run in finished[:MAX_CONFUSION_MATRICES]}
    matrices = [run for group in groups for run in group.runs if run.name in best]
    curves = sample_other_runs([*finished, *unfinished], colors)
    matrix_labels = {run.name: labels[run.name] for run in matrices}
    return [
        FigureSpec("roc_validation.png", {"groups": sampled, **style}),
        FigureSpec("roc_test.png", {"groups": sampled, **style}),
        FigureSpec("confusion_test.png", {"runs": matrices, "labels": matrix_labels}),
        FigureSpec("accuracy.png", {"runs": curves, **style}),
        FigureSpec("loss.png", {"runs": curves, **style}),
        FigureSpec("auc.png", {"runs": curves, **style}),
        FigureSpec("learning_rate_unfreeze.png", {"grid": lr_unfreeze_grid(runs)}),
    ]


def sample_other_runs(runs: Sequence[RunResult], colors: Mapping[str, str]) -> list[RunResult]:
    """Return all runs with a color and at most ``MAX_OTHER_RUNS`` others, in the given order.

    The sample depends on hashes of the names, so that an additional run rarely changes it.
    """
    hashes = sorted(_name_hash(run) for run in runs if run.name not in colors)[:MAX_OTHER_RUNS]
    return [run for run in runs if run.name in colors or (hashes and _name_hash(run) <= hashes[-1])]


def _name_hash(run: RunResult) -> bytes:
    return hashlib.sha256(run.name.encode()).digest()


def draw_figures(
    folder: Path, figures: Sequence[FigureSpec], pool: FigurePool, *, many_runs: bool = False
) -> Iterator[str]:
    """Draw the figures that changed into ``folder``; return the files of all, without empty ones.

    Drawing starts at once, in processes of ``pool`` if it has any or if the figures show
    ``many_runs``. It is complete when the returned iterator is exhausted.
    """
    digests = {figure.file: figure.digest() for figure in figures}
    known = _current_digests(folder)
    changed = [figure for figure in figures if known.get(figure.file) != digests[figure.file]]
    tasks = [
        DrawTask(figure, folder / f".{secrets.token_hex(8)}.{figure.file}") for figure in changed
    ]
    if changed:
        (folder / INDEX).unlink(missing_ok=True)
    threshold = MIN_FIGURES_FOR_PROCESSES if many_runs else len(tasks) + 1
    results = pool.map(tasks, min_calls=threshold, chunk_size=1)

    def finish() -> Iterator[str]:
        failed = set()
        for task, drawn in zip(tasks, results, strict=True):
            path = folder / task.figure.file
            if drawn:
                os.replace(task.path, path)
            else:
                path.unlink(missing_ok=True)
            if drawn is None:  # it failed; the next report tries again
                failed.add(task.figure.file)
        versions = {file: file_version(folder / file) for file in digests}
        if changed:
            index = {file: [digests[file], versions[file]] for file in digests.keys() - failed}
            write_text(folder / INDEX, json.dumps(index))
        yield from (file for file, found in versions.items() if found)

    return finish()


@dataclass(frozen=True)
class DrawTask:
    """A figure and its temporary path; the process that holds the report's lock renames it."""

    figure: FigureSpec
    path: Path


FigurePool: TypeAlias = ProcessPool[DrawTask, bool | None]


def draw_figure(task: DrawTask) -> bool | None:
    """Draw a figure; return whether there was anything to draw, ``None`` if it failed."""
    from xray_hpc.report import figure_renderer  # takes a second to import

    return figure_renderer.render_figure(task.figure.file, task.figure.arguments, task.path)


def figure_pool() -> FigurePool:
    return ProcessPool(draw_figure, preload="xray_hpc.report.figure_renderer")


def _current_digests(folder: Path) -> dict[str, str]:
    """Return the digests of the figures that are unchanged since they were drawn."""
    try:
        index = read_json(folder / INDEX).items()
        return {file: key for file, (key, drawn) in index if drawn == file_version(folder / file)}
    except (OSError, UserError, TypeError, ValueError):
        return {}


def file_version(path: Path) -> list[int] | None:
    """Return an identifier of the file now at ``path``, or ``None`` if there is no file."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


@functools.cache
def _code_digest() -> str:
    """Return a digest of the code that draws."""
    report = Path(__file__).parent
    others = report.parent / "figure_files.py", report.parent / "metrics.py"
    files = [*sorted(report.glob("*.py")), *others]
    code = b"".join(file.read_bytes() for file in files)
    return hashlib.sha256(version("matplotlib").encode() + code).hexdigest()


def _to_json(value: object) -> Any:
    if isinstance(value, RunResult):
        return value.figure_digest
    if isinstance(value, RunGroup):
        return [value.title, value.runs]
    if isinstance(value, Grid):
        return dataclasses.asdict(value)
    return repr(value)
