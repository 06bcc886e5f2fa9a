"""Which figures a report has, and of what; only those that show something new are drawn.

To draw takes longer than all else when little has changed, and so does to import what draws: here
nothing does that before there is something to draw.
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
from xray_hpc.report.figure_style import OTHERS, PALETTE, run_colors
from xray_hpc.report.formatting import unfinished
from xray_hpc.report.lr_unfreeze_grid import Grid, grid
from xray_hpc.report.process_pool import Pool
from xray_hpc.report.run_cache import file_version
from xray_hpc.report.run_groups import Group, groups, leading
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import compared_keys, labels

MATRICES = 6
MANY = 100  # figures of so many runs take long enough to be drawn side by side
WORTH = 4  # if there are so many of them: every process needs a second before it can draw
INDEX = ".figures.json"


@dataclass(frozen=True)
class FigureSpec:
    """A figure: its file, and what the function that draws it is given."""

    file: str
    of: Mapping[str, Any]

    def digest(self) -> str:
        """The same for what looks the same."""
        text = json.dumps([self.file, self.of, _drawer()], default=_plain)
        return hashlib.sha256(text.encode()).hexdigest()


def wanted(runs: Sequence[RunResult]) -> list[FigureSpec]:
    """The figures of all runs, each of the runs that are seen in it."""
    found = groups(runs)
    best = leading(found)
    going = [run for run in unfinished(runs) if run.epochs is not None]
    colors = run_colors([*best, *going][: len(PALETTE)])
    said = labels(runs, compared_keys(runs))
    named = {"colors": colors, "labels": {name: said[name] for name in colors}}
    thin = [dataclasses.replace(group, runs=thinned(group.runs, colors)) for group in found]
    first = {run.name for run in best[:MATRICES]}
    matrices = [run for group in found for run in group.runs if run.name in first]
    curves = thinned([*best, *going], colors)
    return [
        FigureSpec("roc_validation.png", {"groups": thin, **named}),
        FigureSpec("roc_test.png", {"groups": thin, **named}),
        FigureSpec(
            "confusion_test.png",
            {"runs": matrices, "labels": {run.name: said[run.name] for run in matrices}},
        ),
        *(
            FigureSpec(f"{what}.png", {"runs": curves, **named})
            for what in ("accuracy", "loss", "auc")
        ),
        FigureSpec("learning_rate_unfreeze.png", {"grid": grid(runs)}),
    ]


def thinned(runs: Sequence[RunResult], colors: Mapping[str, str]) -> list[RunResult]:
    """The runs with a colour, and ``OTHERS`` of the rest, in the order given.

    Which ones these are is drawn by lot of their names: a run more changes it seldom.
    """
    lots = sorted(_lot(run) for run in runs if run.name not in colors)[:OTHERS]
    return [run for run in runs if run.name in colors or (lots and _lot(run) <= lots[-1])]


def _lot(run: RunResult) -> bytes:
    return hashlib.sha256(run.name.encode()).digest()


def draw(
    folder: Path, figures: Sequence[FigureSpec], pool: Drawers, *, many: bool = False
) -> Iterator[str]:
    """Draw what changed into ``folder``; the files of all that there are, in order.

    Processes of ``pool`` begin at once, if there are any or the figures show ``many`` runs, and all
    is done when the last of the files was given. A figure that there is nothing for is removed.
    """
    digests = {figure.file: figure.digest() for figure in figures}
    known = _known(folder)
    new = [figure for figure in figures if known.get(figure.file) != digests[figure.file]]
    tasks = [Task(figure, folder / f".{secrets.token_hex(8)}.{figure.file}") for figure in new]
    if new:
        (folder / INDEX).unlink(missing_ok=True)
    begun = pool.begin(tasks, worth=WORTH if many else len(tasks) + 1, chunk=1)

    def end() -> Iterator[str]:
        for task, there in zip(tasks, begun, strict=True):
            path = folder / task.figure.file
            if there:
                os.replace(task.path, path)
            else:
                path.unlink(missing_ok=True)
        drawn = {file: file_version(folder / file) for file in digests}
        if new:
            index = {file: [digests[file], drawn[file]] for file in digests}
            write_text(folder / INDEX, json.dumps(index))
        yield from (file for file, there in drawn.items() if there)

    return end()


@dataclass(frozen=True)
class Task:
    """A figure, and where it is drawn: whoever holds the report's lock puts it in its place."""

    figure: FigureSpec
    path: Path


Drawers: TypeAlias = Pool[Task, bool]


def draw_one(task: Task) -> bool:
    """Draw a figure; whether there was anything to draw."""
    from xray_hpc.report import figure_renderer  # takes a second

    return figure_renderer.draw(task.figure.file, task.figure.of, task.path)


def drawers() -> Drawers:
    """Processes that draw; they import what they need for that when they are started."""
    return Pool(draw_one, loads="xray_hpc.report.figure_renderer")


def _known(folder: Path) -> dict[str, str]:
    """The digests of the figures that are as they were drawn."""
    try:
        index = read_json(folder / INDEX)
        return {
            file: digest
            for file, (digest, seen) in index.items()
            if seen == file_version(folder / file)
        }
    except (OSError, UserError, TypeError, ValueError):
        return {}


@functools.cache
def _drawer() -> str:
    """A digest of the code that draws."""
    report = Path(__file__).parent
    others = report.parent / "figure_files.py", report.parent / "metrics.py"
    files = [*sorted(report.glob("*.py")), *others]
    code = b"".join(file.read_bytes() for file in files)
    return hashlib.sha256(version("matplotlib").encode() + code).hexdigest()


def _plain(value: object) -> Any:
    if isinstance(value, RunResult):
        return value.shown
    if isinstance(value, Group):
        return [value.title, value.runs]
    if isinstance(value, Grid):
        return dataclasses.asdict(value)
    return repr(value)
