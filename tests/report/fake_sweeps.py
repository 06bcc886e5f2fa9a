"""Write whole sweeps of fake runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.report.fake_runs import THREE_CLASSES, FakeRun, write_run
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.read_run import read_run
from xray_hpc.report.run_result import RunResult


def read_runs(sweep: SweepPaths) -> list[RunResult]:
    """Read all runs of the sweep, by name."""
    return [read_run(sweep.run(path.name)) for path in sorted(sweep.runs.iterdir())]


def write_ledger(
    sweep: SweepPaths, runs: dict[str, list[str]], at: str = "2026-11-22T03:40:00+00:00"
) -> None:
    """Append a launch that submitted ``runs`` (overrides by name) to the ledger."""
    tasks = [[run] for run in runs]
    events = [
        {"event": "planned", "time": at, "runs": runs},
        {"event": "submitting", "time": at, "submission": "s1", "kind": "runs", "tasks": tasks},
    ]
    with sweep.ledger.open("a") as ledger:
        ledger.writelines(json.dumps(event) + "\n" for event in events)


def three_model_sweep(folder: Path) -> SweepPaths:
    """Write three finished runs, one per model."""
    sweep = SweepPaths(folder)
    runs = [
        write_run(sweep, model, FakeRun(skill=skill, seed=seed), train__learning_rate=rate)
        for seed, (model, skill, rate) in enumerate(
            [("cnn", 1.2, 1e-3), ("tl", 2.0, 5e-4), ("ft", 2.9, 1e-5)]
        )
    ]
    write_ledger(sweep, {run.name: [f"model={run.name.split('-')[0]}"] for run in runs})
    return sweep


def grid_sweep(folder: Path, seeds: int = 1, *, complete: bool = True) -> SweepPaths:
    """Write 4 learning rates by 3 depths; two cells fail unless ``complete``."""
    sweep = SweepPaths(folder)
    runs = {}
    for i, depth in enumerate((2, 13, 24)):
        for j, rate in enumerate((1e-6, 1e-5, 1e-4, 1e-3)):
            for seed in range(42, 42 + seeds):
                images = {"validation": 400, "test": 600}
                skill = 2.9 - 0.45 * abs(i - 1) - 0.6 * abs(j - 1.5)
                failing = not complete and (i, j) in ((0, 3), (2, 0))
                run = write_run(
                    sweep,
                    "ft",
                    FakeRun(skill, seed=100 * i + 10 * j + seed, images=images),
                    status="failed" if failing else "finished",
                    record={"error": {"type": "ValueError", "message": "no"}} if failing else {},
                    model__unfreeze=depth,
                    train__learning_rate=rate,
                    seed=seed,
                )
                runs[run.name] = [f"train.learning_rate={rate}", f"model.unfreeze={depth}"]
    write_ledger(sweep, runs)
    return sweep


EXPERIMENTS: dict[str, dict[str, Any]] = {
    "larcc": {"model": "tl", "data__channels": 3},
    "stacked": {"model": "stacked", "data__channels": 3, "model__backbones": {"demo": "demo"}},
    "reduced": {"model": "conv", "data__image_size": 176, "data__per_class": 1000},
    "lung": {"model": "lung", "data__demo_classes": 3, "inputs__data": "c0ffee123456"},
    "vgg": {"model": "vgg", "train__optimizer": "rmsprop", "augment__rotation": 30.0},
}


def experiment_sweep(folder: Path, classes: tuple[str, ...] = THREE_CLASSES) -> SweepPaths:
    """Write ``experiment=larcc,stacked,reduced,lung,vgg``: four binary, one with three classes."""
    sweep = SweepPaths(folder)
    runs = {}
    for seed, (name, changes) in enumerate(EXPERIMENTS.items()):
        fake = FakeRun(skill=1.6 + 0.3 * seed, seed=seed, epochs=6 + seed)
        if name == "lung":
            fake.classes, fake.images = classes, {"validation": 50, "test": 66}
        changes = dict(changes)
        model, overrides = changes.pop("model"), [f"experiment={name}"]
        run = write_run(sweep, model, fake, overrides=overrides, **changes)
        runs[run.name] = overrides
    write_ledger(sweep, runs)
    return sweep


def three_class_sweep(folder: Path) -> SweepPaths:
    """Write 4 learning rates by 3 seeds, with three classes."""
    sweep = SweepPaths(folder)
    runs = {}
    for i, rate in enumerate((1e-4, 5e-4, 1e-3, 5e-3)):
        for seed in (1, 2, 3):
            overrides = [f"train.learning_rate={rate}", f"seed={seed}"]
            fake = FakeRun(
                skill=3.2 - 0.8 * abs(i - 1.7),
                seed=10 * i + seed,
                images={"validation": 150, "test": 240},
                classes=THREE_CLASSES,
            )
            changes: dict[str, Any] = {"train__learning_rate": rate, "seed": seed}
            run = write_run(
                sweep, "lung", fake, overrides=overrides, data__demo_classes=3, **changes
            )
            runs[run.name] = overrides
    write_ledger(sweep, runs)
    return sweep
