"""Draw the learning curve of a run that was killed ten times over that of one that was not.

python -m tests.benchmarks.interrupted_run                     a real training of some minutes
python -m tests.benchmarks.interrupted_run elsewhere.png

Nothing is drawn unless the two runs have left the same bytes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from tests.benchmarks.timing import REPOSITORY, progress, python
from xray_hpc.figure_files import save_figure
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.report.figure_style import DPI, PALETTE, report_style

FIGURE = REPOSITORY / "results" / "example" / "interrupted.png"
MODEL, EPOCHS, KILLS = "cnn", 16, 10
WORDS = (
    *("-m", f"model={MODEL}", "data=demo", "augment=larcc", "cluster=none"),
    *(f"train.epochs={EPOCHS}", "train.early_stopping=null"),
    *("train.checkpoint.steps=4", "train.checkpoint.seconds=null"),
)
# They tell when and where a run was trained.
TELLING = ("run.json", "progress.json", "log")


@dataclass(frozen=True)
class Attempt:
    """What one process has done of a training, from one step to another, counted from its start."""

    first: int
    last: int


@dataclass(frozen=True)
class Story:
    """A run that was killed in all its tries but the last, and how it compares to one that was not.

    ``steps`` are those of an epoch; ``files`` of both are the same.
    """

    alone: pd.DataFrame
    killed: pd.DataFrame
    attempts: list[Attempt]
    steps: int
    files: int

    @property
    def lost(self) -> int:
        """How many steps were done again, because they came after the last checkpoint in place."""
        return sum(a.last - b.first for a, b in itertools.pairwise(self.attempts))


def tell(folder: Path) -> Story:
    """Train both runs in ``folder``."""
    alone, killed = (new_run(folder, name) for name in ("alone", "killed"))
    progress("a run that nothing interrupts")
    (whole,) = attempts_of(alone, [])
    steps = whole.last // EPOCHS
    tenth, draw = whole.last / KILLS, random.Random(1)
    moments = [round(tenth * (number + draw.random())) for number in range(KILLS)]
    attempts = []
    for attempt in attempts_of(killed, moments):
        progress(f"one that is killed: steps {attempt.first} to {attempt.last} of {whole.last}")
        attempts.append(attempt)
    mine, theirs = contents(killed), contents(alone)
    if mine != theirs:
        names = sorted(name for name in mine | theirs if mine.get(name) != theirs.get(name))
        raise RuntimeError(f"not the same: {', '.join(names)}")
    tables = [pd.read_csv(run.accuracy(MODEL)) for run in (alone, killed)]
    return Story(*tables, attempts, steps, len(mine))


def new_run(folder: Path, name: str) -> RunPaths:
    """A run that is made and not trained yet."""
    places = (f"results={folder}", f"cache={folder / 'cache'}", f"name={name}")
    python("-m", "xray_hpc.launch", *WORDS, *places)
    sweep = SweepPaths(folder / name)
    (run,) = sweep.runs.iterdir()
    return sweep.run(run.name)


def attempts_of(run: RunPaths, moments: list[int]) -> Iterator[Attempt]:
    """Train it to its end; kill the process that trains as it has come to each of ``moments``."""
    last = 0
    for moment in (*moments, None):
        first = None
        for place in train(run, until=moment):
            first = place - 1 if first is None else first
            last = place
        yield Attempt(last if first is None else first, last)


def train(run: RunPaths, *, until: int | None) -> Iterator[int]:
    """Train it in a process of its own, killed as that comes to a step; give each that it does."""
    command = [
        sys.executable,
        "-um",
        "tests.benchmarks.interrupted_run",
        "--train",
        str(run.folder),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if said := re.match(r"epoch (\d+)/\d+ step (\d+)/(\d+)$", line):
                epoch, step, steps = map(int, said.groups())
                yield (epoch - 1) * steps + step
                if until is not None and (epoch - 1) * steps + step >= until:
                    process.kill()
    expected = 0 if until is None else -signal.SIGKILL
    if process.returncode != expected:
        raise RuntimeError(f"the training ended with {process.returncode}, not {expected}")


def train_aloud(folder: Path) -> int:
    """Train a run in this process, which says each step that it has done."""
    from xray_hpc.training.__main__ import execute_run, quiet_start

    with quiet_start():
        from xray_hpc.training import fit, progress_callbacks

    class Aloud(progress_callbacks.ProgressLine):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.every = 0.0

    fit.ProgressLine = Aloud
    return execute_run(RunPaths(folder))


def contents(run: RunPaths) -> dict[str, bytes]:
    """The bytes of each file of the run, but of those that tell when it was trained."""
    return {
        path.relative_to(run.folder).as_posix(): path.read_bytes()
        for path in run.folder.rglob("*")
        if path.is_file() and path.name not in TELLING
    }


CURVES = {
    "train": ("training", PALETTE[0], "#00324F"),
    "val": ("validation", PALETTE[1], "#6B2F00"),
}
BROAD: dict[str, Any] = {"linewidth": 7, "alpha": 0.35}
THIN: dict[str, Any] = {"linewidth": 1.1, "marker": "o", "markersize": 2.5}
DONE, LOST = "#9A9A9A", PALETTE[3]
CROSS: dict[str, Any] = {"linestyle": "", "marker": "x", "markersize": 5, "color": "black"}
OPAQUE: dict[str, Any] = {"frameon": True, "framealpha": 1, "edgecolor": "white"}


def draw(story: Story) -> Figure:
    """The accuracy of both runs over the epochs, above what each process did of the one killed."""
    with report_style():
        figure = Figure(figsize=(7, 4.4))
        curves, attempts = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
        draw_curves(curves, story)
        draw_attempts(attempts, story)
        for attempt in story.attempts[:-1]:
            for axes in (curves, attempts):
                axes.axvline(attempt.last / story.steps, color=DONE, linewidth=0.6, zorder=1)
    return figure


def draw_curves(axes: Axes, story: Story) -> None:
    """An epoch's measure stands where the epoch ends."""
    for column, (_, color, dark) in CURVES.items():
        alone, killed = (table[f"{column}_accuracy"] for table in (story.alone, story.killed))
        done = range(1, len(alone) + 1)
        axes.plot(done, alone, color=color, clip_on=False, **BROAD)
        axes.plot(done, killed, color=dark, zorder=3, clip_on=False, **THIN)
    ends = sorted(CURVES, key=lambda column: float(story.alone[f"{column}_accuracy"].iloc[-1]))
    for column, side in zip(ends, ("top", "bottom"), strict=True):  # so that they never meet
        end = (len(story.alone), story.alone[f"{column}_accuracy"].iloc[-1])
        name, _, dark = CURVES[column]
        beside = {"xytext": (9, 0), "textcoords": "offset points", "va": side}
        axes.annotate(name, end, color=dark, **beside)
    axes.set_ylabel("Accuracy")
    axes.set_title(
        f"Killed {len(story.attempts) - 1} times: the same curve, the same bytes", pad=20
    )
    words = (
        f"The {story.files} files that each run leaves are equal, byte for byte; "
        f"{story.lost} of {story.attempts[-1].last} steps were done twice."
    )
    place = {"xytext": (0, 7), "textcoords": "offset points", "fontsize": 8.5}
    axes.annotate(words, (0, 1), xycoords="axes fraction", **place)
    handles = [
        Line2D([], [], color="black", label="never interrupted", **BROAD),
        Line2D([], [], color="black", label=f"killed {len(story.attempts) - 1} times", **THIN),
    ]
    axes.legend(handles=handles, loc="lower right", handlelength=2.6, **OPAQUE)


def draw_attempts(axes: Axes, story: Story) -> None:
    """A bar a process, from the checkpoint that it began with to where it was killed."""
    ends = [attempt.first for attempt in story.attempts[1:]] + [story.attempts[-1].last]
    for row, (attempt, kept) in enumerate(zip(story.attempts, ends, strict=True), start=1):
        for first, last, color in ((attempt.first, kept, DONE), (kept, attempt.last, LOST)):
            width = (last - first) / story.steps
            axes.barh(row, width, left=first / story.steps, color=color, height=0.8, zorder=2)
    killed = story.attempts[:-1]
    places = [attempt.last / story.steps for attempt in killed]
    axes.plot(places, range(1, len(killed) + 1), zorder=3, **CROSS)
    axes.set(xlabel="Epochs done", ylabel="Process", xlim=(0, EPOCHS), xticks=range(EPOCHS + 1))
    axes.set(ylim=(len(story.attempts) + 0.7, 0.3), yticks=(1, len(story.attempts)))
    axes.grid(visible=False, axis="y")
    handles = [
        Line2D([], [], label="kill -9", **CROSS),
        Line2D([], [], color=LOST, linewidth=5, solid_capstyle="butt", label="lost, done again"),
    ]
    axes.legend(handles=handles, loc="upper right", handlelength=1.4, **OPAQUE)


def save_small(figure: Figure, path: Path) -> None:
    """Write it with so few colours as it has, in a third of the bytes."""
    save_figure(figure, path, dpi=DPI)
    with Image.open(path) as full:
        few = full.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    few.save(path, optimize=True, dpi=(DPI, DPI))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=Path, nargs="?", default=FIGURE)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train is not None:
        sys.exit(train_aloud(options.train))
    with tempfile.TemporaryDirectory(prefix="xray-hpc-interrupted-") as folder:
        story = tell(Path(folder))
    save_small(draw(story), options.figure)
    print(f"{options.figure}: {story.files} files of both runs have the same bytes;")
    print(f"killed {len(story.attempts) - 1} times; {story.lost} steps were lost and done again")


if __name__ == "__main__":
    main()
