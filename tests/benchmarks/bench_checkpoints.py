"""Measure the cost of checkpoints, and of stopping at a signal and resuming."""

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
from tests.benchmarks.timing import REPOSITORY, log_progress, run_python
from xray_hpc.errors import UserError

BATCH = 8  # for full-size images, so that a few seconds have several steps
INTERVALS = {"never": "never", "default": "default", "always": "as soon as the last is written"}
STEPS_BEFORE = 2  # before the signal; the first one traces the graph

Results = dict[str, Mapping[str, Any]]


@dataclass(frozen=True)
class CheckpointCase:
    """A training: its name in the tables, its overrides, and how long it is trained."""

    name: str
    overrides: Sequence[str]
    seconds: float


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield tables on a checkpoint, a training with checkpoints, and stopping at a signal."""
    full, data = _full_size()
    small = (*full, f"train.batch_size={BATCH}")
    cases = (
        *(
            CheckpointCase(f"{model}, demo", (f"model={model}",), 16.0)
            for model in ("cnn", "tl", "ft")
        ),
        CheckpointCase("cnn, 224 px", ("model=cnn", *small), 8.0),
        CheckpointCase("tl, ResNet152V2", ("model=tl", *small), 8.0),
        CheckpointCase("ft, ResNet152V2", ("model=ft", *small), 8.0),
        CheckpointCase("ft, MobileNetV2", ("model=ft", "model.backbone=mobilenet_v2", *small), 8.0),
    )
    results = {}
    for case in cases:
        log_progress(f"checkpoints of {case.name}")
        run, file = _run(folder, case.overrides), folder / "overhead.json"
        arguments = (run, str(case.seconds), str(repeat), file)
        run_python("-m", "tests.benchmarks.checkpoint_overhead", *map(str, arguments))
        results[case.name] = json.loads(file.read_text())
    yield _checkpoint_table(results, data)
    yield _training_table(results)
    yield _signal_table(_run(folder, ("model=ft", *full)), data)


def _full_size() -> tuple[tuple[str, ...], str]:
    """Return overrides for full-size images, real ones if available, and a description."""
    named = os.environ.get("XRAY_HPC_DATA")
    overrides = ("experiment=larcc", "model.weights=none")
    if named is None:
        return (*overrides, "data=demo", "scale=full"), "synthetic X-rays"
    real = Path(named).expanduser() / "chest_xray"
    if not real.is_dir():
        raise UserError(f"XRAY_HPC_DATA is {named!r}, which holds no folder 'chest_xray'")
    return (*overrides, "data=folder", f"data.root={real}"), "the real set"


def _run(folder: Path, overrides: Sequence[str]) -> Path:
    """Create a run without starting it, and return its folder."""
    results = folder / "checkpoints"
    name = f"sweep-{len(list(results.glob('sweep-*')))}"
    place = (f"results={results}", f"name={name}", "cluster=none")
    run_python("-m", "xray_hpc.launch", *overrides, *place)
    (run,) = (results / name / "runs").iterdir()
    return run


def _checkpoint_table(results: Results, data: str) -> Table:
    table = Table(
        "A checkpoint",
        "A single checkpoint between two steps, including the best weights so far. Training waits "
        "while the state is copied; it is written (and synced) during the next steps. `share` is "
        "the median copy time relative to the default interval. To resume, a checkpoint is read "
        "and restored, and the first batch is loaded: at the start and in the middle of an epoch. "
        f"At 224 px: {data}, RGB, random weights (as large as those of ImageNet).",
        (
            *(
                "training",
                "MB",
                f"copy, ms: {SPREAD}",
                f"write, ms: {SPREAD}",
                "interval, s",
                "share",
            ),
            *("read, ms", "restore, ms", "first batch, ms", "middle batch, ms"),
        ),
    )
    for name, numbers in results.items():
        parts, interval = numbers["parts"], numbers["interval"]
        resume = ("read", "restore", "first batch", "middle batch")
        table.rows.append(
            (
                name,
                number(parts["bytes"][0] / 1e6),
                *(spread(1000 * wall for wall in parts[part]) for part in ("copy", "write")),
                f"{interval:g}",
                f"{median(parts['copy']) / interval:.2%}",
                *(number(1000 * median(parts[part])) for part in resume),
            )
        )
    return table


def _training_table(results: Results) -> Table:
    table = Table(
        "Training with checkpoints",
        "Trained for some seconds with and without checkpoints, in turn, in one process; CPU "
        "seconds include all threads, also the one that writes. Batches of 32, of "
        f"{BATCH} at full size. `more` is the increase of the median CPU seconds; `waited` is the "
        "share of time that training waited for checkpoints. The last column is the increase at "
        "the default interval, computed from the cost of each checkpoint.",
        (
            *("training", "checkpoint", "count", "steps", f"wall ms per step: {SPREAD}"),
            *(f"CPU-ms per step: {SPREAD}", "more", "waited", "more, at the default"),
        ),
    )
    for name, numbers in results.items():
        samples = numbers["samples"]
        baseline = median(_per_step(samples["never"], "cpu"))
        for name_of_interval in (key for key in INTERVALS if key in samples):
            taken = samples[name_of_interval]
            more = median(_per_step(taken, "cpu")) / baseline - 1
            steps, written, wall, waited = (
                sum(one[key] for one in taken) for key in ("steps", "written", "wall", "waited")
            )
            cells = [name, INTERVALS[name_of_interval], f"{written}", f"{steps}"]
            cells += [spread(1000 * ms for ms in _per_step(taken, key)) for key in ("wall", "cpu")]
            compared = [f"{more:+.1%}", f"{waited / wall:.2%}"] if written else ["", ""]
            # The cost is inversely proportional to the interval.
            always = name_of_interval == "always"
            default = more * wall / written / numbers["interval"] if always else None
            cells += [*compared, "" if default is None else f"{default:+.2%}"]
            table.rows.append(cells)
    return table


def _per_step(taken: Sequence[Mapping[str, float]], key: str) -> list[float]:
    return [one[key] / one["steps"] for one in taken]


def _signal_table(run: Path, data: str) -> Table:
    """Measure stopping at SIGTERM: of a training from the start, and of one that was resumed."""
    table = Table(
        "Stopping at a signal",
        f"`ft` with ResNet152V2 at 224 px, batches of 32 of {data}, on the CPU. SIGTERM arrives "
        "when a step starts, the worst case. Seconds until the process ends, by phase, and seconds "
        "from the start of the process to the end of its first step, including graph tracing.",
        ("training", "to first step", "step in progress", "copy", "write", "exit", "total"),
    )
    for name in ("from the start", "resumed"):
        log_progress(f"stopping a training at a signal: {name}")
        table.rows.append((name, *map(number, _stop(run))))
    return table


def _stop(run: Path) -> tuple[float, ...]:
    start = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.traced_training", run],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = _time_of("step-check-begins", process.stdout)
        for _ in range(STEPS_BEFORE):
            _time_of("step-check-ends", process.stdout)
        sent = time.monotonic()
        process.terminate()
        events = ("copy-begins", "copy-ends", "write-begins", "write-ends")
        times = [sent, *(_time_of(event, process.stdout) for event in events)]
        process.wait()
        ended = time.monotonic()
    if process.returncode != 128 + signal.SIGTERM:
        raise RuntimeError(f"{run}: the training ended with {process.returncode}")
    _, copy_start, copy_end, write_start, write_end = times
    return (
        first - start,
        copy_start - sent,
        copy_end - copy_start,
        write_end - write_start,
        ended - write_end,
        ended - sent,
    )


def _time_of(event: str, lines: IO[str]) -> float:
    """Return the time of the next ``event``, skipping other lines."""
    for line in lines:
        if line.startswith(f"{event} "):
            return float(line.split()[1])
    raise RuntimeError(f"the training ended without {event}")
