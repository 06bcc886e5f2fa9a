"""Draw the learning curves of a run that was killed ten times and of an uninterrupted run.

python -m tests.benchmarks.interrupted_run                     trains for some minutes
python -m tests.benchmarks.interrupted_run elsewhere.png

The figure is drawn only if both runs have written the same bytes.
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

from tests.benchmarks.figure_style import DPI, PALETTE, report_style
from tests.benchmarks.timing import REPOSITORY, log_progress, run_python
from tests.run_files import differing_files, file_contents
from xray_hpc.figure_files import save_figure
from xray_hpc.records.paths import RunPaths, SweepPaths

FIGURE = REPOSITORY / "results" / "example" / "interrupted.png"
MODEL, EPOCHS, KILLS = "cnn", 16, 10
ARGUMENTS = (
    *("-m", f"model={MODEL}", "data=demo", "augment=larcc", "cluster=none"),
    *(f"train.epochs={EPOCHS}", "train.early_stopping=null"),
    *("train.checkpoint.steps=4", "train.checkpoint.seconds=null"),
)


@dataclass(frozen=True)
class AttemptSteps:
    """The first and last step of a process, counted from the start of the training."""

    first: int
    last: int


@dataclass(frozen=True)
class KilledRunComparison:
    """A run whose attempts but the last were killed, and an uninterrupted run.

    Attributes:
        alone: accuracy per epoch of the uninterrupted run.
        killed: accuracy per epoch of the killed run.
        attempts: the attempts of the killed run.
        steps: number of steps per epoch.
        files: number of files that are equal in both runs.
    """

    alone: pd.DataFrame
    killed: pd.DataFrame
    attempts: list[AttemptSteps]
    steps: int
    files: int

    @property
    def lost(self) -> int:
        """The number of repeated steps, which followed the last checkpoint before a kill."""
        return sum(a.last - b.first for a, b in itertools.pairwise(self.attempts))


def compare_runs(folder: Path) -> KilledRunComparison:
    """Train both runs in ``folder``, and compare their files."""
    alone, killed = (new_run(folder, name) for name in ("alone", "killed"))
    log_progress("an uninterrupted run")
    (whole,) = attempts_of(alone, [])
    steps = whole.last // EPOCHS
    tenth, draw = whole.last / KILLS, random.Random(1)
    kill_steps = [round(tenth * (number + draw.random())) for number in range(KILLS)]
    attempts = []
    for attempt in attempts_of(killed, kill_steps):
        log_progress(f"a killed run: steps {attempt.first} to {attempt.last} of {whole.last}")
        attempts.append(attempt)
    if differing := differing_files(killed, alone):
        raise RuntimeError(f"files differ: {', '.join(differing)}")
    tables = [pd.read_csv(run.accuracy(MODEL)) for run in (alone, killed)]
    return KilledRunComparison(*tables, attempts, steps, len(file_contents(killed)))


def new_run(folder: Path, name: str) -> RunPaths:
    """Create a run without training it."""
    places = (f"results={folder}", f"cache={folder / 'cache'}", f"name={name}")
    run_python("-m", "xray_hpc.launch", *ARGUMENTS, *places)
    sweep = SweepPaths(folder / name)
    (run,) = sweep.runs.iterdir()
    return sweep.run(run.name)


def attempts_of(run: RunPaths, kill_steps: list[int]) -> Iterator[AttemptSteps]:
    """Train to the end, killing the process at each of ``kill_steps``; yield the attempts."""
    last = 0
    for kill_step in (*kill_steps, None):
        first = None
        for step in train(run, until=kill_step):
            first = step - 1 if first is None else first
            last = step
        yield AttemptSteps(last if first is None else first, last)


def train(run: RunPaths, *, until: int | None) -> Iterator[int]:
    """Train in a process that is killed at step ``until``; yield each step."""
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
            if match := re.match(r"epoch (\d+)/\d+ step (\d+)/(\d+)$", line):
                epoch, step, steps = map(int, match.groups())
                yield (epoch - 1) * steps + step
                if until is not None and (epoch - 1) * steps + step >= until:
                    process.kill()
    expected = 0 if until is None else -signal.SIGKILL
    if process.returncode != expected:
        raise RuntimeError(f"the training ended with {process.returncode}, not {expected}")


def train_verbosely(folder: Path) -> int:
    """Train a run in this process, and print every step."""
    from xray_hpc.isolated_keras import isolated_keras
    from xray_hpc.training.__main__ import execute_run

    with isolated_keras():
        from xray_hpc.training import fit, progress_callbacks

    class StepLine(progress_callbacks.ProgressLine):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            self.interval = 0.0

    fit.ProgressLine = StepLine
    return execute_run(RunPaths(folder))


CURVES = {
    "train": ("training", PALETTE[0], "#00324F"),
    "val": ("validation", PALETTE[1], "#6B2F00"),
}
BROAD: dict[str, Any] = {"linewidth": 7, "alpha": 0.35}
THIN: dict[str, Any] = {"linewidth": 1.1, "marker": "o", "markersize": 2.5}
DONE, LOST = "#9A9A9A", PALETTE[3]
CROSS: dict[str, Any] = {"linestyle": "", "marker": "x", "markersize": 5, "color": "black"}
OPAQUE: dict[str, Any] = {"frameon": True, "framealpha": 1, "edgecolor": "white"}


def draw(comparison: KilledRunComparison) -> Figure:
    """Draw the accuracy of both runs, and below it the steps of each process."""
    with report_style():
        figure = Figure(figsize=(7, 4.4))
        curves, attempts = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
        draw_curves(curves, comparison)
        draw_attempts(attempts, comparison)
        for attempt in comparison.attempts[:-1]:
            for axes in (curves, attempts):
                axes.axvline(attempt.last / comparison.steps, color=DONE, linewidth=0.6, zorder=1)
    return figure


def draw_curves(axes: Axes, comparison: KilledRunComparison) -> None:
    """Draw the accuracy at the end of each epoch."""
    for column, (_, color, dark) in CURVES.items():
        alone, killed = (
            table[f"{column}_accuracy"] for table in (comparison.alone, comparison.killed)
        )
        done = range(1, len(alone) + 1)
        axes.plot(done, alone, color=color, clip_on=False, **BROAD)
        axes.plot(done, killed, color=dark, zorder=3, clip_on=False, **THIN)
    ends = sorted(CURVES, key=lambda column: float(comparison.alone[f"{column}_accuracy"].iloc[-1]))
    for column, side in zip(
        ends, ("top", "bottom"), strict=True
    ):  # so that the labels never overlap
        end = (len(comparison.alone), comparison.alone[f"{column}_accuracy"].iloc[-1])
        name, _, dark = CURVES[column]
        beside = {"xytext": (9, 0), "textcoords": "offset points", "va": side}
        axes.annotate(name, end, color=dark, **beside)
    axes.set_ylabel("Accuracy")
    axes.set_title(
        f"Killed {len(comparison.attempts) - 1} times: the same curve, the same bytes", pad=20
    )
    note = (
        f"The {comparison.files} files that each run leaves are equal, byte for byte; "
        f"{comparison.lost} of {comparison.attempts[-1].last} steps were repeated."
    )
    place = {"xytext": (0, 7), "textcoords": "offset points", "fontsize": 8.5}
    axes.annotate(note, (0, 1), xycoords="axes fraction", **place)
    handles = [
        Line2D([], [], color="black", label="never interrupted", **BROAD),
        Line2D([], [], color="black", label=f"killed {len(comparison.attempts) - 1} times", **THIN),
    ]
    axes.legend(handles=handles, loc="lower right", handlelength=2.6, **OPAQUE)


def draw_attempts(axes: Axes, comparison: KilledRunComparison) -> None:
    """Draw a bar per process, from its initial checkpoint to the step of the kill."""
    ends = [attempt.first for attempt in comparison.attempts[1:]] + [comparison.attempts[-1].last]
    for row, (attempt, saved) in enumerate(zip(comparison.attempts, ends, strict=True), start=1):
        for first, last, color in ((attempt.first, saved, DONE), (saved, attempt.last, LOST)):
            width = (last - first) / comparison.steps
            axes.barh(row, width, left=first / comparison.steps, color=color, height=0.8, zorder=2)
    killed = comparison.attempts[:-1]
    places = [attempt.last / comparison.steps for attempt in killed]
    axes.plot(places, range(1, len(killed) + 1), zorder=3, **CROSS)
    axes.set(xlabel="Epochs done", ylabel="Process", xlim=(0, EPOCHS), xticks=range(EPOCHS + 1))
    axes.set(ylim=(len(comparison.attempts) + 0.7, 0.3), yticks=(1, len(comparison.attempts)))
    axes.grid(visible=False, axis="y")
    handles = [
        Line2D([], [], label="kill -9", **CROSS),
        Line2D([], [], color=LOST, linewidth=5, solid_capstyle="butt", label="lost and repeated"),
    ]
    axes.legend(handles=handles, loc="upper right", handlelength=1.4, **OPAQUE)


def save_small(figure: Figure, path: Path) -> None:
    """Save with a reduced palette, which takes a third of the bytes."""
    save_figure(figure, path, dpi=DPI)
    with Image.open(path) as full:
        few = full.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    few.save(path, optimize=True, dpi=(DPI, DPI))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=Path, nargs="?", default=FIGURE)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train is not None:
        sys.exit(train_verbosely(options.train))
    with tempfile.TemporaryDirectory(prefix="xray-hpc-interrupted-") as folder:
        comparison = compare_runs(Path(folder))
    save_small(draw(comparison), options.figure)
    print(f"{options.figure}: {comparison.files} files of both runs have the same bytes;")
    kills = len(comparison.attempts) - 1
    print(f"killed {kills} times; {comparison.lost} steps were lost and repeated")


if __name__ == "__main__":
    main()
