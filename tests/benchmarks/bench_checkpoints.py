"""What checkpoints cost a training, and how long it takes to end at a signal and to go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any

from tests.benchmarks.markdown_table import SPREAD, Table, number, spread
from tests.benchmarks.timing import REPOSITORY, progress, python
from xray_hpc.errors import UserError

BATCH = 8  # of full-size images, so that there are several steps in a few seconds
WAYS = {"never": "never", "default": "as by default", "always": "as soon as the last is written"}
STEPS_BEFORE = 2  # that are done when the signal comes; the first of them traces the graph

Found = dict[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Case:
    """A training: its name in the tables, and the words of its launch.

    ``seconds`` is how long it is trained each time.
    """

    name: str
    words: Sequence[str]
    seconds: float


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """What a checkpoint takes, what a training pays for them, and how one ends at a signal."""
    full, what = _full_size()
    small = (*full, f"train.batch_size={BATCH}")
    cases = (
        *(Case(f"{model}, demo", (f"model={model}",), 16.0) for model in ("cnn", "tl", "ft")),
        Case("cnn, 224 px", ("model=cnn", *small), 8.0),
        Case("tl, ResNet152V2", ("model=tl", *small), 8.0),
        Case("ft, ResNet152V2", ("model=ft", *small), 8.0),
        Case("ft, MobileNetV2", ("model=ft", "model.backbone=mobilenet_v2", *small), 8.0),
    )
    found = {}
    for case in cases:
        progress(f"checkpoints of {case.name}")
        run, file = _run(folder, case.words), folder / "stepping.json"
        words = (run, str(case.seconds), str(repeat), file)
        python("-m", "tests.benchmarks.checkpoint_overhead", *map(str, words))
        found[case.name] = json.loads(file.read_text())
    yield _parts(found, what)
    yield _costs(found)
    yield _end(_run(folder, ("model=ft", *full)), what)


def _full_size() -> tuple[tuple[str, ...], str]:
    """The words for full-size images, the real ones where there are any; what they are."""
    named = os.environ.get("XRAY_HPC_DATA")
    words = ("experiment=larcc", "model.weights=none")
    if named is None:
        return (*words, "data=demo", "scale=full"), "drawn X-rays"
    real = Path(named).expanduser() / "chest_xray"
    if not real.is_dir():
        raise UserError(f"XRAY_HPC_DATA is {named!r}, which holds no folder 'chest_xray'")
    return (*words, "data=folder", f"data.root={real}"), "the real set"


def _run(folder: Path, words: Sequence[str]) -> Path:
    """The folder of a run that is made and not started."""
    results = folder / "checkpoints"
    name = f"sweep-{len(list(results.glob('sweep-*')))}"
    place = (f"results={results}", f"name={name}", "cluster=none")
    python("-m", "xray_hpc.launch", *words, *place)
    (run,) = (results / name / "runs").iterdir()
    return run


def _parts(found: Found, what: str) -> Table:
    table = Table(
        "A checkpoint",
        "By itself, between two steps, the best weights so far included. Training waits while its "
        "state is copied; it is written (and synced) beside the next steps. The share is the "
        "median copy's of the time between two checkpoints at the default. To go on, a state is "
        "read and put back, and the first batch is made: of the epoch's beginning, and of its "
        f"middle. At 224 px: {what}, RGB, random weights (they are as large as ImageNet's).",
        (
            *("training", "MB", f"copy, ms: {SPREAD}", f"write, ms: {SPREAD}", "every s", "share"),
            *("read, ms", "put back, ms", "first batch, ms", "middle batch, ms"),
        ),
    )
    for name, numbers in found.items():
        parts, every = numbers["parts"], numbers["usual"]
        going_on = ("read", "put back", "first batch", "middle batch")
        table.rows.append(
            (
                name,
                number(parts["bytes"][0] / 1e6),
                *(spread(1000 * wall for wall in parts[part]) for part in ("copy", "write")),
                f"{every:g}",
                f"{median(parts['copy']) / every:.2%}",
                *(number(1000 * median(parts[part])) for part in going_on),
            )
        )
    return table


def _costs(found: Found) -> Table:
    table = Table(
        "Training with checkpoints",
        "Trained for some seconds with checkpoints and without, in turn, in one process; CPU "
        "seconds are of all threads, the writing one's too. Batches of 32, at full size of "
        f"{BATCH}. `more` compares the medians of the CPU seconds; `waited` is the time that "
        "training stood still for checkpoints. The last column is what the CPU seconds more would "
        "be at the default interval, from what each checkpoint took here.",
        (
            *("training", "a checkpoint", "of them", "steps", f"wall ms a step: {SPREAD}"),
            *(f"CPU-ms a step: {SPREAD}", "more", "waited", "more, at the default"),
        ),
    )
    for name, numbers in found.items():
        spent = numbers["spent"]
        bare = median(_a_step(spent["never"], "cpu"))
        for way in (way for way in WAYS if way in spent):
            taken = spent[way]
            more = median(_a_step(taken, "cpu")) / bare - 1
            steps, written, wall, waited = (
                sum(one[key] for one in taken) for key in ("steps", "written", "wall", "waited")
            )
            cells = [name, WAYS[way], f"{written}", f"{steps}"]
            cells += [spread(1000 * ms for ms in _a_step(taken, key)) for key in ("wall", "cpu")]
            compared = [f"{more:+.1%}", f"{waited / wall:.2%}"] if written else ["", ""]
            # Twice as long between two of them is half of what they take.
            usual = more * wall / written / numbers["usual"] if way == "always" else None
            cells += [*compared, "" if usual is None else f"{usual:+.2%}"]
            table.rows.append(cells)
    return table


def _a_step(taken: Sequence[Mapping[str, float]], key: str) -> list[float]:
    return [one[key] / one["steps"] for one in taken]


def _end(run: Path, what: str) -> Table:
    """A training that is told to end twice: one that begins anew, and one that goes on."""
    table = Table(
        "The end at a signal",
        f"`ft` with ResNet152V2 at 224 px, batches of 32 of {what}, on the CPU: SIGTERM comes as a "
        "step begins, the worst moment. Seconds from then to the end of the process, and what they "
        "were spent on; beside them how long the process took, from its start, to its first step "
        "with all that comes before it, the tracing of the graph included.",
        ("training", "to its first step", "step in progress", "copy", "write", "end", "in all"),
    )
    for name in ("from the beginning", "going on"):
        progress(f"the end of a training at a signal: {name}")
        table.rows.append((name, *map(number, _told(run))))
    return table


def _told(run: Path) -> tuple[float, ...]:
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.traced_training", run],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = _time_of("look-begins", process.stdout)
        for _ in range(STEPS_BEFORE):
            _time_of("look-ends", process.stdout)
        sent = time.monotonic()
        process.terminate()
        whats = ("copy-begins", "copy-ends", "write-begins", "write-ends")
        times = [sent, *(_time_of(what, process.stdout) for what in whats)]
        process.wait()
        ended = time.monotonic()
    if process.returncode != 128 + signal.SIGTERM:
        raise RuntimeError(f"{run}: the training ended with {process.returncode}")
    _, copying, copied, writing, written = times
    return (
        first - began,
        copying - sent,
        copied - copying,
        written - writing,
        ended - written,
        ended - sent,
    )


def _time_of(what: str, lines: IO[str]) -> float:
    """When the process says that it was; what it says before is passed over."""
    for line in lines:
        if line.startswith(f"{what} "):
            return float(line.split()[1])
    raise RuntimeError(f"the training ended without {what}")
